/**
 * Formatting of times, durations and causes.
 *
 * @import { StatusLog } from "./types.js"
 */

import { zone } from "./settings.js";

/**
 * @param {number} value
 * @param {number} [width]
 */
function pad(value, width = 2) {
  return String(value).padStart(width, "0");
}

/**
 * The parts of a time in the chosen zone.
 * @param {number} time Milliseconds since 1970.
 */
export function parts(time) {
  // A time shifted by the zone's offset reads as local time through the UTC getters.
  const offset = zone() === "utc" ? 0 : new Date(time).getTimezoneOffset();
  const date = new Date(time - offset * 60_000);
  return {
    date: `${pad(date.getUTCFullYear(), 4)}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`,
    minutes: `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`,
    seconds: pad(date.getUTCSeconds()),
    millis: pad(date.getUTCMilliseconds(), 3),
    offset,
  };
}

/**
 * `2026-01-15 10:30:00`
 * @param {number} time
 */
export function dateTime(time) {
  const { date, minutes, seconds } = parts(time);
  return `${date} ${minutes}:${seconds}`;
}

/**
 * `2026-01-15 10:30`
 * @param {number} time
 */
export function minute(time) {
  const { date, minutes } = parts(time);
  return `${date} ${minutes}`;
}

/**
 * The value of a field for a time, in the chosen zone; an empty string if the time is not valid.
 * @param {number} time
 */
export function fieldTime(time) {
  return Number.isNaN(time) ? "" : dateTime(time).replace(" ", "T");
}

/**
 * The time in a field as the API takes it, or null if it is not valid.
 * @param {string} value Such as `2026-01-15T10:30`, in the chosen zone.
 */
export function timeOfField(value) {
  const time = new Date(zone() === "utc" ? `${value}Z` : value);
  return Number.isNaN(time.getTime()) ? null : time.toISOString();
}

/**
 * `2026-01-15 10:30:00.123`
 * @param {number} time
 */
export function exact(time) {
  return `${dateTime(time)}.${parts(time).millis}`;
}

/**
 * `10:30:00`
 * @param {number} time
 */
export function clockTime(time) {
  const { minutes, seconds } = parts(time);
  return `${minutes}:${seconds}`;
}

/**
 * At most two units, such as `421 ms`, `3.5 s`, `2 min 4 s`, `3 h 12 min`, `9 d 4 h`.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  return wholeSeconds(ms);
}

/**
 * Like `duration`, without a fraction, for values that are updated every second.
 * @param {number} ms
 */
export function wholeSeconds(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

/** @param {number} value */
export function count(value) {
  return value.toLocaleString("en-GB");
}

/**
 * @param {number} share From 0 to 1.
 */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1%";
  if (share < 1 && share > 0.999) return "> 99.9%";
  return `${(share * 100).toFixed(share > 0 && share < 1 ? 1 : 0)}%`;
}

/**
 * `1 change`, `2 changes`
 * @param {number} number
 * @param {string} noun
 */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * Describe the cause of a change.
 * @param {StatusLog} row
 */
export function causeOf(row) {
  const { command, actor, reason, rule } = row.metadata ?? {};
  const what = typeof command === "string" ? command : row.triggered_by;
  const who = typeof actor === "string" ? ` by ${actor}` : typeof rule === "string" ? ` by rule ${rule}` : "";
  return what + who + (typeof reason === "string" ? `: ${reason}` : "");
}
