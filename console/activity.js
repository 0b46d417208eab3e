/**
 * The activity page: the history of a project, newest first. Its filters are in the address.
 *
 * @import { App } from "./app.js"
 * @import { ProjectLog } from "./types.js"
 * @import { Route } from "./route.js"
 */

import { byId, h, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { plural } from "./format.js";
import { HistoryFilters } from "./history_filters.js";
import { containerCell, logRow } from "./log_rows.js";
import { Reader } from "./reader.js";
import { go, link, queryOf } from "./route.js";

const CALM_MS = 5000;
const LIMIT = 50;
/** Pages that are read at once, because a page of filtered rows may be short or empty. */
const PAGES = 5;
const COLUMNS = ["Time", "Container", "From", "To", "Took", "Trigger", "Cause"];

export class Activity {
  /** @param {App} app */
  constructor(app) {
    const { api, projects } = app;
    this.api = api;
    this.projects = projects;
    this.project = "";
    /** @type {Record<string, string>} */
    this.values = {};
    /** @type {Map<string, ProjectLog>} The loaded rows by id, newest first. */
    this.rows = new Map();
    /** @type {string | null} The cursor of the next older rows. */
    this.cursor = null;
    this.loaded = false;
    /** @type {Set<string>} */
    this.expanded = new Set();
    this.choice = h("select", { id: "activity-project", onchange: () => this.#go(this.choice.value, this.values) });
    this.filters = new HistoryFilters(
      ["from", "to", "to_status", "triggered_by", "actor", "container_id"], "activity-",
      (values) => this.#go(this.project, values));
    byId("activity-filters").append(
      h("span", { class: "filter" }, h("label", { for: "activity-project" }, "Project"), this.choice), this.filters.element);
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#loadOlder() }, "Load older changes");
    this.summary = h("p", { class: "hint", id: "activity-summary" });
    byId("activity-table").append(
      h("div", { class: "table-frame", role: "region", "aria-label": "Activity table", tabindex: 0 },
        h("table", { class: "cards" }, h("caption", { class: "sr" }, "Changes of status in the project"),
          h("thead", {}, h("tr", {}, ...COLUMNS.map((title) => h("th", { scope: "col" }, title)))), this.body),
        this.empty),
      h("div", { class: "row spread pager" }, this.summary, this.more));
    this.reader = new Reader({
      read: (signal) => this.#read(signal),
      delay: () => CALM_MS,
      onError: (error) => this.#showError(oneLine(error)),
      onUnauthorized: app.onUnauthorized,
      banner: byId("stale"),
    });
  }

  /** @param {Route} route */
  open({ query }) {
    byId("activity").hidden = false;
    document.title = "Activity · Longshore";
    this.project = query.get("project") ?? "";
    this.values = this.filters.show(query);
    this.#forgetRows();
    this.#showError("");
    this.reader.open();
  }

  close() {
    this.reader.close();
    byId("activity").hidden = true;
  }

  forget() {
    this.#forgetRows();
    this.choice.replaceChildren();
  }

  tick() {
    this.reader.tick();
  }

  redraw() {
    this.filters.show(queryOf(this.values));
    this.#draw();
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    await this.projects.load(signal);
    if (signal.aborted) return;
    const { list } = this.projects;
    // Without a project in the address, the first one is shown.
    const project = this.project || list[0]?.id;
    if (!project) return this.#draw();
    this.project = project;
    const known = list.some(({ id }) => id === project);
    this.choice.replaceChildren(...list.map(({ id, name, role }) => h("option", { value: id }, `${name ?? id} (${role})`)),
      ...(known ? [] : [h("option", { value: project }, project)]));
    this.choice.value = project;
    const { logs, pagination } = await this.#page(null, signal);
    if (signal.aborted) return;
    const connected = !this.loaded || logs.length === 0 || logs.some(({ id }) => this.rows.has(id));
    // Without a known row, rows between this page and the loaded rows may be missing.
    if (!connected) this.#forgetRows();
    if (!this.loaded) this.cursor = pagination.next_cursor;
    this.loaded = true;
    if (this.#add(logs)) this.#draw();
    if (this.rows.size === 0 && this.cursor) await this.#loadOlder();
  }

  async #loadOlder() {
    const { signal } = this.reader;
    const enough = this.rows.size + LIMIT / 2;
    try {
      for (let page = 0; page < PAGES && this.cursor && this.rows.size < enough; page += 1) {
        const { logs, pagination } = await this.#page(this.cursor, signal);
        if (signal.aborted) return;
        this.cursor = pagination.next_cursor;
        this.#add(logs);
      }
      this.#draw();
    } catch (error) {
      if (!signal.aborted) this.reader.failed(error);
    }
  }

  /**
   * @param {string | null} cursor
   * @param {AbortSignal} signal
   */
  #page(cursor, signal) {
    const query = { ...this.values, limit: LIMIT, ...(cursor ? { cursor } : {}) };
    return this.api.projectLogs(this.project, query, signal);
  }

  /**
   * Add rows, and return whether the displayed rows change.
   * @param {ProjectLog[]} logs
   */
  #add(logs) {
    const added = logs.filter(({ id }) => !this.rows.has(id));
    if (added.length) {
      const rows = [...added, ...this.rows.values()];
      rows.sort((a, b) => b.transition_time.localeCompare(a.transition_time) || b.id.localeCompare(a.id));
      this.rows = new Map(rows.map((row) => [row.id, row]));
    }
    return added.length > 0 || this.body.children.length === 0;
  }

  #draw() {
    const focused = document.activeElement;
    const focusedRow = focused?.closest("tr")?.dataset.row;
    this.body.replaceChildren(...[...this.rows.values()].flatMap((row) => {
      const { details, time, from, to, took, trigger, cause } = logRow(row, this.expanded, COLUMNS.length);
      return [h("tr", { "data-row": row.id }, time, containerCell(row), from, to, took, trigger, cause), details];
    }));
    if (focusedRow && !this.body.contains(document.activeElement)) {
      // A row that is rendered again keeps the focus.
      const control = this.body.querySelector(`tr[data-row="${CSS.escape(focusedRow)}"] ${focused?.tagName === "A" ? "a" : "button"}`);
      if (control instanceof HTMLElement) control.focus({ preventScroll: true });
    }
    this.more.hidden = !this.cursor;
    this.empty.hidden = this.rows.size > 0;
    setText(this.empty, this.project ? "No changes match the filters." : "You are not a member of a project.");
    setText(this.summary, this.rows.size ? `${plural(this.rows.size, "change")} loaded.` : "");
  }

  #forgetRows() {
    this.rows = new Map();
    this.cursor = null;
    this.loaded = false;
    this.expanded.clear();
    this.body.replaceChildren();
    this.empty.hidden = true;
    this.more.hidden = true;
    setText(this.summary, "");
  }

  /** @param {string} text */
  #showError(text) {
    byId("activity-error").hidden = !text;
    setText(byId("activity-error"), text);
    return true;
  }

  /**
   * @param {string} project
   * @param {Record<string, string>} values
   */
  #go(project, values) {
    go(link("activity", queryOf({ project, ...values })));
  }
}
