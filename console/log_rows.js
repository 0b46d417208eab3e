/**
 * The rows of a history, as rows of a table.
 *
 * @import { ProjectLog, StatusLog } from "./types.js"
 */

import { h } from "./dom.js";
import { causeOf, duration, exact } from "./format.js";
import { link } from "./route.js";
import { badge } from "./status.js";

/**
 * Create the cells of a change of status, and the row with its metadata, which a button shows.
 * @param {StatusLog} row
 * @param {Set<string>} expanded The ids of the rows whose metadata is shown. The button changes it.
 * @param {number} columns The number of columns of the table.
 */
export function logRow(row, expanded, columns) {
  const entries = Object.entries({ row: row.id, ...row.metadata });
  const details = h("tr", { id: `details-${row.id}`, class: "details", hidden: !expanded.has(row.id) },
    h("td", { colspan: columns },
      h("dl", {}, ...entries.map(([name, value]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, typeof value === "string" ? value : JSON.stringify(value)))))));
  const toggle = h("button", {
    type: "button",
    class: "expand",
    "aria-expanded": String(expanded.has(row.id)),
    "aria-controls": details.id,
    onclick: () => {
      const open = !expanded.has(row.id);
      if (open) expanded.add(row.id);
      else expanded.delete(row.id);
      details.hidden = !open;
      toggle.setAttribute("aria-expanded", String(open));
    },
  }, causeOf(row));
  return {
    details,
    time: cell("Time", { class: "num" }, time(row.transition_time)),
    from: cell("From", {}, row.from_status ? badge(row.from_status, "cell") : h("span", { class: "hint" }, "none")),
    to: cell("To", {}, badge(row.to_status, "cell")),
    took: cell("Took", { class: "num right" }, row.duration_ms === null ? "–" : duration(row.duration_ms)),
    trigger: cell("Trigger", {}, row.triggered_by),
    cause: cell("Cause", { class: "wide" }, toggle),
    recorded: cell("Recorded", { class: "num" }, time(row.created_at)),
  };
}

/**
 * Create a cell that links to the container of a change.
 * @param {ProjectLog} row
 */
export function containerCell(row) {
  return cell("Container", {}, h("a", { href: link(row.container_id) }, row.container_name ?? row.container_id));
}

/**
 * Create a cell. On narrow screens, where rows become cards, its label is shown.
 * @param {string} label
 * @param {Record<string, unknown>} attributes
 * @param {...(Node | string)} children
 */
export function cell(label, attributes, ...children) {
  return h("td", { "data-label": label, ...attributes }, ...children);
}

/** @param {string} text */
function time(text) {
  const [date, clock] = exact(Date.parse(text)).split(" ");
  return h("time", { datetime: text, title: text }, h("span", { class: "date" }, date), " ", clock);
}
