/**
 * The form in which a schedule is created or changed.
 *
 * @import { Api } from "./api.js"
 * @import { Kind } from "./expressions.js"
 * @import { Operation, Schedule, ScheduleSettings, Targets } from "./types.js"
 */

import { ContainerChoice } from "./container_choice.js";
import { enable, h, segmented, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { DAYS, expressionOf, fieldsOf, UNITS } from "./expressions.js";
import { capital, OPERATIONS } from "./status.js";

/** @typedef {"all" | "labels" | "containers"} TargetKind */

const KINDS = /** @type {const} */ ([["weekly", "Days"], ["rate", "Interval"], ["at", "Once"], ["cron", "Cron"]]);
const TARGETS = /** @type {const} */ ([["all", "All containers"], ["labels", "By label"], ["containers", "Containers"]]);

export class ScheduleForm {
  /**
   * @param {Api} api
   * @param {(name: string, settings: ScheduleSettings, isNew: boolean) => Promise<void>} onSave Rejects with the error.
   * @param {() => void} onClose Called after the form was closed.
   */
  constructor(api, onSave, onClose) {
    this.onSave = onSave;
    this.onClose = onClose;
    this.isNew = true;
    /** @type {Kind} */
    this.kind = "weekly";
    /** @type {TargetKind} */
    this.targets = "all";
    this.name = h("input", { id: "schedule-name", required: true, maxlength: 32, pattern: "[a-z0-9\\-]+", spellcheck: "false", autocapitalize: "off",
      title: "1 to 32 characters of a-z, 0-9 and -" });
    this.operation = h("select", { id: "schedule-operation" }, ...OPERATIONS.map((one) => h("option", { value: one }, capital(one))));
    this.kinds = segmented("schedule-kind", "Kind of the times", KINDS, this.kind, (kind) => this.#showKind(kind));
    this.days = DAYS.map((day) => h("input", { type: "checkbox", id: `schedule-${day}`, value: day }));
    this.time = h("input", { id: "schedule-time", type: "time" });
    this.number = h("input", { id: "schedule-number", type: "number", min: 1, step: 1 });
    this.unit = h("select", { id: "schedule-unit", "aria-label": "Unit of the interval" }, ...UNITS.map((unit) => h("option", { value: unit }, `${unit}s`)));
    this.at = h("input", { id: "schedule-at", type: "datetime-local", step: 1 });
    this.cron = h("input", { id: "schedule-cron", spellcheck: "false", autocapitalize: "characters" });
    this.zone = h("input", { id: "schedule-zone", list: "schedule-zones", required: true, spellcheck: "false", autocapitalize: "off" });
    this.targetKinds = segmented("schedule-targets", "Containers", TARGETS, this.targets, (kind) => this.#showTargets(kind));
    this.labels = h("input", { id: "schedule-labels", placeholder: "env:dev team:shop", spellcheck: "false", autocapitalize: "off" });
    this.containers = new ContainerChoice(api);
    this.zones = h("datalist", { id: "schedule-zones" });
    this.enabled = h("input", { id: "schedule-enabled", type: "checkbox" });
    this.error = h("p", { class: "error-text", role: "alert", hidden: true });
    this.save = h("button", { type: "submit", class: "primary" }, "Save");
    this.title = h("h3", { id: "schedule-form-title" });
    /** @type {Record<Kind, HTMLElement>} */
    this.kindFields = {
      weekly: h("div", { class: "row" },
        h("fieldset", { class: "days" }, h("legend", {}, "On"),
          ...DAYS.map((day, index) => h("span", {}, this.days[index], h("label", { for: `schedule-${day}` }, capital(day.toLowerCase()))))),
        h("label", { for: this.time.id }, "at"), this.time),
      rate: h("div", { class: "row" }, h("label", { for: this.number.id }, "Every"), this.number, this.unit),
      at: h("div", { class: "row" }, h("label", { for: this.at.id }, "At"), this.at),
      cron: h("div", { class: "field" }, h("label", { for: this.cron.id }, "Minutes, hours, day of month, month, day of week, year"), this.cron),
    };
    /** @type {Record<TargetKind, HTMLElement>} */
    this.targetFields = {
      all: h("p", { class: "hint" }, "All containers of the project, also those that are added later."),
      labels: h("div", { class: "field" }, h("label", { for: this.labels.id }, "Labels that a container must have"), this.labels),
      containers: this.containers.element,
    };
    this.element = h("form", { class: "schedule-form", "aria-labelledby": this.title.id, autocomplete: "off", hidden: true,
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        this.#submit();
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && this.close() },
    this.title, this.error,
    h("div", { class: "filters" }, labelled("Name", this.name), labelled("Operation", this.operation), labelled("Time zone", this.zone)),
    this.zones, this.kinds.element, ...Object.values(this.kindFields),
    this.targetKinds.element, ...Object.values(this.targetFields),
    h("div", { class: "row" }, this.enabled, h("label", { for: this.enabled.id }, "Enabled")),
    h("div", { class: "row" }, this.save, h("button", { type: "button", onclick: () => this.close() }, "Cancel")));
  }

  /**
   * Show the form.
   * @param {string} project
   * @param {Schedule | null} schedule The schedule to change, or null for a new one.
   */
  open(project, schedule) {
    this.isNew = !schedule;
    setText(this.title, schedule ? `Schedule ${schedule.name}` : "New schedule");
    this.name.value = schedule?.name ?? "";
    this.name.readOnly = !this.isNew;
    this.operation.value = schedule?.operation ?? "stop";
    this.zone.value = schedule?.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
    this.enabled.checked = schedule?.enabled ?? true;
    if (!this.zones.children.length) {
      this.zones.append(...["UTC", ...Intl.supportedValuesOf("timeZone")].map((zone) => h("option", { value: zone })));
    }
    const fields = fieldsOf(schedule?.expression ?? "");
    for (const day of this.days) day.checked = fields.days.includes(day.value);
    this.time.value = fields.time;
    this.number.value = fields.number;
    this.unit.value = fields.unit;
    this.at.value = fields.at;
    this.cron.value = fields.cron;
    this.#showKind(fields.kind);
    const { labels, container_ids: ids } = schedule?.targets ?? {};
    this.labels.value = Object.entries(labels ?? {}).map(([key, value]) => `${key}:${value}`).join(" ");
    this.containers.open(project, ids ?? []);
    this.#showTargets(labels ? "labels" : ids ? "containers" : "all");
    this.#showError("");
    enable(this.save, true);
    this.element.hidden = false;
    (this.isNew ? this.name : this.operation).focus();
  }

  /** Hide the form, unless it is hidden. */
  close() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.onClose();
  }

  async #submit() {
    if (this.save.getAttribute("aria-disabled") === "true") return;
    try {
      const settings = this.#settings();
      enable(this.save, false);
      await this.onSave(this.name.value, settings, this.isNew);
      this.close();
    } catch (error) {
      this.#showError(oneLine(error));
    }
    enable(this.save, true);
  }

  /**
   * @returns {ScheduleSettings}
   * @throws {Error} A field is not valid. The message is for the user.
   */
  #settings() {
    const expression = expressionOf({
      kind: this.kind,
      days: this.days.filter(({ checked }) => checked).map(({ value }) => value),
      time: this.time.value,
      number: this.number.value,
      unit: this.unit.value,
      at: this.at.value,
      cron: this.cron.value,
    });
    const operation = /** @type {Operation} */ (this.operation.value);
    return { operation, expression, timezone: this.zone.value.trim(), targets: this.#targets(), enabled: this.enabled.checked };
  }

  /** @returns {Targets} */
  #targets() {
    if (this.targets === "all") return { all: true };
    if (this.targets === "containers") {
      if (!this.containers.ids.length) throw new Error("Add a container");
      return { container_ids: this.containers.ids };
    }
    const pairs = this.labels.value.split(/\s+/).filter(Boolean).map((text) => /^([^:=]+)[:=](.*)$/.exec(text)?.slice(1));
    if (!pairs.length || pairs.includes(undefined)) throw new Error("Enter labels, such as env:dev");
    return { labels: Object.fromEntries(/** @type {string[][]} */ (pairs)) };
  }

  /** @param {Kind} kind */
  #showKind(kind) {
    this.kind = kind;
    this.kinds.select(kind);
    for (const [name, element] of Object.entries(this.kindFields)) element.hidden = name !== kind;
  }

  /** @param {TargetKind} kind */
  #showTargets(kind) {
    this.targets = kind;
    this.targetKinds.select(kind);
    for (const [name, element] of Object.entries(this.targetFields)) element.hidden = name !== kind;
  }

  /** @param {string} text */
  #showError(text) {
    this.error.hidden = !text;
    setText(this.error, text);
  }
}

/**
 * @param {string} text
 * @param {HTMLElement} control
 */
function labelled(text, control) {
  return h("span", { class: "filter" }, h("label", { for: control.id }, text), control);
}
