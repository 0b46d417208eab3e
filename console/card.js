/**
 * The container's card: name, status, pending operation and buttons.
 *
 * @import { Projects } from "./projects.js"
 * @import { Container, Operation } from "./types.js"
 */

import { now } from "./clock.js";
import { enable, h, setLabel, setText } from "./dom.js";
import { dateTime, wholeSeconds } from "./format.js";
import { protectionText, showLimits } from "./limits.js";
import { link, queryOf } from "./route.js";
import { badge, capital, countText, IN_PROGRESS, operationIcon, OPERATIONS, supports } from "./status.js";

export class Card {
  /**
   * @param {HTMLElement} root
   * @param {Projects} projects
   * @param {(operation: Operation) => void} onOperation Only called for allowed operations.
   * @param {(message: string) => void} onRefused Called with the reason why a button is disabled.
   */
  constructor(root, projects, onOperation, onRefused) {
    this.root = root;
    this.projects = projects;
    /** @type {Container | null} */
    this.container = null;
    /** @type {Operation | null} */
    this.unanswered = null;
    this.status = h("p", { class: "status" });
    this.count = h("p", { class: "count num", hidden: true });
    this.since = h("p", { class: "since num" });
    this.name = h("h2", { id: "container-name" });
    this.identity = h("p", { class: "identity" });
    this.limits = h("p", { class: "limits", hidden: true });
    this.progress = h("p", { class: "progress", hidden: true });
    this.progressText = h("span", { class: "num" });
    this.progress.append(h("span", { class: "spinner", "aria-hidden": "true" }), this.progressText);
    this.buttons = new Map(OPERATIONS.map((operation) => {
      const button = h("button", {
        type: "button",
        "data-operation": operation,
        class: operation === "force-stop" ? "danger outline" : "",
        onclick: () => {
          if (this.#allows(operation)) onOperation(operation);
          else onRefused(this.#refusal(operation));
        },
      }, operationIcon(operation), capital(operation));
      return [operation, button];
    }));
    root.replaceChildren(
      h("div", { class: "card-main" },
        h("div", { class: "status-block" }, this.status, this.count, this.since),
        h("div", { class: "who" }, this.name, this.identity, this.limits)),
      h("div", { class: "operations", role: "group", "aria-label": "Operations" }, ...this.buttons.values()),
      // Last, so that the buttons stay where they are.
      this.progress,
    );
  }

  /**
   * @param {Container} container
   * @param {Operation | null} unanswered The operation that was sent and has not returned yet.
   */
  show(container, unanswered) {
    this.container = container;
    this.unanswered = unanswered;
    this.root.hidden = false;
    setText(this.name, container.name);
    this.root.className = `card is-${container.status}`;
    if (this.status.dataset.status !== container.status) {
      this.status.dataset.status = container.status;
      this.status.replaceChildren(badge(container.status, "badge large"));
    }
    const count = countText(container);
    setText(this.count, count && `${count} tasks running`);
    this.count.hidden = !count;
    this.identity.replaceChildren(
      "Container ", h("code", { class: "breakable" }, container.id),
      " · project ", h("a", { href: link("", queryOf({ project: container.project_id })), class: "breakable" }, this.projects.name(container.project_id)),
      ...Object.entries(container.labels ?? {}).map(([key, value]) => h("span", {}, ` · ${key}: ${value}`)));
    for (const [operation, button] of this.buttons) {
      const allowed = this.#allows(operation);
      button.hidden = !supports(container, operation);
      enable(button, allowed);
      setLabel(button, "title", allowed ? "" : this.#refusal(operation));
    }
    this.tick();
  }

  /** Update the elapsed times. */
  tick() {
    const container = this.container;
    if (!container) return;
    showLimits(this.limits, container, null);
    const since = Date.parse(container.status_since);
    setText(this.since, `for ${wholeSeconds(now() - since)}, since ${dateTime(since)}`);
    const pending = container.pending_operation;
    this.progress.hidden = !pending && !this.unanswered;
    if (pending) {
      const began = Date.parse(pending.started_at);
      setText(this.progressText, `${IN_PROGRESS[pending.operation]} for ${wholeSeconds(now() - began)}, requested by ${pending.triggered_by}`);
    } else if (this.unanswered) {
      setText(this.progressText, `${IN_PROGRESS[this.unanswered]}: sent, no response yet`);
    }
  }

  hide() {
    this.container = null;
    this.root.hidden = true;
  }

  /** @param {Operation} operation */
  #allows(operation) {
    if (this.container && this.projects.refusal(this.container.project_id)) return false;
    return this.unanswered !== operation && Boolean(this.container?.allowed_operations.includes(operation));
  }

  /** @param {Operation} operation */
  #refusal(operation) {
    const container = this.container;
    const byRole = container && this.projects.refusal(container.project_id);
    if (byRole) return byRole;
    const byProtection = container && protectionText(container, operation);
    if (byProtection) return byProtection;
    const pending = container?.pending_operation;
    const state = pending ? IN_PROGRESS[pending.operation].toLowerCase() : container?.status;
    return `${capital(operation)} is not allowed while the container is ${state}`;
  }
}
