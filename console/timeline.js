/**
 * The history as a chart: a lane for each status, with a band for each period in that status.
 *
 * For the keyboard and screen readers, the chart is a slider over the status changes in view: arrow keys move through
 * them, and the selected change is described below the chart. The legend describes the chart as text.
 *
 * @import { History } from "./history.js"
 * @import { Status, StatusLog } from "./types.js"
 */

import { now } from "./clock.js";
import { h, s, segmented, setLabel, setText } from "./dom.js";
import { causeOf, clockTime, count, dateTime, duration, exact, parts, percent, plural, wholeSeconds } from "./format.js";
import { badge, capital, STATUSES } from "./status.js";

const LANE = 20;
const GAP = 5;
const AXIS = 22;
const LABELS = 76;
const RIGHT = 4;
const LEAST_WIDTH = 1;
const REACH = 4;
const LOADED_AT_MOST = 1000;
/** The number of changes in the initial view. */
const AT_FIRST = 20;

const HOUR = 3_600_000;
/** @type {readonly (readonly ["1h" | "6h" | "24h" | "7d" | "all", string])[]} */
const ZOOMS = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["7d", "7 d"], ["all", "All"]];
const SPANS = { "1h": HOUR, "6h": 6 * HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, all: Infinity };

/** Steps of the axis, in milliseconds. */
const STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * 1000)
  .concat([1, 2, 5, 10, 15, 30].map((n) => n * 60_000))
  .concat([1, 2, 3, 6, 12].map((n) => n * HOUR))
  .concat([1, 2, 7, 14, 30, 90, 365].map((n) => n * 24 * HOUR));

/** @typedef {{row: StatusLog, index: number, status: Status, from: number, to: number}} Band Its index is in the history. */

export class Timeline {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} controls The element for the zoom buttons.
   * @param {(row: StatusLog, older: number) => void} onOpen Called to show a row in the table. `older` is the number of older rows.
   * @param {(error: unknown) => void} onError
   */
  constructor(root, controls, onOpen, onError) {
    this.root = root;
    this.onOpen = onOpen;
    this.onError = onError;
    /** @type {History | null} */
    this.history = null;
    /** @type {keyof typeof SPANS} */
    this.zoom = "all";
    this.most = LOADED_AT_MOST;
    /** @type {string | null} The id of the selected row, or null for the newest. */
    this.selected = null;
    /** @type {{x: number, y: number} | null} The position of the pointer in the window. */
    this.pointer = null;
    /** @type {Band[]} */
    this.bands = [];
    this.view = { from: 0, to: 1 };
    this.loading = false;
    this.again = false;

    this.zooms = segmented("zoom", "Time span", ZOOMS, this.zoom, (zoom) => this.#setZoom(zoom));
    controls.prepend(this.zooms.element);
    this.svg = s("svg", { class: "timeline-svg", "aria-hidden": "true" });
    this.slider = h("div", {
      class: "timeline-slider",
      role: "slider",
      tabindex: 0,
      "aria-label": "Changes of status in view",
      "aria-describedby": "timeline-keys",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#onKey(event),
      onpointermove: (/** @type {PointerEvent} */ event) => this.#point({ x: event.clientX, y: event.clientY }),
      onpointerleave: () => this.#point(null),
      onpointerdown: (/** @type {PointerEvent} */ event) => {
        this.#point({ x: event.clientX, y: event.clientY });
        this.#select(this.#pointed());
      },
    }, this.svg);
    this.detail = {
      status: h("span"),
      span: h("span", { class: "num" }),
      length: h("strong", { class: "num" }),
      cause: h("span"),
      open: h("button", { type: "button", class: "link", onclick: () => this.#open() }, "Show in the table"),
    };
    this.summary = h("p", { class: "hint", id: "timeline-summary" });
    this.legend = h("ul", { class: "legend", "aria-label": "Share of the time in view, by status" });
    this.more = h("button", { type: "button", hidden: true, onclick: () => this.#loadMore() }, "Load older changes");
    root.replaceChildren(
      h("p", { id: "timeline-keys", class: "sr" }, "Arrow keys move through the changes, Enter shows one in the table."),
      this.slider,
      h("div", { class: "timeline-detail" }, ...Object.values(this.detail)),
      this.legend,
      h("div", { class: "row spread" }, this.summary, this.more),
    );
    new ResizeObserver(() => this.draw()).observe(this.slider);
  }

  /**
   * @param {History} history
   */
  open(history) {
    this.history = history;
    this.most = LOADED_AT_MOST;
    this.selected = null;
    const row = history.rows.at(-AT_FIRST);
    const since = row ? now() - Date.parse(row.transition_time) : Infinity;
    this.zoom = ZOOMS.find(([zoom]) => since < SPANS[zoom])?.[0] ?? "all";
    this.zooms.select(this.zoom);
  }

  /** Load the displayed period, and draw. Never rejects. */
  async show() {
    this.draw();
    // Another container or period may have been opened in the meantime.
    this.again = true;
    if (this.loading) return;
    this.loading = true;
    while (this.again && this.history) {
      this.again = false;
      const history = this.history;
      try {
        await history.reachBack(now() - SPANS[this.zoom], this.most, () => this.draw());
      } catch (error) {
        if (!history.signal.aborted) this.onError(error);
      }
    }
    this.loading = false;
    this.draw();
  }

  /** Draw the loaded history, up to now. */
  draw() {
    const rows = this.history?.rows ?? [];
    this.root.hidden = rows.length === 0;
    const width = this.slider.clientWidth;
    if (rows.length === 0 || width === 0) return;
    const to = now();
    const oldest = Date.parse(rows[0].transition_time);
    const from = this.zoom === "all" ? Math.min(oldest, to - 1000) : to - SPANS[this.zoom];
    this.view = { from, to };
    this.bands = bandsOf(rows, from, to);
    this.#drawLanes(width);
    this.#drawLegend(rows.length);
    this.#showDetail();
  }

  /** @param {keyof typeof SPANS} zoom */
  #setZoom(zoom) {
    this.zoom = zoom;
    this.show();
  }

  #loadMore() {
    this.most = (this.history?.rows.length ?? 0) + LOADED_AT_MOST;
    this.show();
  }

  /** @param {number} width */
  #drawLanes(width) {
    const height = STATUSES.length * (LANE + GAP) + AXIS;
    const x = (/** @type {number} */ time) =>
      LABELS + ((time - this.view.from) / (this.view.to - this.view.from)) * (width - LABELS - RIGHT);
    const paths = new Map(STATUSES.map((status) => [status, ""]));
    for (const band of this.bands) {
      const left = x(band.from);
      const size = Math.max(LEAST_WIDTH, x(band.to) - left);
      paths.set(band.status, `${paths.get(band.status) ?? ""}M${left.toFixed(2)} ${laneTop(band.status)}h${size.toFixed(2)}v${LANE}h-${size.toFixed(2)}z`);
    }
    this.cursor = s("g", { class: "cursor" });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("width", String(width));
    this.svg.setAttribute("height", String(height));
    this.svg.replaceChildren(
      ...this.#axis(width, height, x),
      ...STATUSES.flatMap((status) => [
        s("text", { x: 0, y: laneTop(status) + LANE / 2, class: "lane-label" }, capital(status)),
        s("rect", { x: LABELS, y: laneTop(status), width: Math.max(0, width - LABELS - RIGHT), height: LANE, class: "lane" }),
      ]),
      ...STATUSES.map((status) => s("path", { d: paths.get(status), class: `band is-${status}` })),
      this.cursor,
    );
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {(time: number) => number} x
   */
  #axis(width, height, x) {
    const { from, to } = this.view;
    const room = Math.max(2, Math.floor((width - LABELS) / 75));
    const step = STEPS.find((one) => (to - from) / one <= room) ?? STEPS[STEPS.length - 1];
    // Ticks are round values in the displayed time zone.
    const shift = parts(to).offset * 60_000;
    const marks = [];
    for (let time = Math.ceil((from - shift) / step) * step + shift; time < to; time += step) {
      const at = x(time);
      const label = step >= 24 * HOUR ? parts(time).date.slice(5) : step >= 60_000 ? parts(time).minutes : clockTime(time);
      marks.push(s("line", { x1: at, x2: at, y1: 0, y2: height - AXIS + 3, class: "tick" }));
      if (at > LABELS + 16 && at < width - 58) marks.push(s("text", { x: at, y: height - 6, class: "tick-label" }, label));
    }
    marks.push(s("text", { x: width - RIGHT, y: height - 6, class: "tick-label end" }, "now"));
    return marks;
  }

  /** @param {number} loaded */
  #drawLegend(loaded) {
    const first = this.bands[0];
    const known = first ? this.view.to - first.from : 0;
    this.legend.replaceChildren(...STATUSES.map((status) => {
      const own = this.bands.filter((band) => band.status === status);
      const time = own.reduce((sum, band) => sum + band.to - band.from, 0);
      return h("li", { class: own.length ? "" : "none" },
        badge(status, "legend-name"),
        h("span", { class: "num" }, known ? percent(time / known) : "0%"),
        h("span", { class: "hint num" }, own.length ? `${wholeSeconds(time)} · ${plural(own.length, "time")}` : "none"),
      );
    }));
    const before = this.history?.before ?? 0;
    const changes = this.#begun().length;
    const cut = before > 0 && first && first.index === 0 && first.from > this.view.from;
    const all = this.zoom === "all" && before > 0;
    setText(this.summary,
      `${dateTime(this.view.from)} to ${dateTime(this.view.to)}: ${plural(changes, "change")} of status.` +
      (this.loading && (cut || all) ? ` Loading ${count(loaded)} of ${count(loaded + before)}…` : "") +
      (!this.loading && (cut || all) ? ` ${plural(before, "older change")} not loaded.` : ""));
    this.more.hidden = this.loading || !(cut || all);
  }

  /** The bands that begin in view. */
  #begun() {
    return this.bands.filter((band) => Date.parse(band.row.transition_time) >= this.view.from);
  }

  /** The bands that the arrow keys move through. Never empty. */
  #changes() {
    const begun = this.#begun();
    return begun.length ? begun : this.bands.slice(-1);
  }

  #current() {
    return this.bands.find((band) => band.row.id === this.selected) ?? this.bands[this.bands.length - 1] ?? null;
  }

  /** @param {{x: number, y: number} | null} pointer */
  #point(pointer) {
    this.pointer = pointer;
    this.#showDetail();
  }

  /** @param {Band | null} band */
  #select(band) {
    if (!band) return;
    // If the newest band is selected, later bands are selected as they are added.
    this.selected = band === this.bands[this.bands.length - 1] ? null : band.row.id;
    this.#showDetail();
  }

  /**
   * The band nearest to the pointer, preferably in its lane, because many bands are too narrow to hit.
   * @returns {Band | null}
   */
  #pointed() {
    if (!this.pointer) return null;
    const { x, y } = this.pointer;
    const box = this.svg.getBoundingClientRect();
    const per = (this.view.to - this.view.from) / Math.max(1, box.width - LABELS - RIGHT);
    const time = this.view.from + (x - box.left - LABELS) * per;
    if (time < this.view.from) return null;
    const lane = STATUSES[Math.floor((y - box.top) / (LANE + GAP))];
    const near = this.bands.filter((band) => band.from <= time + REACH * per && band.to >= time - REACH * per);
    const distance = (/** @type {Band} */ band) => Math.max(0, band.from - time, time - band.to);
    near.sort((a, b) => Number(b.status === lane) - Number(a.status === lane) || distance(a) - distance(b));
    return near[0] ?? null;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const changes = this.#changes();
    const here = changes.findIndex((band) => band.row.id === this.#current()?.row.id);
    const last = changes.length - 1;
    /** @type {Record<string, number>} */
    const targets = {
      ArrowLeft: here - 1,
      ArrowDown: here - 1,
      ArrowRight: here + 1,
      ArrowUp: here + 1,
      PageDown: here - 10,
      PageUp: here + 10,
      Home: 0,
      End: last,
    };
    if (event.key === "Enter" || event.key === " ") {
      this.pointer = null;
      this.#open();
    } else if (event.key in targets && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.pointer = null;
      this.#select(changes[Math.min(last, Math.max(0, targets[event.key]))] ?? null);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Show the selected change in the table. */
  #open() {
    const band = this.#current();
    if (band && this.history) this.onOpen(band.row, this.history.before + band.index);
  }

  /** Describe the band under the pointer, or else the selected band. */
  #showDetail() {
    const band = this.#pointed() ?? this.#current();
    if (!band || !this.history) return;
    const { row, index } = band;
    const began = Date.parse(row.transition_time);
    const next = this.history.rows[index + 1];
    const ended = next ? Date.parse(next.transition_time) : this.view.to;
    const cause = causeOf(row);
    const text = `${capital(row.to_status)} from ${exact(began)} ${next ? `to ${exact(ended)}` : "until now"}`;
    const length = next ? duration(ended - began) : wholeSeconds(ended - began);
    this.detail.status.replaceChildren(badge(row.to_status));
    setText(this.detail.span, `${exact(began)} → ${next ? exact(ended) : "now"}`);
    setText(this.detail.length, length);
    setText(this.detail.cause, cause);
    const changes = this.#changes();
    const position = changes.findIndex((one) => one.row.id === row.id);
    this.slider.setAttribute("aria-valuemin", "1");
    this.slider.setAttribute("aria-valuemax", String(changes.length));
    this.slider.setAttribute("aria-valuenow", String(Math.max(0, position) + 1));
    setLabel(this.slider, "aria-valuetext", `${text}${next ? `, ${length}` : ""}, ${cause}`);
    this.#drawCursor(band);
  }

  /** @param {Band} band */
  #drawCursor(band) {
    const width = this.slider.clientWidth;
    const scale = (width - LABELS - RIGHT) / (this.view.to - this.view.from);
    const left = LABELS + (band.from - this.view.from) * scale;
    const size = Math.max(LEAST_WIDTH, (band.to - band.from) * scale);
    const bottom = STATUSES.length * (LANE + GAP) - GAP + 3;
    this.cursor?.replaceChildren(
      s("line", { x1: left, x2: left, y1: 0, y2: bottom, class: "cursor-line" }),
      s("rect", { x: left - 1.5, y: laneTop(band.status) - 1.5, width: size + 3, height: LANE + 3, rx: 2, class: "cursor-box" }),
    );
  }
}

/**
 * The bands that overlap a time span, oldest first, cut to the span.
 * @param {StatusLog[]} rows Oldest first.
 * @param {number} from
 * @param {number} to
 * @returns {Band[]}
 */
function bandsOf(rows, from, to) {
  /** @type {Band[]} */
  const bands = [];
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    const next = rows[index + 1];
    const began = Math.max(from, Date.parse(row.transition_time));
    const ended = next ? Date.parse(next.transition_time) : to;
    if (next && ended < from) break;
    bands.push({ row, index, status: row.to_status, from: Math.min(began, ended), to: ended });
  }
  return bands.reverse();
}

/** @param {Status} status */
function laneTop(status) {
  return Math.max(0, STATUSES.indexOf(status)) * (LANE + GAP) + 2;
}
