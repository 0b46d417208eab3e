/**
 * The containers of a page as a table. Rows are updated in place, so that the focus and the selection stay.
 *
 * The rows are one stop of the Tab key: arrow keys move between them, and Tab moves from a row's checkbox to its link.
 *
 * @import { Projects } from "./projects.js"
 * @import { Causes } from "./causes.js"
 * @import { NextRuns } from "./next_runs.js"
 * @import { Container } from "./types.js"
 */

import { now } from "./clock.js";
import { h, setLabel, setText } from "./dom.js";
import { dateTime, wholeSeconds } from "./format.js";
import { showLimits } from "./limits.js";
import { cell } from "./log_rows.js";
import { link } from "./route.js";
import { badge, countText, IN_PROGRESS } from "./status.js";

/** @type {readonly {title: string, sort?: string}[]} */
const COLUMNS = [{ title: "Status", sort: "status" }, { title: "Name", sort: "name" }, { title: "Project" }, { title: "Since" }, { title: "Last cause" }];

/** @typedef {{element: HTMLTableRowElement, box: HTMLInputElement, name: HTMLAnchorElement, status: HTMLElement, count: HTMLElement, pending: HTMLElement, labels: HTMLElement, limits: HTMLElement, project: HTMLElement, since: HTMLElement, cause: HTMLElement, container: Container}} Row */

export class FleetTable {
  /**
   * @param {HTMLElement} root
   * @param {object} options
   * @param {Projects} options.projects
   * @param {Causes} options.causes
   * @param {NextRuns} options.runs
   * @param {(containers: Container[], selected: boolean) => void} options.onSelect
   * @param {(by: string) => void} options.onSort
   */
  constructor(root, { projects, causes, runs, onSelect, onSort }) {
    this.projects = projects;
    this.causes = causes;
    this.runs = runs;
    this.onSelect = onSelect;
    /** @type {Map<string, Row>} By id, in the displayed order. */
    this.rows = new Map();
    /** The container whose controls the Tab key reaches. */
    this.active = "";
    /** The container that was selected last, where a selection with Shift begins. */
    this.anchor = "";
    this.all = h("input", { type: "checkbox", "aria-label": "Select all containers on this page", onchange: () => this.#selectAll() });
    this.body = h("tbody", {
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#onKey(event),
      onfocusin: (/** @type {FocusEvent} */ event) => this.#activate(rowId(event.target)),
    });
    this.empty = h("p", { class: "empty", hidden: true });
    this.headers = COLUMNS.map(({ title, sort }) => h("th", { scope: "col" }, sort
      ? h("button", { type: "button", class: "sort", "data-fleet-sort": sort, onclick: () => onSort(sort) }, title, h("span", { class: "arrow", "aria-hidden": "true" }))
      : title));
    const head = h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "select" }, this.all), ...this.headers));
    this.frame = h("div", { class: "table-frame" },
      h("table", { class: "cards fleet", "aria-describedby": "fleet-keys" }, h("caption", { class: "sr" }, "Containers"), head, this.body),
      this.empty);
    root.replaceChildren(this.frame);
    this.observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        const row = this.rows.get(rowId(target));
        if (!row) continue;
        row.element.dataset.visible = String(isIntersecting);
        if (isIntersecting) this.causes.want(row.container);
      }
    });
  }

  /**
   * @param {Container[]} containers
   * @param {ReadonlyMap<string, Container>} selected
   * @param {string} empty The text when there are no containers.
   */
  show(containers, selected, empty) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const focusedId = this.body.contains(focused) ? rowId(focused) : "";
    const position = [...this.rows.keys()].indexOf(focusedId);
    const before = this.rows;
    this.rows = new Map(containers.map((container) => [container.id, before.get(container.id) ?? this.#create(container)]));
    for (const container of containers) this.#update(container, selected.has(container.id));
    for (const [id, { element }] of before) if (!this.rows.has(id)) this.observer.unobserve(element);
    if ([...before.keys()].join() !== [...this.rows.keys()].join()) {
      this.body.replaceChildren(...[...this.rows.values()].map(({ element }) => element));
      this.#refocus(focused, focusedId, position);
    }
    this.empty.hidden = containers.length > 0;
    setText(this.empty, empty);
    if (!this.rows.has(this.active)) this.#activate(containers[0]?.id ?? "");
    this.mark(selected);
  }

  /**
   * Show the order of the rows.
   * @param {string} by
   * @param {string} order
   */
  showOrder(by, order) {
    COLUMNS.forEach(({ sort }, index) => {
      if (sort === by) this.headers[index].setAttribute("aria-sort", `${order}ending`);
      else this.headers[index].removeAttribute("aria-sort");
    });
  }

  /**
   * Show which containers are selected.
   * @param {ReadonlyMap<string, Container>} selected
   */
  mark(selected) {
    let count = 0;
    for (const [id, { box, element }] of this.rows) {
      box.checked = selected.has(id);
      element.classList.toggle("marked", box.checked);
      if (box.checked) count += 1;
    }
    this.all.checked = count > 0 && count === this.rows.size;
    this.all.indeterminate = count > 0 && count < this.rows.size;
  }

  /** Update the elapsed times and the limits. */
  tick() {
    for (const { since, limits, container } of this.rows.values()) {
      showLimits(limits, container, this.runs.of(container));
      const time = Date.parse(container.status_since);
      setText(since, wholeSeconds(now() - time));
      since.title = dateTime(time);
    }
  }

  /**
   * Show the cause of a container's status, once it is known.
   * @param {string} id
   */
  showCause(id) {
    const row = this.rows.get(id);
    if (row) setText(row.cause, this.causes.of(row.container) ?? "");
  }

  /** Focus the link of the active row, and return whether there is one. */
  focus() {
    const row = this.rows.get(this.active);
    row?.name.focus();
    return Boolean(row);
  }

  clear() {
    this.rows.clear();
    this.observer.disconnect();
    this.body.replaceChildren();
  }

  /**
   * @param {Container} container
   * @returns {Row}
   */
  #create(container) {
    const { id } = container;
    const box = h("input", { type: "checkbox", tabindex: -1, onclick: (/** @type {MouseEvent} */ event) => this.#select(id, event.shiftKey) });
    const name = h("a", { href: link(id), tabindex: -1 });
    const [status, count, pending, labels, limits, project, since, cause] = Array.from({ length: 8 }, () => h("span"));
    pending.className = labels.className = "hint";
    limits.className = "limits";
    count.className = since.className = "num";
    const element = h("tr", { "data-container": id },
      h("td", { class: "select" }, box),
      cell("Status", {}, status, " ", count, " ", pending),
      cell("Name", { class: "name" }, name, labels, limits),
      cell("Project", { class: "project" }, project),
      cell("Since", { class: "num" }, since),
      cell("Last cause", { class: "cause" }, cause));
    this.observer.observe(element);
    return { element, box, name, status, count, pending, labels, limits, project, since, cause, container };
  }

  /**
   * @param {Container} container
   * @param {boolean} selected
   */
  #update(container, selected) {
    const row = this.rows.get(container.id);
    if (!row) return;
    row.container = container;
    row.box.checked = selected;
    setLabel(row.box, "aria-label", `Select ${container.name}`);
    if (row.status.dataset.status !== container.status) {
      row.status.dataset.status = container.status;
      row.status.replaceChildren(badge(container.status));
    }
    setText(row.count, countText(container));
    const { pending_operation: pending } = container;
    setText(row.pending, pending ? IN_PROGRESS[pending.operation] : "");
    setText(row.name, container.name);
    setText(row.labels, Object.entries(container.labels ?? {}).map(([key, value]) => `${key}: ${value}`).join(" · "));
    showLimits(row.limits, container, this.runs.of(container));
    setText(row.project, this.projects.name(container.project_id));
    const time = Date.parse(container.status_since);
    setText(row.since, wholeSeconds(now() - time));
    row.since.title = dateTime(time);
    setText(row.cause, this.causes.of(container) ?? "");
    if (row.element.dataset.visible === "true") this.causes.want(container);
  }

  /**
   * Restore the focus after the rows have moved.
   * @param {HTMLElement | null} focused
   * @param {string} id The container of the focused control, or an empty string.
   * @param {number} position Its position before.
   */
  #refocus(focused, id, position) {
    if (!id) return;
    const rows = [...this.rows.values()];
    const row = this.rows.get(id) ?? rows[Math.min(position, rows.length - 1)];
    if (row) (focused?.tagName === "A" ? row.name : row.box).focus({ preventScroll: true });
  }

  /** @param {string} id */
  #activate(id) {
    if (id === "" || !this.rows.has(id)) return;
    this.active = id;
    for (const [other, { box, name }] of this.rows) box.tabIndex = name.tabIndex = other === id ? 0 : -1;
  }

  /**
   * @param {string} id
   * @param {boolean} range Whether to select all rows since the last selected one.
   */
  #select(id, range) {
    const ids = [...this.rows.keys()];
    const from = range && this.rows.has(this.anchor) ? ids.indexOf(this.anchor) : ids.indexOf(id);
    const to = ids.indexOf(id);
    const chosen = ids.slice(Math.min(from, to), Math.max(from, to) + 1);
    this.anchor = id;
    this.onSelect(chosen.flatMap((one) => this.rows.get(one)?.container ?? []), Boolean(this.rows.get(id)?.box.checked));
  }

  #selectAll() {
    this.onSelect([...this.rows.values()].map(({ container }) => container), this.all.checked);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const rows = [...this.rows.values()];
    const here = rows.findIndex(({ element }) => element.contains(/** @type {Node} */ (event.target)));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: here + 1, ArrowUp: here - 1, PageDown: here + 10, PageUp: here - 10, Home: 0, End: rows.length - 1 };
    if (!(event.key in targets) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const target = rows[Math.min(rows.length - 1, Math.max(0, targets[event.key]))];
    (event.target === rows[here].name ? target.name : target.box).focus();
  }
}

/** @param {EventTarget | null} target */
function rowId(target) {
  return target instanceof Element ? (target.closest("tr")?.dataset.container ?? "") : "";
}
