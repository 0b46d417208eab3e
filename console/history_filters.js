/** The filters of a history: times, status, trigger, actor. Their values are those of the API's query. */

import { h } from "./dom.js";
import { fieldTime, timeOfField } from "./format.js";
import { capital, STATUSES } from "./status.js";

/** @typedef {"from" | "to" | "to_status" | "triggered_by" | "actor" | "container_id"} FilterName */

/** @type {Record<FilterName, string>} */
const LABELS = {
  from: "From",
  to: "Until",
  to_status: "New status",
  triggered_by: "Trigger",
  actor: "User",
  container_id: "Container id",
};
const TRIGGERS = ["user", "schedule", "system", "recovery"];

export class HistoryFilters {
  /**
   * @param {readonly FilterName[]} names
   * @param {string} prefix A prefix of the controls' ids.
   * @param {(values: Record<string, string>) => void} onChange Called with the filters that are set.
   */
  constructor(names, prefix, onChange) {
    this.controls = new Map(names.map((name) => [name, control(name, `${prefix}${name}`)]));
    const clear = h("button", { type: "button", onclick: () => onChange({}) }, "Clear filters");
    this.clear = clear;
    this.element = h("form", {
      class: "filters",
      "aria-label": "Filters of the history",
      autocomplete: "off",
      onsubmit: (/** @type {Event} */ event) => event.preventDefault(),
      onchange: () => onChange(this.#values()),
    },
    ...[...this.controls].map(([name, input]) =>
      h("span", { class: "filter" }, h("label", { for: input.id }, LABELS[name]), input)),
    clear);
  }

  /**
   * Show the values of a query, and return them.
   * @param {URLSearchParams} query
   * @returns {Record<string, string>}
   */
  show(query) {
    /** @type {Record<string, string>} */
    const values = {};
    for (const [name, input] of this.controls) {
      const value = query.get(name) ?? "";
      const shown = name === "from" || name === "to" ? fieldTime(Date.parse(value)) : value;
      // A time that is being typed stays.
      if (input.value !== shown) input.value = shown;
      if (value) values[name] = value;
    }
    this.clear.hidden = Object.keys(values).length === 0;
    return values;
  }

  #values() {
    /** @type {Record<string, string>} */
    const values = {};
    for (const [name, input] of this.controls) {
      const value = input.value.trim();
      if (value) values[name] = name === "from" || name === "to" ? timeOfField(value) ?? value : value;
    }
    return values;
  }
}

/**
 * @param {FilterName} name
 * @param {string} id
 */
function control(name, id) {
  if (name === "from" || name === "to") return h("input", { id, type: "datetime-local", step: 1 });
  if (name === "actor" || name === "container_id") return h("input", { id, spellcheck: "false", autocapitalize: "off", maxlength: 128 });
  const options = name === "to_status" ? STATUSES : TRIGGERS;
  return h("select", { id }, h("option", { value: "" }, "Any"), ...options.map((one) => h("option", { value: one }, capital(one))));
}
