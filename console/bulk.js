/**
 * An operation on several containers. Each gets its own request with its own Idempotency-Key; the requests do not wait
 * for their effects, which are observed once all have been sent.
 *
 * @import { Api } from "./api.js"
 * @import { Container, Operation, Pending } from "./types.js"
 */

import { ApiError, NoAnswerError } from "./api.js";
import { oneLine } from "./errors.js";
import { capital, GOAL, IN_PROGRESS } from "./status.js";

const SENT_AT_ONCE = 4;
const AGAIN_AFTER_MS = 1000;
const FAILURES = 5;

/**
 * @typedef {"waiting" | "sent" | "pending" | "done" | "refused" | "failed" | "unknown"} State `unknown`: there is no
 *   response, so the operation may have taken effect.
 * @typedef {object} Entry
 * @property {Container} container As it was read last.
 * @property {Pending | null} pending The operation, once the API has accepted it.
 * @property {string} key The Idempotency-Key, which all attempts share.
 * @property {State} state
 * @property {string} text
 */

/** @type {readonly State[]} */
const ENDED = ["done", "refused", "failed", "unknown"];

export class Bulk {
  /**
   * @param {Api} api
   * @param {Operation} operation
   * @param {Container[]} containers
   * @param {(container: Container) => string | null} refusal Returns why the container's operation is not sent.
   * @param {() => void} onChange Called when the state of an entry has changed.
   */
  constructor(api, operation, containers, refusal, onChange) {
    this.api = api;
    this.operation = operation;
    this.onChange = onChange;
    /** @type {Entry[]} */
    this.entries = containers.map((container) => {
      const refused = refusal(container);
      return { container, pending: null, key: crypto.randomUUID(), state: refused ? "refused" : "waiting", text: refused ?? "Waiting" };
    });
  }

  get ended() {
    return this.entries.every(({ state }) => ENDED.includes(state));
  }

  /** Whether requests are still to be sent, which closing the page would prevent. */
  get sending() {
    return this.entries.some(({ state }) => state === "waiting" || state === "sent");
  }

  /** @param {State} state */
  count(state) {
    return this.entries.filter((entry) => entry.state === state).length;
  }

  /** Send the operation to the containers that wait for it, and observe the effects. Never rejects. */
  async run() {
    await inLanes(this.entries.filter(({ state }) => state === "waiting"), (entry) => this.#send(entry));
    await inLanes(this.entries.filter(({ state }) => state === "done"), (entry) => this.#reread(entry));
    await inLanes(this.entries.filter(({ state }) => state === "pending"), (entry) => this.#observe(entry));
  }

  /** Send the operation again, with the same keys, where it is not known whether it took effect. Never rejects. */
  async again() {
    for (const entry of this.entries) if (entry.state === "unknown") this.#set(entry, "waiting", "Waiting");
    await this.run();
  }

  /** @param {Entry} entry */
  async #send(entry) {
    const { container, key } = entry;
    this.#set(entry, "sent", "Sent, no response yet");
    try {
      const repeat = (/** @type {string} */ why) => this.#set(entry, "sent", `${why}. Retrying`);
      const { accepted, message, pending } = await this.api.operate(container.id, this.operation, key, repeat, { respondAsync: true });
      entry.pending = pending;
      this.#set(entry, accepted ? "pending" : "done", message);
    } catch (error) {
      this.#failed(entry, error);
    }
  }

  /**
   * Read a container whose operation had ended when the API responded, as far as that is possible.
   * @param {Entry} entry
   */
  async #reread(entry) {
    try {
      entry.container = await this.api.settled(entry.container.id);
    } catch {
      // The list reads it too, once it is displayed.
    }
  }

  /**
   * Wait until the operation has ended.
   * @param {Entry} entry
   */
  async #observe(entry) {
    const own = entry.pending;
    for (let failures = 0; failures < FAILURES; ) {
      try {
        entry.container = await this.api.settled(entry.container.id);
        const pending = entry.container.pending_operation;
        if (!pending || pending.operation !== this.operation || (own && pending.started_at !== own.started_at)) {
          return this.#settled(entry);
        }
      } catch (error) {
        failures += 1;
        if (error instanceof ApiError && error.status < 500 && error.status !== 429) failures = FAILURES;
        if (failures === FAILURES) return this.#set(entry, "unknown", `Accepted, but its effect is not known: ${oneLine(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
    }
  }

  /** @param {Entry} entry Its operation has ended. */
  #settled(entry) {
    const { status, pending_operation: pending } = entry.container;
    if (pending) this.#set(entry, "failed", `Has ended, and ${pending.operation} is pending`);
    else if (status === GOAL[this.operation]) this.#set(entry, "done", `Completed: the container is ${status}`);
    else this.#set(entry, "failed", `Did not succeed: the container is ${status}`);
  }

  /**
   * @param {Entry} entry
   * @param {unknown} error
   */
  #failed(entry, error) {
    if (error instanceof NoAnswerError || (error instanceof ApiError && error.status >= 500)) {
      this.#set(entry, "unknown", `May have taken effect: ${oneLine(error)}`);
    } else {
      this.#set(entry, "refused", oneLine(error));
    }
  }

  /**
   * @param {Entry} entry
   * @param {State} state
   * @param {string} text
   */
  #set(entry, state, text) {
    entry.state = state;
    entry.text = text;
    this.onChange();
  }
}

/**
 * Describe the progress or the result of a bulk operation in one line.
 * @param {Bulk} bulk
 */
export function summary(bulk) {
  const counts = /** @type {const} */ ([
    ["done", "succeeded"], ["refused", "refused"], ["failed", "failed"], ["unknown", "not known"],
  ]).map(([state, word]) => (bulk.count(state) ? `${bulk.count(state)} ${word}` : "")).filter(Boolean).join(", ");
  const total = bulk.entries.length;
  if (bulk.ended) return `${capital(bulk.operation)}: ${counts} of ${total}`;
  const ended = bulk.entries.filter(({ state }) => ENDED.includes(state)).length;
  return `${IN_PROGRESS[bulk.operation]}: ${ended} of ${total} finished${counts ? ` (${counts})` : ""}`;
}

/**
 * Run a task for each item, a few at a time.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => Promise<void>} task Never rejects.
 */
async function inLanes(items, task) {
  const waiting = items.values();
  const lane = async () => {
    for (const item of waiting) await task(item);
  };
  await Promise.all(Array.from({ length: SENT_AT_ONCE }, lane));
}
