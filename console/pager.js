/**
 * The controls to page through a list: range, page number, first to last page, and rows per page.
 *
 * @import { Pagination } from "./types.js"
 */

import { enable, h, setText } from "./dom.js";
import { count } from "./format.js";

export class Pager {
  /**
   * @param {object} options
   * @param {string} options.label The name of the controls for screen readers.
   * @param {string} options.prefix A prefix of the elements' ids.
   * @param {readonly number[]} options.limits The choices of rows per page.
   * @param {(page: number) => void} options.onPage
   * @param {(limit: number, page: number) => void} options.onLimit Its page contains the first row of the old page.
   */
  constructor({ label, prefix, limits, onPage, onLimit }) {
    this.onPage = onPage;
    this.page = 1;
    this.limit = limits[0];
    this.totalPages = 1;
    this.range = h("span", { class: "num", id: `${prefix}range` });
    this.input = h("input", { id: `${prefix}page`, inputmode: "numeric", class: "num", size: 4, autocomplete: "off", "aria-describedby": `${prefix}page-count`, onchange: () => this.#jump() });
    this.pageCount = h("span", { id: `${prefix}page-count`, class: "num" });
    this.select = h("select", {
      id: `${prefix}limit`,
      onchange: () => {
        const first = (this.page - 1) * this.limit;
        const chosen = Number(this.select.value);
        onLimit(chosen, Math.floor(first / chosen) + 1);
      },
    }, ...limits.map((limit) => h("option", { value: limit }, String(limit))));
    this.buttons = {
      first: this.#turn("First", "«", () => 1),
      previous: this.#turn("Previous", "‹", () => this.page - 1),
      next: this.#turn("Next", "›", () => this.page + 1),
      last: this.#turn("Last", "»", () => this.totalPages),
    };
    this.element = h("nav", { class: "pager", "aria-label": label },
      this.range,
      h("span", { class: "row tight" }, this.buttons.first, this.buttons.previous,
        h("label", { for: `${prefix}page` }, "Page"), this.input, this.pageCount,
        this.buttons.next, this.buttons.last),
      h("span", { class: "row tight" }, h("label", { for: `${prefix}limit` }, "Rows"), this.select));
  }

  /**
   * @param {Pagination} pagination
   * @param {number} rows The number of rows on the page.
   */
  show({ total, page, limit, totalPages }, rows) {
    this.page = page;
    this.limit = limit;
    this.totalPages = Math.max(1, totalPages);
    const first = (page - 1) * limit + 1;
    setText(this.range, rows ? `${count(first)} to ${count(first + rows - 1)} of ${count(total)}` : `0 of ${count(total)}`);
    if (document.activeElement !== this.input) this.input.value = String(page);
    this.select.value = String(limit);
    setText(this.pageCount, `of ${count(this.totalPages)}`);
    enable(this.buttons.first, page > 1);
    enable(this.buttons.previous, page > 1);
    enable(this.buttons.next, page < this.totalPages);
    enable(this.buttons.last, page !== this.totalPages);
  }

  #jump() {
    const page = Number(this.input.value.trim());
    const valid = Number.isInteger(page) && page >= 1;
    const target = valid ? Math.min(page, this.totalPages) : this.page;
    this.input.value = String(target);
    if (valid) this.onPage(target);
  }

  /**
   * @param {string} label
   * @param {string} sign
   * @param {() => number} target
   */
  #turn(label, sign, target) {
    const button = h("button", {
      type: "button",
      class: "turn",
      "aria-label": `${label} page`,
      onclick: () => {
        if (button.getAttribute("aria-disabled") !== "true") this.onPage(target());
      },
    }, sign);
    return button;
  }
}
