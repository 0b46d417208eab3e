/**
 * A container's history as far back as it was loaded. Rows are only ever added, so in ascending order a full page never
 * changes: whatever is missing, at either end, is read by its page.
 *
 * @import { Api } from "./api.js"
 * @import { StatusLog } from "./types.js"
 */

const PAGE = 100;
const AT_ONCE = 4;

export class History {
  /**
   * @param {Api} api
   * @param {string} id
   * @param {AbortSignal} signal
   */
  constructor(api, id, signal) {
    this.api = api;
    this.id = id;
    this.signal = signal;
    /** @type {StatusLog[]} The newest ones, oldest first, without a gap. */
    this.rows = [];
    /** How many rows there are before `rows`. */
    this.before = 0;
  }

  get total() {
    return this.before + this.rows.length;
  }

  /** Read what was written since the last time; the first time, the newest rows. */
  async update() {
    if (this.rows.length === 0) return this.#newest();
    for (;;) {
      const known = this.total;
      const page = Math.floor(known / PAGE) + 1;
      const { logs, pagination } = await this.#page(page);
      // Fewer than before: it is another history, such as that of a stack that was started again.
      if (pagination.total < known) return this.#newest();
      this.rows.push(...logs.slice(known - (page - 1) * PAGE));
      if (this.total >= pagination.total) return;
    }
  }

  /**
   * Read older rows until they reach back to a time, or there are `most` of them.
   * @param {number} time Milliseconds since 1970.
   * @param {number} most
   * @param {() => void} onProgress
   */
  async reachBack(time, most, onProgress) {
    while (this.before > 0 && this.rows.length < most && Date.parse(this.rows[0].transition_time) > time) {
      const last = Math.ceil(this.before / PAGE);
      const first = Math.max(1, last - AT_ONCE + 1);
      const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index);
      const pages = await Promise.all(numbers.map((page) => this.#page(page)));
      const older = pages.flatMap(({ logs }) => logs).slice(0, this.before - (first - 1) * PAGE);
      this.rows = [...older, ...this.rows];
      this.before = (first - 1) * PAGE;
      onProgress();
    }
  }

  async #newest() {
    const query = { page: 1, limit: PAGE, sort_by: /** @type {const} */ ("transition_time") };
    const { logs, pagination } = await this.api.logs(this.id, { ...query, sort_order: "desc" }, this.signal);
    this.rows = logs.reverse();
    this.before = pagination.total - logs.length;
  }

  /** @param {number} page */
  #page(page) {
    return this.api.logs(this.id, { page, limit: PAGE, sort_by: "transition_time", sort_order: "asc" }, this.signal);
  }
}
