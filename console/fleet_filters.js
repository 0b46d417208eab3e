/**
 * The filters and the order of the fleet.
 *
 * @import { Project } from "./types.js"
 */

import { byId, h, setText } from "./dom.js";
import { badge, STATUSES } from "./status.js";

const TYPING_MS = 300;
/** @type {readonly (readonly [string, string])[]} Each an order of the API and its name. */
const ORDERS = [
  ["name asc", "Name, A to Z"],
  ["name desc", "Name, Z to A"],
  ["status asc", "Status"],
  ["status desc", "Status, reversed"],
  ["updated_at desc", "Last update, newest first"],
  ["updated_at asc", "Last update, oldest first"],
  ["created_at desc", "Created, newest first"],
  ["created_at asc", "Created, oldest first"],
];

/** @typedef {{project: string, status: string[], name: string, label: string[], sort_by: string, sort_order: string}} Filter */

export class FleetFilters {
  /** @param {(changes: Partial<Filter>, typing: boolean) => void} onChange `typing`: more changes may follow. */
  constructor(onChange) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.project = h("select", { id: "fleet-project", onchange: () => onChange({ project: this.project.value }, false) });
    this.name = this.#text("fleet-name", "Part of a name", (text) => onChange({ name: text }, true));
    this.label = this.#text("fleet-label", "env:prod", (text) => onChange({ label: text.split(/\s+/).filter(Boolean) }, true));
    this.order = h("select", {
      id: "fleet-order",
      onchange: () => {
        const [sort_by, sort_order] = this.order.value.split(" ");
        onChange({ sort_by, sort_order }, false);
      },
    }, ...ORDERS.map(([value, text]) => h("option", { value }, text)));
    this.statuses = STATUSES.map((status) => h("input", {
      type: "checkbox",
      id: `fleet-status-${status}`,
      value: status,
      onchange: () => onChange({ status: this.statuses.filter(({ checked }) => checked).map(({ value }) => value) }, false),
    }));
    this.clear = h("button", { type: "button", onclick: () => onChange({ status: [], name: "", label: [] }, false) }, "Clear filters");
    byId("fleet-filters").replaceChildren(
      filter("Project", this.project),
      filter("Name", this.name),
      filter("Labels", this.label),
      filter("Sort by", this.order),
      h("fieldset", { class: "statuses" },
        h("legend", { class: "sr" }, "Status"),
        ...STATUSES.flatMap((status, index) => [this.statuses[index], h("label", { for: `fleet-status-${status}` }, badge(status))])),
      this.clear,
    );
  }

  /** @param {Filter} filter */
  show({ project, status, name, label, sort_by, sort_order }) {
    this.#select(project);
    // Text that is being typed stays.
    if (!this.timer) {
      if (this.name.value.trim() !== name) this.name.value = name;
      if (this.label.value.trim() !== label.join(" ")) this.label.value = label.join(" ");
    }
    this.order.value = `${sort_by} ${sort_order}`;
    for (const box of this.statuses) box.checked = status.includes(box.value);
    this.clear.hidden = !(status.length || name || label.length);
  }

  /**
   * Show the choice of projects.
   * @param {Project[]} projects
   * @param {string} project The selected one.
   */
  choose(projects, project) {
    const options = [
      h("option", { value: "" }, "All projects"),
      ...projects.map(({ id, name, role }) => h("option", { value: id }, `${name ?? id} (${role})`)),
    ];
    const texts = options.map((option) => option.text).join("\n");
    if (texts !== [...this.project.options].map((option) => option.text).join("\n")) this.project.replaceChildren(...options);
    this.#select(project);
  }

  /** @param {string} project */
  #select(project) {
    // The project in the address may be one that the caller is not a member of.
    if (![...this.project.options].some(({ value }) => value === project)) this.project.append(h("option", { value: project }, project));
    this.project.value = project;
  }

  /**
   * @param {string} id
   * @param {string} placeholder
   * @param {(text: string) => void} onText
   */
  #text(id, placeholder, onText) {
    const apply = () => {
      clearTimeout(this.timer);
      this.timer = undefined;
      onText(input.value.trim());
    };
    const input = h("input", {
      id,
      type: "search",
      placeholder,
      spellcheck: "false",
      autocapitalize: "off",
      maxlength: 200,
      oninput: () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(apply, TYPING_MS);
      },
      onchange: apply,
    });
    return input;
  }
}

/**
 * @param {string} text
 * @param {HTMLElement} control
 */
function filter(text, control) {
  const label = h("label", { for: control.id });
  setText(label, text);
  return h("span", { class: "filter" }, label, control);
}
