/**
 * The page of a container: its card, and its history as a timeline and a table.
 *
 * @import { App } from "./app.js"
 * @import { Route } from "./route.js"
 * @import { Container, StatusLog } from "./types.js"
 */

import { Card } from "./card.js";
import { byId, setTitle } from "./dom.js";
import { describe } from "./errors.js";
import { History } from "./history.js";
import { HistoryFilters } from "./history_filters.js";
import { LimitsPanel } from "./limits_panel.js";
import { Operations } from "./operations.js";
import { Reader } from "./reader.js";
import { go, link, queryOf } from "./route.js";
import * as settings from "./settings.js";
import { capital } from "./status.js";
import { LogTable } from "./table.js";
import { Timeline } from "./timeline.js";

const CALM_MS = 5000;
const PENDING_MS = 1000;

export class ContainerView {
  /** @param {App} app */
  constructor(app) {
    const { api, notices, projects } = app;
    this.app = app;
    this.api = api;
    this.notices = notices;
    this.projects = projects;
    this.operations = new Operations(api, notices, () => this.#changed());
    this.card = new Card(
      byId("container"),
      projects,
      (operation) => this.container && this.operations.ask(this.container, operation),
      (message) => notices.announce(message),
    );
    this.limits = new LimitsPanel({ api, notices, projects, onChange: () => this.reader.now() });
    byId("container").append(this.limits.element);
    this.filters = new HistoryFilters(["from", "to", "to_status"], "history-", (values) => go(link(this.id, queryOf(values))));
    byId("history-filters").append(this.filters.element);
    this.table = new LogTable(byId("table"), api);
    this.timeline = new Timeline(
      byId("timeline"),
      byId("history-controls"),
      (row, older) => this.#reveal(row, older),
      (error) => this.reader.failed(error),
    );
    this.reader = new Reader({
      read: (signal) => this.#read(signal),
      delay: () => (this.container?.pending_operation || this.operations.unanswered(this.id) ? PENDING_MS : CALM_MS),
      onError: (error) => this.#refused(error),
      onUnauthorized: app.onUnauthorized,
      banner: byId("stale"),
    });
    this.id = "";
    /** @type {Container | null} */
    this.container = null;
    /** @type {History | null} */
    this.history = null;
    /** Whether the container has changed since the displayed history was read. */
    this.behind = true;
  }

  /** @param {Route} route */
  open({ id, query }) {
    const filters = this.filters.show(query);
    if (id === this.id) {
      if (String(queryOf(filters)) !== String(queryOf(this.table.filters))) this.table.filter(filters);
      return;
    }
    this.close();
    this.id = id;
    document.title = "Longshore console";
    this.table.open(id, filters);
    this.reader.open();
  }

  close() {
    this.reader.close();
    this.id = "";
    this.container = null;
    this.history = null;
    this.behind = true;
    this.card.hide();
    byId("history").hidden = true;
  }

  tick() {
    this.card.tick();
    this.reader.tick();
  }

  redraw() {
    this.card.tick();
    this.timeline.draw();
    this.table.redraw();
    this.filters.show(queryOf(this.table.filters));
  }

  /**
   * Read the container, and its history when it has changed.
   * @param {AbortSignal} signal
   */
  async #read(signal) {
    const [container] = await Promise.all([this.api.container(this.id, signal), this.projects.load(signal)]);
    const before = this.container;
    this.container = container;
    this.#show(before);
    if (before?.updated_at !== container.updated_at) this.behind = true;
    if (this.behind) await this.#readHistory(signal);
    if (signal.aborted) return;
    this.operations.follow(container, () => this.#lastReason());
    this.timeline.show();
  }

  /** @param {AbortSignal} signal */
  async #readHistory(signal) {
    this.table.load();
    const history = this.history ?? new History(this.api, this.id, signal);
    await history.update();
    if (signal.aborted) return;
    this.behind = false;
    if (history === this.history) return;
    this.history = history;
    byId("history").hidden = false;
    this.timeline.open(history);
  }

  /** @param {Container | null} before The previous state of the container. */
  #show(before) {
    const container = this.container;
    if (!container) return;
    this.card.show(container, this.operations.unanswered(container.id));
    this.limits.show(container);
    setTitle(`${capital(container.status)} · ${container.name} · Longshore`);
    if (!before) {
      settings.remember({ id: container.id, name: container.name });
      this.app.showRecent();
      byId("project-activity").setAttribute("href", link("activity", queryOf({ project: container.project_id })));
    } else if (before.status !== container.status && !this.operations.accepted) {
      if (container.status !== this.operations.reported) this.notices.announce(`Container is ${container.status}`);
    }
  }

  #lastReason() {
    const reason = this.history?.rows.at(-1)?.metadata?.reason;
    return typeof reason === "string" ? reason : undefined;
  }

  /**
   * Show a row of the timeline in the table, without filters.
   * @param {StatusLog} row
   * @param {number} older
   */
  #reveal(row, older) {
    const filtered = Object.keys(this.table.filters).length > 0;
    this.table.reveal(row, older);
    if (filtered) go(link(this.id));
  }

  /** Update the page after an operation was sent or has returned. */
  #changed() {
    if (this.container) this.card.show(this.container, this.operations.unanswered(this.container.id));
    this.reader.now();
  }

  /**
   * Show an error that a repetition does not remove, if there is nothing else to show.
   * @param {unknown} error
   */
  #refused(error) {
    if (this.container) return false;
    this.notices.show(describe(error));
    return true;
  }
}
