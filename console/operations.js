/**
 * Sends operations and shows their results.
 *
 * @import { Api } from "./api.js"
 * @import { Notices } from "./notices.js"
 * @import { Container, Operation, OperationResult, Pending } from "./types.js"
 */

import { ApiError, NoAnswerError } from "./api.js";
import { confirmed } from "./confirm.js";
import { describe } from "./errors.js";
import { capital, GOAL, IN_PROGRESS } from "./status.js";

export const KILLED = "Its processes are killed immediately, without a graceful shutdown. Unsaved work is lost.";

export class Operations {
  /**
   * @param {Api} api
   * @param {Notices} notices
   * @param {() => void} onChange Called when an operation is sent or has returned.
   */
  constructor(api, notices, onChange) {
    this.api = api;
    this.notices = notices;
    this.onChange = onChange;
    /** @type {Map<string, {id: string, operation: Operation}>} The requests in progress, by key. */
    this.waiting = new Map();
    /** @type {{id: string, operation: Operation, startedAt: string | null, notice: HTMLElement} | null} Returned 202. */
    this.accepted = null;
    /** @type {import("./types.js").Status | null} The status in the last response. */
    this.reported = null;
  }

  /**
   * Return the last operation that was sent for a container and has not returned yet.
   * @param {string} id
   */
  unanswered(id) {
    return [...this.waiting.values()].findLast((one) => one.id === id)?.operation ?? null;
  }

  /**
   * @param {Container} container
   * @param {Operation} operation
   */
  async ask(container, operation) {
    if (operation === "force-stop" && !(await confirmed(forceStop(container)))) return;
    await this.#send(container, operation, crypto.randomUUID());
  }

  /**
   * Check whether the operation that returned 202 has ended.
   * @param {Container} container The current state.
   * @param {() => string | undefined} reason Returns the reason of the newest status change.
   */
  follow(container, reason) {
    const accepted = this.accepted;
    const pending = container.pending_operation;
    if (!accepted || accepted.id !== container.id) return;
    const { operation, notice, startedAt } = accepted;
    if (pending?.operation === operation && pending.started_at === (startedAt ?? pending.started_at)) {
      accepted.startedAt = pending.started_at;
      return;
    }
    this.accepted = null;
    const name = capital(operation);
    if (pending) {
      this.notices.show({ kind: "info", title: `${name} has ended, and ${pending.operation} is pending` }, notice);
    } else if (container.status === GOAL[operation]) {
      this.notices.show({ kind: "ok", title: `${name} completed: the container is ${container.status}` }, notice);
    } else {
      const why = reason();
      const title = `${name} did not succeed: the container is ${container.status}`;
      this.notices.show({ kind: "error", title, lines: why ? [why] : [] }, notice);
    }
  }

  /**
   * @param {Container} container
   * @param {Operation} operation
   * @param {string} key The Idempotency-Key, which all attempts share.
   */
  async #send(container, operation, key) {
    /** @type {HTMLElement | undefined} */
    let repeating;
    this.waiting.set(key, { id: container.id, operation });
    this.onChange();
    try {
      const result = await this.api.operate(container.id, operation, key, (why) => {
        const title = `${why}. Retrying ${operation} with the same Idempotency-Key.`;
        repeating = this.notices.show({ kind: "info", title }, repeating);
      });
      this.#answered(container, operation, result, repeating);
    } catch (error) {
      this.#failed(container, operation, key, error, repeating);
    } finally {
      this.waiting.delete(key);
      this.onChange();
    }
  }

  /**
   * @param {Container} container
   * @param {Operation} operation
   * @param {OperationResult} result
   * @param {HTMLElement} [before]
   */
  #answered(container, operation, { accepted, message, status, requestId }, before) {
    this.reported = status;
    const notice = this.notices.show({ kind: accepted ? "info" : "ok", title: message, requestId }, before);
    if (!accepted) return;
    // Only force-stop is allowed while an operation is pending.
    if (this.accepted?.notice.isConnected) {
      this.notices.show({ kind: "info", title: `${capital(this.accepted.operation)} was superseded` }, this.accepted.notice);
    }
    this.accepted = { id: container.id, operation, startedAt: null, notice };
  }

  /**
   * @param {Container} container
   * @param {Operation} operation
   * @param {string} key
   * @param {unknown} error
   * @param {HTMLElement} [before]
   */
  #failed(container, operation, key, error, before) {
    const notice = describe(error);
    if (error instanceof NoAnswerError) {
      notice.lines = [
        `${capital(operation)} may have taken effect: check the status. Sending it again with the same Idempotency-Key is safe.`,
      ];
    }
    // The API does not store such responses: a retry with the same key runs the operation again, or finds it completed.
    if (error instanceof NoAnswerError || (error instanceof ApiError && error.status >= 500)) {
      notice.action = { text: "Send again", run: () => this.#send(container, operation, key) };
    }
    this.notices.show(notice, before);
  }
}

/** @param {Pending} pending */
export function inProgress(pending) {
  return IN_PROGRESS[pending.operation] ?? capital(pending.operation);
}

/**
 * The question before a container is force-stopped.
 * @param {Container} container
 */
function forceStop(container) {
  const pending = container.pending_operation;
  return {
    title: "Force-stop this container?",
    text: `${container.name} is ${container.status}${pending ? ` and ${inProgress(pending).toLowerCase()}` : ""}. ${KILLED}`,
    action: "Force-stop",
    danger: true,
  };
}
