/**
 * The history of a container as a table, paged, sorted and filtered by the API.
 *
 * @import { Api } from "./api.js"
 * @import { LogsPage, SortBy, StatusLog } from "./types.js"
 */

import { enable, h, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { logRow } from "./log_rows.js";
import { Pager } from "./pager.js";

/** @type {readonly {title: string, sort?: SortBy, first?: "asc" | "desc"}[]} */
const COLUMNS = [
  { title: "Time", sort: "transition_time", first: "desc" },
  { title: "From", sort: "from_status", first: "asc" },
  { title: "To", sort: "to_status", first: "asc" },
  { title: "Took" },
  { title: "Trigger" },
  { title: "Cause" },
  { title: "Recorded", sort: "created_at", first: "desc" },
];
const LIMITS = [10, 25, 50, 100];

export class LogTable {
  /**
   * @param {HTMLElement} root
   * @param {Api} api
   */
  constructor(root, api) {
    this.api = api;
    this.id = "";
    this.query = { page: 1, limit: 25, sort_by: /** @type {SortBy} */ ("transition_time"), sort_order: /** @type {"asc" | "desc"} */ ("desc") };
    /** @type {Record<string, string>} The filters, as the API takes them. */
    this.filters = {};
    /** @type {LogsPage | null} */
    this.shown = null;
    /** @type {Set<string>} The rows whose metadata is shown. */
    this.expanded = new Set();
    /** @type {string | null} The id of the highlighted row. */
    this.marked = null;
    /** @type {AbortController | null} */
    this.loading = null;

    this.headers = COLUMNS.map(({ title, sort, first }) =>
      h("th", { scope: "col" }, sort
        ? h("button", { type: "button", class: "sort", "data-sort": sort, onclick: () => this.#sort(sort, first ?? "asc") }, title, h("span", { class: "arrow", "aria-hidden": "true" }))
        : title));
    this.body = h("tbody");
    this.frame = h("div", { class: "table-frame", role: "region", "aria-label": "History table", tabindex: 0 },
      h("table", { class: "cards" }, h("caption", { class: "sr" }, "Changes of status"), h("thead", {}, h("tr", {}, ...this.headers)), this.body));
    this.error = h("p", { class: "error-text", role: "alert", hidden: true });
    this.pager = new Pager({
      label: "Pages of the history",
      prefix: "",
      limits: LIMITS,
      onPage: (page) => this.#go(page),
      onLimit: (limit, page) => {
        this.query.limit = limit;
        this.#go(page);
      },
    });
    root.replaceChildren(this.error, this.frame, this.pager.element);
  }

  /**
   * Show the newest rows of a container.
   * @param {string} id
   * @param {Record<string, string>} filters
   */
  open(id, filters) {
    this.id = id;
    this.filters = filters;
    this.shown = null;
    this.expanded.clear();
    this.marked = null;
    this.query.page = 1;
    this.query.sort_by = "transition_time";
    this.query.sort_order = "desc";
    this.body.replaceChildren();
  }

  /**
   * Show the rows that match.
   * @param {Record<string, string>} filters
   */
  filter(filters) {
    this.filters = filters;
    // The API sorts rows with a given new status by time, or by that status.
    if (filters.to_status && this.query.sort_by === "from_status") this.query.sort_by = "transition_time";
    this.#go(1);
  }

  /** Reload the page. */
  async load() {
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    this.frame.setAttribute("aria-busy", "true");
    this.#showSort();
    try {
      const page = await this.api.logs(this.id, { ...this.query, ...this.filters }, loading.signal);
      this.error.hidden = true;
      this.#show(page);
    } catch (error) {
      if (loading.signal.aborted) return;
      this.error.hidden = false;
      setText(this.error, oneLine(error));
    }
    this.frame.removeAttribute("aria-busy");
  }

  /**
   * Open the page of a row and highlight it. Removes the filters.
   * @param {StatusLog} row
   * @param {number} older The number of older rows. It does not change when rows are added.
   */
  async reveal(row, older) {
    this.marked = row.id;
    this.query.sort_by = "transition_time";
    this.query.sort_order = "desc";
    if (Object.keys(this.filters).length) {
      this.filters = {};
      this.shown = null;
    }
    let total;
    do {
      total = this.shown?.pagination.total ?? older + 1;
      this.query.page = Math.floor((total - 1 - older) / this.query.limit) + 1;
      await this.load();
    } while (this.shown && this.shown.pagination.total !== total);
    this.redraw();
    const element = this.#rowElement(row.id);
    element?.scrollIntoView({ block: "center" });
    element?.querySelector("button")?.focus({ preventScroll: true });
  }

  /** @param {LogsPage} page */
  #show(page) {
    // Rows are immutable: equal ids mean an equal page.
    const same = this.shown?.logs.map((row) => row.id).join() === page.logs.map((row) => row.id).join();
    this.shown = page;
    if (!same) this.redraw();
    this.pager.show(page.pagination, page.logs.length);
  }

  /** Render the rows again, in the selected time zone. */
  redraw() {
    const focused = document.activeElement?.closest("tr")?.dataset.row;
    this.body.replaceChildren(...(this.shown?.logs ?? []).flatMap((row) => this.#rows(row)));
    // A row that is rendered again keeps the focus.
    if (focused && !this.body.contains(document.activeElement)) this.#rowElement(focused)?.querySelector("button")?.focus();
  }

  /** @param {string} id */
  #rowElement(id) {
    return this.body.querySelector(`tr[data-row="${CSS.escape(id)}"]`);
  }

  /**
   * Create a row, and the row with its metadata.
   * @param {StatusLog} row
   */
  #rows(row) {
    const { details, time, from, to, took, trigger, cause, recorded } = logRow(row, this.expanded, COLUMNS.length);
    return [
      h("tr", { "data-row": row.id, class: row.id === this.marked ? "marked" : "" }, time, from, to, took, trigger, cause, recorded),
      details,
    ];
  }

  /**
   * @param {SortBy} by
   * @param {"asc" | "desc"} first
   */
  #sort(by, first) {
    if (by === "from_status" && this.filters.to_status) return;
    const turned = this.query.sort_order === "asc" ? "desc" : "asc";
    this.query.sort_order = this.query.sort_by === by ? turned : first;
    this.query.sort_by = by;
    this.#go(1);
  }

  #showSort() {
    COLUMNS.forEach(({ sort }, index) => {
      const header = this.headers[index];
      const button = header.querySelector("button");
      if (button && sort === "from_status") {
        enable(button, !this.filters.to_status);
        button.title = this.filters.to_status ? "Not available while the new status is filtered" : "";
      }
      if (sort !== this.query.sort_by) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.query.sort_order === "asc" ? "ascending" : "descending");
    });
  }

  /** @param {number} page */
  #go(page) {
    this.query.page = Math.max(1, page);
    this.marked = null;
    this.load();
  }
}
