/**
 * The schedules page: the schedules of a project, and their next runs on a week. The project is in the address.
 *
 * @import { App } from "./app.js"
 * @import { Route } from "./route.js"
 * @import { Schedule, ScheduleSettings } from "./types.js"
 */

import { confirmed } from "./confirm.js";
import { byId, enable, h, setLabel, setText } from "./dom.js";
import { describe, oneLine } from "./errors.js";
import { minute, plural } from "./format.js";
import { cell } from "./log_rows.js";
import { Reader } from "./reader.js";
import { go, link, queryOf } from "./route.js";
import { ScheduleForm } from "./schedule_form.js";
import { capital } from "./status.js";
import { drawWeek } from "./week.js";

const CALM_MS = 30_000;
const COLUMNS = ["Name", "Operation", "Times", "Containers", "Next runs", "Saved by"];

export class Schedules {
  /** @param {App} app */
  constructor(app) {
    const { api, notices, projects, runs } = app;
    this.api = api;
    this.notices = notices;
    this.projects = projects;
    this.runs = runs;
    this.project = "";
    /** @type {Schedule[]} */
    this.list = [];
    this.choice = h("select", { id: "schedules-project", onchange: () => go(link("schedules", queryOf({ project: this.choice.value }))) });
    this.add = h("button", { type: "button", id: "schedule-add", class: "primary", onclick: () => this.#edit(null) }, "New schedule");
    byId("schedules-filters").append(
      h("span", { class: "filter" }, h("label", { for: this.choice.id }, "Project"), this.choice), this.add);
    this.form = new ScheduleForm(api, (name, settings, isNew) => this.#save(name, settings, isNew), () => this.add.focus());
    byId("schedules-form").append(this.form.element);
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true });
    const heads = [...COLUMNS.map((title) => h("th", { scope: "col" }, title)), h("th", { scope: "col" }, h("span", { class: "sr" }, "Changes"))];
    byId("schedules-table").append(h("div", { class: "table-frame", role: "region", "aria-label": "Schedules table", tabindex: 0 },
      h("table", { class: "cards" }, h("caption", { class: "sr" }, "Schedules of the project"), h("thead", {}, h("tr", {}, ...heads)), this.body),
      this.empty));
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
    byId("schedules").hidden = false;
    document.title = "Schedules · Longshore";
    this.project = query.get("project") ?? "";
    this.form.element.hidden = true;
    this.forget();
    this.#showError("");
    this.reader.open();
  }

  close() {
    this.reader.close();
    byId("schedules").hidden = true;
  }

  /** Remove everything that another user has read. */
  forget() {
    this.list = [];
    this.body.replaceChildren();
    byId("week").replaceChildren();
    this.empty.hidden = true;
    this.choice.replaceChildren();
  }

  tick() {
    this.reader.tick();
  }

  redraw() {
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
    const schedules = await this.api.schedules(project, signal);
    if (signal.aborted) return;
    this.#show(schedules);
  }

  /** @param {Schedule[]} schedules */
  #show(schedules) {
    const same = this.body.children.length > 0 && JSON.stringify(schedules) === JSON.stringify(this.list);
    this.list = schedules;
    this.runs.set(this.project, schedules);
    if (!same) this.#draw();
  }

  #draw() {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.change;
    const refusal = this.#refusal();
    enable(this.add, !refusal);
    setLabel(this.add, "title", refusal ?? "");
    this.body.replaceChildren(...this.list.map((schedule) => this.#row(schedule, refusal)));
    // A button that is rendered again keeps the focus.
    if (focused) this.#button(focused)?.focus({ preventScroll: true });
    this.empty.hidden = this.list.length > 0;
    setText(this.empty, this.project ? "The project has no schedules." : "You are not a member of a project.");
    drawWeek(byId("week"), this.list);
  }

  #refusal() {
    return this.project ? this.projects.refusal(this.project) : "You are not a member of a project";
  }

  /** @param {string} change */
  #button(change) {
    return /** @type {HTMLElement | null} */ (this.body.querySelector(`[data-change="${CSS.escape(change)}"]`));
  }

  /**
   * @param {Schedule} schedule
   * @param {string | null} refusal Why the caller's role does not allow changes.
   */
  #row(schedule, refusal) {
    const { name, operation, expression, timezone, enabled, created_by: by, next_runs: runs } = schedule;
    const button = (/** @type {string} */ change, /** @type {() => void} */ run) => {
      const text = capital(change);
      const element = h("button", {
        type: "button",
        "data-change": `${change} ${name}`,
        "aria-label": `${text} ${name}`,
        title: refusal,
        onclick: () => (refusal ? this.notices.announce(refusal) : run()),
      }, text);
      enable(element, !refusal);
      return element;
    };
    const next = runs.length ? runs.map((run) => h("time", { datetime: run, class: "next-run" }, minute(Date.parse(run)))) : [enabled ? "None" : "Paused"];
    return h("tr", { "data-schedule": name },
      cell("Name", { class: "name" }, h("strong", {}, name)),
      cell("Operation", {}, capital(operation)),
      cell("Times", {}, h("span", {}, h("code", { class: "breakable" }, expression), " ", h("span", { class: "hint" }, timezone))),
      cell("Containers", { class: "wide" }, targetsText(schedule)),
      cell("Next runs", { class: "num" }, h("span", {}, ...next)),
      cell("Saved by", {}, by),
      cell("Changes", {}, h("span", { class: "row tight" },
        button("edit", () => this.#edit(schedule)),
        button(enabled ? "pause" : "resume", () => this.#switch(schedule)),
        button("delete", () => this.#delete(schedule)))));
  }

  /** @param {Schedule | null} schedule */
  #edit(schedule) {
    const refusal = this.#refusal();
    if (refusal) return this.notices.announce(refusal);
    this.form.open(this.project, schedule);
  }

  /**
   * @param {string} name
   * @param {ScheduleSettings} settings
   * @param {boolean} isNew
   */
  async #save(name, settings, isNew) {
    if (isNew && this.list.some((one) => one.name === name)) throw new Error(`The project already has a schedule named ${name}`);
    const saved = await this.api.saveSchedule(this.project, name, settings);
    this.#saved(saved);
    this.notices.show({ kind: "ok", title: `Schedule ${name} saved` });
  }

  /** @param {Schedule} schedule */
  async #switch({ name, operation, expression, timezone, targets, enabled }) {
    try {
      this.#saved(await this.api.saveSchedule(this.project, name, { operation, expression, timezone, targets, enabled: !enabled }));
      this.notices.show({ kind: "ok", title: `Schedule ${name} ${enabled ? "paused" : "resumed"}` });
      this.#button(`${enabled ? "resume" : "pause"} ${name}`)?.focus();
    } catch (error) {
      this.notices.show(describe(error));
    }
  }

  /** @param {Schedule} schedule */
  async #delete({ name }) {
    const text = `Its next runs do not take place. The containers do not change.`;
    if (!(await confirmed({ title: `Delete the schedule ${name}?`, text, action: "Delete", danger: true }))) return;
    try {
      await this.api.deleteSchedule(this.project, name);
      this.#show(this.list.filter((one) => one.name !== name));
      this.notices.show({ kind: "ok", title: `Schedule ${name} deleted` });
      this.add.focus();
    } catch (error) {
      this.notices.show(describe(error));
    }
  }

  /**
   * Show a saved schedule at once: a list that is read immediately may not have it yet.
   * @param {Schedule} saved
   */
  #saved(saved) {
    const others = this.list.filter(({ name }) => name !== saved.name);
    this.#show([...others, saved].sort((a, b) => (a.name < b.name ? -1 : 1)));
  }

  /** @param {string} text */
  #showError(text) {
    byId("schedules-error").hidden = !text;
    setText(byId("schedules-error"), text);
    return true;
  }
}

/** @param {Schedule} schedule */
function targetsText({ targets: { labels, container_ids: ids } }) {
  if (ids) return plural(ids.length, "container");
  return labels ? Object.entries(labels).map(([key, value]) => `${key}: ${value}`).join(" · ") : "All";
}
