/** Reads data for a view periodically, and shows when the displayed data is outdated. */

import { ApiError } from "./api.js";
import { setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { clockTime, duration } from "./format.js";
import { Poller } from "./poller.js";

const SLOWEST_MS = 60_000;

export class Reader {
  /**
   * @param {object} options
   * @param {(signal: AbortSignal) => Promise<void>} options.read
   * @param {() => number} options.delay Returns the milliseconds until the next read, unless the last one failed.
   * @param {(error: unknown) => boolean} options.onError Called with an error that a repetition does not remove, such
   *   as 404. Returns whether the view shows it; otherwise the banner does.
   * @param {(error: ApiError) => void} options.onUnauthorized
   * @param {HTMLElement} options.banner
   */
  constructor({ read, delay, onError, onUnauthorized, banner }) {
    this.read = read;
    this.onError = onError;
    this.onUnauthorized = onUnauthorized;
    this.banner = banner;
    this.poller = new Poller(() => this.#run(), () => this.#delay(delay()));
    /** Responses are ignored once something else is opened. */
    this.opened = new AbortController();
    this.failures = 0;
    this.retryAfter = 0;
    /** When the displayed data was read; 0 before the first read. */
    this.readAt = 0;
    this.because = "";
  }

  get signal() {
    return this.opened.signal;
  }

  /** Read immediately, and then periodically. */
  open() {
    this.close();
    this.opened = new AbortController();
    this.poller.start();
  }

  /** Stop reading. */
  close() {
    this.opened.abort();
    this.poller.stop();
    this.banner.hidden = true;
    this.failures = 0;
    this.readAt = 0;
  }

  /** Read now, if reading has not been stopped. */
  now() {
    if (this.poller.active) this.poller.now();
  }

  tick() {
    if (this.poller.active && !this.banner.hidden) this.#showBanner();
  }

  /** @param {unknown} error */
  failed(error) {
    this.failures += 1;
    this.retryAfter = (error instanceof ApiError && error.retryAfterMs) || 0;
    if (error instanceof ApiError && error.status === 401) {
      this.poller.stop();
      return this.onUnauthorized(error);
    }
    const final = error instanceof ApiError && error.status < 500 && error.status !== 429;
    if (final) this.poller.stop();
    if (final && this.onError(error)) return;
    this.because = oneLine(error);
    this.#showBanner();
  }

  /** Never rejects. */
  async #run() {
    const { signal } = this;
    try {
      await this.read(signal);
      if (signal.aborted) return;
      this.failures = 0;
      this.readAt = Date.now();
      this.banner.hidden = true;
    } catch (error) {
      if (!signal.aborted) this.failed(error);
    }
  }

  #showBanner() {
    const ago = `${clockTime(this.readAt)} (${duration(Date.now() - this.readAt)} ago)`;
    this.banner.hidden = false;
    setText(this.banner, `${this.readAt ? `Not updated since ${ago}` : "Not read yet"}: ${this.because}`);
  }

  /** @param {number} calm */
  #delay(calm) {
    if (!this.failures) return calm;
    return Math.max(this.retryAfter, Math.min(SLOWEST_MS, 5000 * 2 ** (this.failures - 1)));
  }
}
