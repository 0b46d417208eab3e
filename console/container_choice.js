/**
 * A choice of containers of a project, by name or id.
 *
 * @import { Api } from "./api.js"
 * @import { Container } from "./types.js"
 */

import { escaped, h, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { queryOf } from "./route.js";

const SUGGESTED = "100";

export class ContainerChoice {
  /** @param {Api} api */
  constructor(api) {
    this.api = api;
    this.project = "";
    /** @type {Map<string, string>} The names of the chosen containers, by id. */
    this.chosen = new Map();
    this.opened = new AbortController();
    this.input = h("input", {
      id: "schedule-container", list: "schedule-suggestions", spellcheck: "false", autocapitalize: "off", placeholder: "Name or id",
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter") return;
        // Enter would submit the form.
        event.preventDefault();
        this.#add();
      },
    });
    this.suggestions = h("datalist", { id: "schedule-suggestions" });
    this.error = h("p", { class: "error-text", role: "alert", hidden: true });
    this.list = h("ul", { class: "chosen", "aria-label": "Chosen containers" });
    this.element = h("div", { class: "field" },
      h("label", { for: this.input.id }, "Add a container"),
      h("div", { class: "row" }, this.input, this.suggestions, h("button", { type: "button", onclick: () => this.#add() }, "Add")),
      this.error, this.list);
  }

  /** The ids of the chosen containers. */
  get ids() {
    return [...this.chosen.keys()];
  }

  /**
   * @param {string} project
   * @param {readonly string[]} ids The chosen containers.
   */
  async open(project, ids) {
    this.opened.abort();
    this.opened = new AbortController();
    const { signal } = this.opened;
    this.project = project;
    this.chosen = new Map(ids.map((id) => [id, id]));
    this.input.value = "";
    this.#showError("");
    this.#draw();
    try {
      const containers = await this.#named("", signal);
      this.suggestions.replaceChildren(...containers.map(({ id, name }) =>
        // The browser shows the value as it is.
        escaped(name) === name ? h("option", { value: name }) : h("option", { value: id }, name)));
      for (const { id, name } of containers) if (this.chosen.has(id)) this.chosen.set(id, name);
      this.#draw();
    } catch {
      // Without suggestions, names can be entered all the same.
    }
  }

  async #add() {
    const text = this.input.value.trim();
    const { signal } = this.opened;
    if (!text) return this.#showError("Enter the name or the id of a container");
    try {
      const named = (await this.#named(text, signal)).filter(({ name }) => name === text);
      if (signal.aborted) return;
      if (named.length > 1) return this.#showError(`${named.length} containers are named ${text}: enter the id`);
      if (!named.length && !/^[0-9a-f]{24}$/.test(text)) return this.#showError(`The project has no container named ${text}`);
      this.chosen.set(named[0]?.id ?? text, named[0]?.name ?? text);
      this.input.value = "";
      this.#showError("");
      this.#draw();
      this.input.focus();
    } catch (error) {
      if (!signal.aborted) this.#showError(oneLine(error));
    }
  }

  /**
   * Return the containers of the project whose names contain a text.
   * @param {string} name
   * @param {AbortSignal} signal
   * @returns {Promise<Container[]>}
   */
  async #named(name, signal) {
    return (await this.api.containers(this.project, queryOf({ name, limit: SUGGESTED }), signal)).containers;
  }

  #draw() {
    this.list.replaceChildren(...[...this.chosen].map(([id, name]) => h("li", { class: "limit", title: id }, name,
      h("button", { type: "button", class: "quiet", "aria-label": `Remove ${name}`, onclick: () => {
        this.chosen.delete(id);
        this.#draw();
        this.input.focus();
      } }, "✕"))));
    this.list.hidden = this.chosen.size === 0;
  }

  /** @param {string} text */
  #showError(text) {
    this.error.hidden = !text;
    setText(this.error, text);
  }
}
