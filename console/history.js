/**
 * The loaded part of a container's history. Rows are only ever added, so a full page in ascending order never changes,
 * and missing rows at either end can be read page by page.
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
    /** @type {StatusLog[]} The newest rows without gaps, oldest first. */
    this.rows = [];
    /** The number of rows that are older than `rows`. */
    this.before = 0;
  }

  get total() {
    return this.before + this.rows.length;
  }

  /** Read the rows that were added since the last call. The first call reads the newest rows. */
  async update() {
    if (this.rows.length === 0) return this.#newest();
    for (;;) {
      const known = this.total;
      const page = Math.floor(known / PAGE) + 1;
      const { logs, pagination } = await this.#page(page);
      // A smaller total means a different history, for example after a restart of the local stack.
      if (pagination.total < known) return this.#newest();
      this.rows.push(...logs.slice(known - (page - 1) * PAGE));
      if (this.total >= pagination.total) return;
    }
  }

  /**
   * Read older rows until the oldest is before `time`, or `most` rows are loaded.
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
