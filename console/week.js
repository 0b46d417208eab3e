/**
 * The next runs of schedules, drawn on the seven days from today on. The table of the schedules has the same times as
 * text, for screen readers too.
 *
 * @import { Schedule } from "./types.js"
 */

import { now } from "./clock.js";
import { h } from "./dom.js";
import { minute, parts, plural } from "./format.js";
import { GOAL, operationIcon } from "./status.js";

const DAYS = 7;
const DAY_MS = 86_400_000;
const HOURS = [0, 6, 12, 18, 24];
/** Runs that are closer than this part of a day are drawn below each other. */
const CLOSE = 0.05;

/**
 * @param {HTMLElement} root
 * @param {readonly Schedule[]} schedules
 */
export function drawWeek(root, schedules) {
  const days = daysFrom(parts(now()).date);
  const runs = schedules.flatMap(({ name, operation, next_runs: times }) =>
    times.map((text) => ({ name, operation, time: Date.parse(text), date: parts(Date.parse(text)).date })));
  runs.sort((a, b) => a.time - b.time);
  const shown = runs.filter(({ date }) => days.includes(date));
  const rows = days.map((date) => {
    /** @type {number[]} The last position in each line. */
    const lines = [];
    const marks = shown.filter((run) => run.date === date).map(({ name, operation, time }) => {
      const at = partOfDay(time);
      const free = lines.findIndex((last) => at - last > CLOSE);
      const line = free < 0 ? lines.length : free;
      lines[line] = at;
      const mark = h("span", { class: `run is-${GOAL[operation]}`, title: `${name}: ${operation} at ${minute(time)}` }, operationIcon(operation));
      mark.style.left = `${at * 100}%`;
      mark.style.top = `${line * 1.5}rem`;
      return mark;
    });
    const track = h("div", { class: "day-track" }, ...marks);
    track.style.height = `${Math.max(1, lines.length) * 1.5}rem`;
    return h("div", { class: "day" }, h("span", { class: "day-name num" }, dayName(date)), track);
  });
  const axis = h("div", { class: "day axis" }, h("span", { class: "day-name" }),
    h("div", { class: "day-track" }, ...HOURS.map((hour) => {
      const label = h("span", { class: "hour num" }, String(hour).padStart(2, "0"));
      label.style.left = `${(hour / 24) * 100}%`;
      return label;
    })));
  const text = shown.map(({ name, operation, time }) => `${name}: ${operation} at ${minute(time)}`).join("; ");
  const later = runs.length - shown.length;
  root.replaceChildren(
    h("div", { class: "week", role: "img", "aria-label": `Next runs on a week. ${text || "There are none"}` }, axis, ...rows),
    h("p", { class: "hint" }, `The next three runs of each schedule.${later ? ` ${plural(later, "run")} of them later than this week.` : ""}`));
}

/**
 * Seven dates, such as `2026-01-15`. Days have different lengths when the clocks change, so dates are counted.
 * @param {string} first
 */
function daysFrom(first) {
  const noon = Date.parse(`${first}T12:00:00Z`);
  return Array.from({ length: DAYS }, (_, index) => new Date(noon + index * DAY_MS).toISOString().slice(0, 10));
}

/** @param {string} date */
function dayName(date) {
  const day = new Date(`${date}T12:00:00Z`);
  return day.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
}

/** @param {number} time */
function partOfDay(time) {
  const [hours, minutes] = parts(time).minutes.split(":").map(Number);
  return (hours * 60 + minutes) / 1440;
}
