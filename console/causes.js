/**
 * The last causes of the containers on screen. The lists of the API do not contain them, so the newest row of each
 * visible container is read once for each of its statuses.
 *
 * @import { Api } from "./api.js"
 * @import { Container } from "./types.js"
 */

import { causeOf } from "./format.js";

const AT_ONCE = 3;
const MOST = 2000;
const NEWEST = { page: 1, limit: 1, sort_by: /** @type {const} */ ("transition_time"), sort_order: /** @type {const} */ ("desc") };

export class Causes {
  /**
   * @param {Api} api
   * @param {(id: string) => void} onKnown Called when the cause of a container has been read.
   */
  constructor(api, onKnown) {
    this.api = api;
    this.onKnown = onKnown;
    /** @type {Map<string, string>} The causes, by container and status change. */
    this.known = new Map();
    /** @type {Map<string, Container>} The containers whose cause has to be read. */
    this.wanted = new Map();
    this.reading = 0;
    this.opened = new AbortController();
  }

  /**
   * The cause of the container's status, or undefined if it is not known.
   * @param {Container} container
   */
  of(container) {
    return this.known.get(keyOf(container));
  }

  /**
   * Read the cause, if it is not known.
   * @param {Container} container
   */
  want(container) {
    if (this.known.has(keyOf(container))) return;
    this.wanted.set(container.id, container);
    while (this.reading < Math.min(AT_ONCE, this.wanted.size)) this.#read();
  }

  /** Do not read the causes of containers that are no longer displayed. */
  close() {
    this.opened.abort();
    this.opened = new AbortController();
    this.wanted.clear();
  }

  async #read() {
    this.reading += 1;
    const { signal } = this.opened;
    for (const [id, container] of this.wanted) {
      this.wanted.delete(id);
      try {
        const { logs } = await this.api.logs(id, NEWEST, signal);
        if (this.known.size > MOST) this.known.clear();
        if (logs[0]) this.known.set(keyOf(container), causeOf(logs[0]));
        this.onKnown(id);
      } catch {
        // The next refresh of the list wants it again.
        break;
      }
    }
    this.reading -= 1;
  }
}

/** @param {Container} container */
function keyOf(container) {
  return `${container.id} ${container.status_since}`;
}
