/**
 * The history as a table, paged and sorted by the API.
 *
 * @import { Api } from "./api.js"
 * @import { LogsPage, SortBy, StatusLog } from "./types.js"
 */

import { enable, h, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { causeOf, count, duration, exact } from "./format.js";
import { badge } from "./status.js";

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
    this.totalPages = 1;
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
      h("table", {}, h("caption", { class: "sr" }, "Changes of status"), h("thead", {}, h("tr", {}, ...this.headers)), this.body));
    this.error = h("p", { class: "error-text", role: "alert", hidden: true });
    this.range = h("span", { class: "num", id: "range" });
    this.pageInput = h("input", { id: "page", inputmode: "numeric", class: "num", size: 4, autocomplete: "off", "aria-describedby": "page-count", onchange: () => this.#jump() });
    this.pageCount = h("span", { id: "page-count", class: "num" });
    this.limitSelect = h("select", { id: "limit", onchange: () => this.#setLimit() }, ...LIMITS.map((limit) => h("option", { value: limit }, String(limit))));
    this.limitSelect.value = String(this.query.limit);
    this.buttons = {
      first: this.#turn("First", "«", () => 1),
      previous: this.#turn("Previous", "‹", () => this.query.page - 1),
      next: this.#turn("Next", "›", () => this.query.page + 1),
      last: this.#turn("Last", "»", () => this.totalPages),
    };
    const pager = h("nav", { class: "pager", "aria-label": "Pages of the history" },
      this.range,
      h("span", { class: "row tight" }, this.buttons.first, this.buttons.previous,
        h("label", { for: "page" }, "Page"), this.pageInput, this.pageCount,
        this.buttons.next, this.buttons.last),
      h("span", { class: "row tight" }, h("label", { for: "limit" }, "Rows"), this.limitSelect));
    root.replaceChildren(this.error, this.frame, pager);
  }

  /**
   * Show the newest rows of a container.
   * @param {string} id
   */
  open(id) {
    this.id = id;
    this.shown = null;
    this.expanded.clear();
    this.marked = null;
    this.query.page = 1;
    this.query.sort_by = "transition_time";
    this.query.sort_order = "desc";
    this.body.replaceChildren();
  }

  /** Reload the page. */
  async load() {
    this.loading?.abort();
    const loading = (this.loading = new AbortController());
    this.frame.setAttribute("aria-busy", "true");
    this.#showSort();
    try {
      const page = await this.api.logs(this.id, { ...this.query }, loading.signal);
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
   * Open the page of a row and highlight it.
   * @param {StatusLog} row
   * @param {number} older The number of older rows. It does not change when rows are added.
   */
  async reveal(row, older) {
    this.marked = row.id;
    this.query.sort_by = "transition_time";
    this.query.sort_order = "desc";
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
    const { total, page: number, limit, totalPages } = page.pagination;
    // Rows are immutable: equal ids mean an equal page.
    const same = this.shown?.logs.map((row) => row.id).join() === page.logs.map((row) => row.id).join();
    this.shown = page;
    this.totalPages = Math.max(1, totalPages);
    if (!same) this.redraw();
    const first = (number - 1) * limit + 1;
    setText(this.range, page.logs.length ? `${count(first)} to ${count(first + page.logs.length - 1)} of ${count(total)}` : `0 of ${count(total)}`);
    if (document.activeElement !== this.pageInput) this.pageInput.value = String(number);
    setText(this.pageCount, `of ${count(this.totalPages)}`);
    enable(this.buttons.first, number > 1);
    enable(this.buttons.previous, number > 1);
    enable(this.buttons.next, number < this.totalPages);
    enable(this.buttons.last, number !== this.totalPages);
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
    const details = this.#details(row);
    const toggle = h("button", {
      type: "button",
      class: "expand",
      "aria-expanded": String(this.expanded.has(row.id)),
      "aria-controls": details.id,
      onclick: () => {
        const open = !this.expanded.has(row.id);
        if (open) this.expanded.add(row.id);
        else this.expanded.delete(row.id);
        details.hidden = !open;
        toggle.setAttribute("aria-expanded", String(open));
      },
    }, causeOf(row));
    return [
      h("tr", { "data-row": row.id, class: row.id === this.marked ? "marked" : "" },
        h("td", { class: "num" }, time(row.transition_time)),
        h("td", {}, row.from_status ? badge(row.from_status, "cell") : h("span", { class: "hint" }, "none")),
        h("td", {}, badge(row.to_status, "cell")),
        h("td", { class: "num right" }, row.duration_ms === null ? "–" : duration(row.duration_ms)),
        h("td", {}, row.triggered_by),
        h("td", {}, toggle),
        h("td", { class: "num" }, time(row.created_at))),
      details,
    ];
  }

  /** @param {StatusLog} row */
  #details(row) {
    const entries = Object.entries({ row: row.id, ...row.metadata });
    return h("tr", { id: `details-${row.id}`, class: "details", hidden: !this.expanded.has(row.id) },
      h("td", { colspan: COLUMNS.length },
        h("dl", {}, ...entries.map(([name, value]) =>
          h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value)))))));
  }

  /**
   * @param {SortBy} by
   * @param {"asc" | "desc"} first
   */
  #sort(by, first) {
    const turned = this.query.sort_order === "asc" ? "desc" : "asc";
    this.query.sort_order = this.query.sort_by === by ? turned : first;
    this.query.sort_by = by;
    this.#go(1);
  }

  #showSort() {
    COLUMNS.forEach(({ sort }, index) => {
      const header = this.headers[index];
      if (sort !== this.query.sort_by) header.removeAttribute("aria-sort");
      else header.setAttribute("aria-sort", this.query.sort_order === "asc" ? "ascending" : "descending");
    });
  }

  #setLimit() {
    // The first row of the old page stays in view.
    const first = (this.query.page - 1) * this.query.limit;
    this.query.limit = Number(this.limitSelect.value);
    this.#go(Math.floor(first / this.query.limit) + 1);
  }

  #jump() {
    const page = Number(this.pageInput.value.trim());
    if (!Number.isInteger(page) || page < 1) this.pageInput.value = String(this.query.page);
    else this.#go(Math.min(page, this.totalPages));
    this.pageInput.value = String(this.query.page);
  }

  /** @param {number} page */
  #go(page) {
    this.query.page = Math.max(1, page);
    this.marked = null;
    this.load();
  }

  /**
   * @param {string} label
   * @param {string} sign
   * @param {() => number} target
   */
  #turn(label, sign, target) {
    const button = h("button", {
      type: "button",
      class: "turn",
      "aria-label": `${label} page`,
      onclick: () => {
        if (button.getAttribute("aria-disabled") !== "true") this.#go(target());
      },
    }, sign);
    return button;
  }
}

/** @param {string} text */
function time(text) {
  const [date, clock] = exact(Date.parse(text)).split(" ");
  return h("time", { datetime: text, title: text }, h("span", { class: "date" }, date), " ", clock);
}
