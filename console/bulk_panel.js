/**
 * The operations on the selected containers, and the progress and results of each.
 *
 * @import { Api } from "./api.js"
 * @import { State } from "./bulk.js"
 * @import { Notices } from "./notices.js"
 * @import { Projects } from "./projects.js"
 * @import { Container, Operation } from "./types.js"
 */

import { Bulk, summary } from "./bulk.js";
import { confirmed } from "./confirm.js";
import { byId, enable, h, setLabel, setText } from "./dom.js";
import { plural } from "./format.js";
import { KILLED } from "./operations.js";
import { link } from "./route.js";
import { capital, operationIcon, OPERATIONS } from "./status.js";

const NAMED = 8;
/** @type {Record<State, number>} The order of the results: those that need attention first. */
const ATTENTION = { refused: 0, failed: 1, unknown: 2, sent: 3, pending: 4, waiting: 5, done: 6 };

export class BulkPanel {
  /**
   * @param {object} options
   * @param {Api} options.api
   * @param {Notices} options.notices
   * @param {Projects} options.projects
   * @param {() => void} options.onClear Called to clear the selection.
   * @param {(containers: Container[]) => void} options.onChange Called with the containers of an operation, as they were
   *   read last, when it begins and when it has ended.
   */
  constructor({ api, notices, projects, onClear, onChange }) {
    this.api = api;
    this.notices = notices;
    this.projects = projects;
    this.onChange = onChange;
    /** @type {Container[]} */
    this.selected = [];
    /** @type {Set<Bulk>} */
    this.running = new Set();
    this.count = h("strong", { class: "num", id: "selected-count" });
    this.clear = h("button", { type: "button", class: "link", onclick: onClear }, "Clear selection");
    this.buttons = new Map(OPERATIONS.map((operation) => [operation, h("button", {
      type: "button",
      "data-bulk": operation,
      class: operation === "force-stop" ? "danger outline" : "",
      onclick: () => this.#ask(operation),
    }, operationIcon(operation), capital(operation))]));
    this.results = byId("bulk-results");
    byId("bulk").replaceChildren(
      h("div", { class: "row" }, this.count, this.clear),
      h("div", { class: "operations", role: "group", "aria-label": "Operations on the selected containers" }, ...this.buttons.values()));
    addEventListener("beforeunload", (event) => {
      // Requests that have not been sent would be lost.
      if ([...this.running].some((bulk) => bulk.sending)) event.preventDefault();
    });
  }

  /** @param {Container[]} selected As read last. */
  show(selected) {
    this.selected = selected;
    setText(this.count, selected.length ? `${plural(selected.length, "container")} selected` : "No containers selected");
    this.clear.hidden = selected.length === 0;
    byId("bulk").classList.toggle("none", selected.length === 0);
    for (const [operation, button] of this.buttons) {
      const refusal = this.#refusal(operation);
      enable(button, !refusal);
      setLabel(button, "title", refusal ?? "");
    }
  }

  /**
   * Return why the operation is allowed for none of the selected containers, or null.
   * @param {Operation} operation
   */
  #refusal(operation) {
    if (this.selected.length === 0) return "Select containers first";
    const permitted = this.selected.filter(({ project_id: project }) => !this.projects.refusal(project));
    if (permitted.length === 0) return this.projects.refusal(this.selected[0].project_id);
    if (permitted.some(({ allowed_operations: allowed }) => allowed.includes(operation))) return null;
    return `${capital(operation)} is not allowed in the current status of the selected containers`;
  }

  /** @param {Operation} operation */
  async #ask(operation) {
    const refusal = this.#refusal(operation);
    if (refusal) return this.notices.announce(refusal);
    const { selected } = this;
    const allowed = selected.filter(({ project_id: project, allowed_operations: own }) =>
      !this.projects.refusal(project) && own.includes(operation)).length;
    const names = selected.slice(0, NAMED).map(({ name }) => name).join(", ");
    const more = selected.length > NAMED ? ` and ${selected.length - NAMED} more` : "";
    const some = allowed < selected.length ? ` At the moment, ${allowed} of ${selected.length} allow this; the others are refused.` : "";
    const killed = operation === "force-stop" ? ` ${KILLED}` : "";
    const title = `${capital(operation)} ${plural(selected.length, "container")}?`;
    const danger = operation === "force-stop";
    if (!(await confirmed({ title, text: `${names}${more}.${some}${killed}`, action: capital(operation), danger }))) return;
    this.#run(operation, selected);
  }

  /**
   * @param {Operation} operation
   * @param {Container[]} containers
   */
  #run(operation, containers) {
    const bulk = new Bulk(this.api, operation, containers, ({ project_id: project }) => this.projects.refusal(project), () => update());
    const title = h("h2", { tabindex: -1 });
    const progress = h("progress", { max: containers.length, value: 0, "aria-label": `${capital(operation)}: finished containers` });
    const list = h("ul", { class: "results" });
    const again = h("button", { type: "button", hidden: true, onclick: () => follow(bulk.again()) }, "Send again");
    const element = h("article", { class: "notice is-info bulk-result" },
      h("div", { class: "notice-body" }, title, progress, list),
      again,
      h("button", { type: "button", class: "quiet", "aria-label": `Dismiss the results of ${operation}`, onclick: () => {
        element.remove();
        byId("main").focus();
      } }, "✕"));
    const items = new Map(bulk.entries.map((entry) => {
      const text = h("span");
      return [entry, { text, element: h("li", {}, h("a", { href: link(entry.container.id) }, entry.container.name), ": ", text) }];
    }));
    const update = () => {
      for (const [entry, item] of items) {
        setText(item.text, entry.text);
        item.element.className = `is-${entry.state}`;
      }
      progress.value = bulk.entries.length - bulk.count("waiting") - bulk.count("sent") - bulk.count("pending");
      setText(title, summary(bulk));
    };
    const sort = () => list.replaceChildren(
      ...[...items].sort(([a], [b]) => ATTENTION[a.state] - ATTENTION[b.state]).map(([, item]) => item.element));
    const follow = async (/** @type {Promise<void>} */ run) => {
      this.running.add(bulk);
      again.hidden = true;
      sort();
      update();
      this.notices.announce(summary(bulk));
      await run;
      this.running.delete(bulk);
      const problems = bulk.entries.length - bulk.count("done");
      element.className = `notice bulk-result is-${problems ? "error" : "ok"}`;
      again.hidden = bulk.count("unknown") === 0;
      sort();
      this.notices.announce(summary(bulk));
      this.onChange(bulk.entries.map(({ container }) => container));
    };
    this.results.prepend(element);
    follow(bulk.run());
    title.focus();
    this.onChange(containers);
  }
}
