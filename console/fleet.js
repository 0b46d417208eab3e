/**
 * The fleet: the containers of one project or all projects, a page at a time. The filters, the order and the page are
 * in the address.
 *
 * @import { App } from "./app.js"
 * @import { Filter } from "./fleet_filters.js"
 * @import { Container, ContainersPage } from "./types.js"
 * @import { Route } from "./route.js"
 */

import { BulkPanel } from "./bulk_panel.js";
import { Causes } from "./causes.js";
import { byId, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { FleetFilters } from "./fleet_filters.js";
import { FleetTable } from "./fleet_table.js";
import { plural } from "./format.js";
import { Pager } from "./pager.js";
import { Reader } from "./reader.js";
import { go, link, queryOf } from "./route.js";

const CALM_MS = 5000;
const PENDING_MS = 1000;
const LIMITS = [25, 50, 100];
const DEFAULTS = { sort_by: "name", sort_order: "asc", page: "1", limit: "50" };

/** @typedef {Filter & {page: string, limit: string}} Query As in the address, and as the API takes it. */

export class Fleet {
  /** @param {App} app */
  constructor(app) {
    const { api, notices, projects, runs } = app;
    this.api = api;
    this.notices = notices;
    this.projects = projects;
    this.runs = runs;
    /** @type {Query} */
    this.query = queryIn(new URLSearchParams());
    /** @type {ContainersPage | null} */
    this.page = null;
    /** @type {Map<string, Container>} Also on other pages. */
    this.selected = new Map();
    /** Whether the newest entry of the browser's history was added for the text that is being typed. */
    this.typing = false;
    this.causes = new Causes(api, (id) => this.table.showCause(id));
    this.filters = new FleetFilters((changes, typing) => this.#change({ ...changes, page: "1" }, typing));
    this.table = new FleetTable(byId("fleet-table"), {
      projects,
      causes: this.causes,
      runs,
      onSelect: (containers, selected) => this.#select(containers, selected),
      onSort: (by) => {
        const reversed = this.query.sort_by === by && this.query.sort_order === "asc";
        this.#change({ sort_by: by, sort_order: reversed ? "desc" : "asc", page: "1" });
      },
    });
    this.bulk = new BulkPanel({
      api,
      notices,
      projects,
      onClear: () => {
        this.#select([...this.selected.values()], false);
        byId("fleet-title").focus();
      },
      onChange: (containers) => {
        this.#readAgain(containers);
        this.reader.now();
      },
    });
    this.pager = new Pager({
      label: "Pages of the containers",
      prefix: "fleet-",
      limits: LIMITS,
      onPage: (page) => this.#change({ page: String(page) }),
      onLimit: (limit, page) => this.#change({ limit: String(limit), page: String(page) }),
    });
    byId("fleet-pager").append(this.pager.element);
    this.reader = new Reader({
      read: (signal) => this.#read(signal),
      delay: () => (this.page?.containers.some((container) => container.pending_operation) ? PENDING_MS : CALM_MS),
      onError: (error) => this.#showError(oneLine(error)),
      onUnauthorized: app.onUnauthorized,
      banner: byId("stale"),
    });
    byId("fleet-filters").addEventListener("focusout", () => (this.typing = false));
  }

  /** @param {Route} route */
  open({ query }) {
    const before = this.query;
    this.query = queryIn(query);
    // Containers that are not displayed any more should not be operated by mistake.
    if (String(filterOf(before)) !== String(filterOf(this.query))) this.selected.clear();
    byId("fleet").hidden = false;
    document.title = "Containers · Longshore";
    this.filters.show(this.query);
    this.table.showOrder(this.query.sort_by, this.query.sort_order);
    this.bulk.show([...this.selected.values()]);
    this.#showError("");
    byId("fleet-table").setAttribute("aria-busy", "true");
    this.reader.open();
  }

  close() {
    this.reader.close();
    this.causes.close();
    byId("fleet").hidden = true;
  }

  /** Remove everything that another user has read. */
  forget() {
    this.selected.clear();
    this.table.clear();
    this.page = null;
  }

  /** Focus the row that was used last, and return whether there is one. */
  focus() {
    return this.table.focus();
  }

  tick() {
    this.table.tick();
    this.reader.tick();
  }

  redraw() {
    this.table.tick();
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    const { project, ...query } = this.query;
    const asked = queryOf({ ...query, status: query.status.join(",") });
    const [page] = await Promise.all([this.api.containers(project, asked, signal), this.projects.load(signal)]);
    if (signal.aborted) return;
    const before = this.page;
    this.page = page;
    byId("fleet-table").removeAttribute("aria-busy");
    this.#readAgain(page.containers);
    this.filters.choose(this.projects.list, project);
    this.table.show(page.containers, this.selected, this.#empty());
    this.pager.show(page.pagination, page.containers.length);
    this.#readRuns(page.containers, signal);
    if (before?.pagination.total !== page.pagination.total) {
      this.notices.announce(plural(page.pagination.total, "container"));
    }
  }

  /**
   * Read the schedules that operate on the containers, and show their next runs. The list does not wait for them.
   * @param {Container[]} containers
   * @param {AbortSignal} signal
   */
  async #readRuns(containers, signal) {
    const read = await this.runs.load(containers.map(({ project_id: project }) => project), signal);
    if (read && !signal.aborted) this.table.tick();
  }

  /**
   * Update selected containers, which may be on other pages.
   * @param {Container[]} containers
   */
  #readAgain(containers) {
    for (const container of containers) if (this.selected.has(container.id)) this.selected.set(container.id, container);
    this.bulk.show([...this.selected.values()]);
  }

  #empty() {
    const { status, name, label } = this.query;
    if (this.page?.pagination.total) return "This page is empty.";
    if (status.length || name || label.length) return "No containers match the filters.";
    return this.projects.list.length ? "There are no containers yet." : "You are not a member of a project with containers.";
  }

  /**
   * @param {Container[]} containers
   * @param {boolean} selected
   */
  #select(containers, selected) {
    for (const container of containers) {
      if (selected) this.selected.set(container.id, container);
      else this.selected.delete(container.id);
    }
    this.table.mark(this.selected);
    this.bulk.show([...this.selected.values()]);
  }

  /**
   * Change the address, which opens it.
   * @param {Partial<Query>} changes
   * @param {boolean} [typing] While text is being typed, the browser's history gets one entry.
   */
  #change(changes, typing = false) {
    const hash = hashOf({ ...this.query, ...changes });
    if (hash === hashOf(this.query)) return;
    go(hash, { replace: typing && this.typing });
    this.typing = typing;
  }

  /** @param {string} text */
  #showError(text) {
    byId("fleet-error").hidden = !text;
    setText(byId("fleet-error"), text);
    if (text) this.table.show([], this.selected, "");
    return true;
  }
}

/**
 * Read the query of an address.
 * @param {URLSearchParams} query
 * @returns {Query}
 */
function queryIn(query) {
  const one = (/** @type {keyof typeof DEFAULTS} */ name) => query.get(name) ?? DEFAULTS[name];
  return {
    project: query.get("project") ?? "",
    status: (query.get("status") ?? "").split(",").filter(Boolean),
    name: query.get("name") ?? "",
    label: query.getAll("label"),
    sort_by: one("sort_by"),
    sort_order: one("sort_order"),
    page: one("page"),
    limit: one("limit"),
  };
}

/**
 * The address of a query, without values that are the defaults.
 * @param {Query} query
 */
function hashOf(query) {
  const changed = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => {
    const own = query[/** @type {keyof typeof DEFAULTS} */ (name)];
    return [name, own === value ? "" : own];
  }));
  return link("", queryOf({ ...query, status: query.status.join(","), ...changed }));
}

/** @param {Query} query */
function filterOf({ project, status, name, label }) {
  return queryOf({ project, status, name, label });
}
