/**
 * The controls for the limits of a container: stop time, hold, idle timeout and protection.
 *
 * @import { Api } from "./api.js"
 * @import { Notices } from "./notices.js"
 * @import { Projects } from "./projects.js"
 * @import { Container } from "./types.js"
 */

import { now } from "./clock.js";
import { enable, h, setLabel } from "./dom.js";
import { describe } from "./errors.js";
import { timeOfField } from "./format.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
/** @type {readonly (readonly [number, string])[]} Seconds, and their text. */
const DURATIONS = [
  [30 * MINUTE, "30 minutes"], [HOUR, "1 hour"], [2 * HOUR, "2 hours"], [4 * HOUR, "4 hours"], [8 * HOUR, "8 hours"],
  [12 * HOUR, "12 hours"], [DAY, "1 day"], [3 * DAY, "3 days"], [7 * DAY, "7 days"],
];
const TWO_HOURS = String(2 * HOUR);
const AT_TIME = "at";

/** @typedef {{name: string, text: string, done: string, run: () => Promise<Container> | string, refusal: (container: Container) => string | null}} Action */

export class LimitsPanel {
  /**
   * @param {object} options
   * @param {Api} options.api
   * @param {Notices} options.notices
   * @param {Projects} options.projects
   * @param {() => void} options.onChange Called after a change.
   */
  constructor({ api, notices, projects, onChange }) {
    this.api = api;
    this.notices = notices;
    this.projects = projects;
    this.onChange = onChange;
    /** @type {Container | null} */
    this.container = null;
    /** @type {Map<Action, HTMLElement>} */
    this.buttons = new Map();
    const stop = timeChoice("limit-stop", "Stop the container in");
    const hold = timeChoice("limit-hold", "Hold: schedules skip the container for");
    const idle = h("select", { id: "limit-idle" }, ...options());
    idle.value = TWO_HOURS;
    const reason = h("input", { id: "limit-reason", maxlength: 256, placeholder: "Reason" });
    const isMissing = (/** @type {unknown} */ value) => (value === null || value === undefined ? "It is not set" : null);
    this.element = h("details", { id: "limits-panel", class: "limits-panel" },
      h("summary", {}, "Stop time, hold and protection"),
      this.#row(stop.element,
        this.#button({ name: "stop-at", text: "Set the stop time", done: "Stop time set",
          run: () => this.#at("stop_at", stop.value()), refusal: () => null }),
        this.#button({ name: "stop-at-off", text: "Remove the stop time", done: "Stop time removed",
          run: () => this.#change({ stop_at: null }), refusal: ({ stop_at: at }) => isMissing(at) })),
      this.#row(hold.element,
        this.#button({ name: "hold", text: "Hold", done: "Container held", run: () => this.#at("hold_until", hold.value()), refusal: () => null }),
        this.#button({ name: "hold-off", text: "Release", done: "Container released",
          run: () => this.#change({ hold_until: null }), refusal: ({ hold_until: at }) => isMissing(at) })),
      this.#row(h("span", { class: "filter" }, h("label", { for: idle.id }, "Stop the running container when it is not kept alive for"), idle),
        this.#button({ name: "idle", text: "Set the idle timeout", done: "Idle timeout set",
          run: () => this.#change({ idle_timeout: Number(idle.value) }), refusal: () => null }),
        this.#button({ name: "idle-off", text: "Remove the idle timeout", done: "Idle timeout removed",
          run: () => this.#change({ idle_timeout: null }), refusal: ({ idle_timeout: timeout }) => isMissing(timeout) }),
        this.#button({ name: "keep-alive", text: "Keep alive", done: "Container kept alive",
          run: () => this.api.keepAlive(this.#id()), refusal: ({ status }) => (status === "running" ? null : `The container is ${status}`) })),
      this.#row(h("span", { class: "filter" }, h("label", { for: reason.id }, "Protect from stop, force-stop, restart and pause"), reason),
        this.#button({ name: "protect", text: "Protect", done: "Container protected",
          run: () => (reason.value.trim() ? this.#change({ protection: { reason: reason.value.trim() } }) : "Enter the reason of the protection"),
          refusal: (container) => this.projects.protectionRefusal(container.project_id) }),
        this.#button({ name: "protect-off", text: "Remove the protection", done: "Protection removed",
          run: () => this.#change({ protection: null }),
          refusal: (container) => this.projects.protectionRefusal(container.project_id) ?? isMissing(container.protection) })));
  }

  /** @param {Container} container */
  show(container) {
    this.container = container;
    for (const [action, button] of this.buttons) {
      const refusal = this.#refusal(action);
      enable(button, !refusal);
      setLabel(button, "title", refusal ?? "");
    }
  }

  #id() {
    return this.container?.id ?? "";
  }

  /** @param {Record<string, unknown>} changes */
  #change(changes) {
    return this.api.change(this.#id(), changes);
  }

  /**
   * @param {"stop_at" | "hold_until"} name
   * @param {string | null} time
   */
  #at(name, time) {
    return time ? this.#change({ [name]: time }) : "Enter a time";
  }

  /** @param {Action} action */
  #refusal(action) {
    const { container } = this;
    if (!container) return "";
    return this.projects.refusal(container.project_id) ?? action.refusal(container);
  }

  /** @param {Action} action */
  #button(action) {
    const button = h("button", { type: "button", "data-limit": action.name, onclick: () => this.#run(action) }, action.text);
    this.buttons.set(action, button);
    return button;
  }

  /**
   * @param {HTMLElement} control
   * @param {...HTMLElement} buttons
   */
  #row(control, ...buttons) {
    return h("div", { class: "filters" }, control, ...buttons);
  }

  /** @param {Action} action */
  async #run(action) {
    const refusal = this.#refusal(action);
    if (refusal) return this.notices.announce(refusal);
    const sent = action.run();
    if (typeof sent === "string") return this.notices.show({ kind: "error", title: sent });
    try {
      await sent;
      this.notices.show({ kind: "ok", title: action.done });
    } catch (error) {
      this.notices.show(describe(error));
    }
    this.onChange();
  }
}

/**
 * A choice of a time in the future: a duration, or a time in the chosen zone.
 * @param {string} id
 * @param {string} label
 */
function timeChoice(id, label) {
  const choice = h("select", { id, onchange: () => (field.hidden = choice.value !== AT_TIME) },
    ...options(), h("option", { value: AT_TIME }, "until a time…"));
  choice.value = TWO_HOURS;
  const field = h("input", { type: "datetime-local", id: `${id}-time`, "aria-label": `${label}, until`, hidden: true });
  /** The time as the API takes it, or null if it is not valid. */
  const value = () => {
    if (choice.value === AT_TIME) return timeOfField(field.value);
    return new Date(now() + Number(choice.value) * 1000).toISOString();
  };
  return { element: h("span", { class: "filter" }, h("label", { for: id }, label), choice, field), value };
}

function options() {
  return DURATIONS.map(([seconds, text]) => h("option", { value: seconds }, text));
}
