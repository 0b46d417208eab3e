/**
 * The expressions of schedules, as the fields of a form.
 *
 *     cron(0 20 ? * MON-FRI *)     on days of the week, at a time; any other cron expression is a text
 *     rate(2 hours)                at equal intervals
 *     at(2026-01-15T20:00:00)      once
 *
 * @typedef {"weekly" | "rate" | "at" | "cron"} Kind
 * @typedef {{kind: Kind, days: string[], time: string, number: string, unit: string, at: string, cron: string}} Fields
 */

export const DAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
export const UNITS = ["minute", "hour", "day"];

/** @type {Fields} */
const DEFAULTS = { kind: "weekly", days: DAYS.slice(0, 5), time: "20:00", number: "12", unit: "hour", at: "", cron: "0 20 ? * MON-FRI *" };

/**
 * @param {string} expression An empty string for the defaults.
 * @returns {Fields}
 */
export function fieldsOf(expression) {
  const [, kind, content] = /^(cron|rate|at)\((.+)\)$/.exec(expression) ?? [];
  if (!content) return { ...DEFAULTS };
  if (kind === "at") return { ...DEFAULTS, kind, at: content };
  if (kind === "rate") {
    const [number, unit] = content.split(" ");
    return { ...DEFAULTS, kind, number, unit: unit.replace(/s$/, "") };
  }
  const [, minute, hour, names] = /^(\d{1,2}) (\d{1,2}) \? \* (\S+) \*$/.exec(content) ?? [];
  const days = names ? daysOf(names) : null;
  if (!days) return { ...DEFAULTS, kind: "cron", cron: content };
  return { ...DEFAULTS, kind: "weekly", days, time: `${hour.padStart(2, "0")}:${minute.padStart(2, "0")}`, cron: content };
}

/**
 * @param {Fields} fields
 * @throws {Error} A field is empty. The message is for the user.
 */
export function expressionOf({ kind, days, time, number, unit, at, cron }) {
  if (kind === "cron") return `cron(${required(cron, "Enter a cron expression")})`;
  if (kind === "at") return `at(${required(at, "Enter a date and a time").padEnd(19, ":00")})`;
  if (kind === "rate") return `rate(${required(number, "Enter an interval")} ${unit}${Number(number) === 1 ? "" : "s"})`;
  const [hour, minute] = required(time, "Enter a time").split(":");
  required(days.join(), "Select a day");
  return `cron(${Number(minute)} ${Number(hour)} ? * ${namesOf(days)} *)`;
}

/**
 * The days that names select, or null if they are not names of days.
 * @param {string} names Such as `MON-FRI` or `MON,WED`.
 */
function daysOf(names) {
  if (names === "*") return DAYS;
  const found = new Set();
  for (const item of names.toUpperCase().split(",")) {
    const [from, to = from, ...more] = item.split("-").map((name) => DAYS.indexOf(name));
    if (from < 0 || to < 0 || more.length) return null;
    for (let day = from; ; day = (day + 1) % DAYS.length) {
      found.add(DAYS[day]);
      if (day === to) break;
    }
  }
  return DAYS.filter((day) => found.has(day));
}

/** @param {string[]} days */
function namesOf(days) {
  const first = DAYS.indexOf(days[0]);
  const adjacent = days.every((day, index) => day === DAYS[first + index]);
  if (days.length === DAYS.length) return "*";
  return adjacent && days.length > 2 ? `${days[0]}-${days.at(-1)}` : days.join(",");
}

/**
 * @param {string} value
 * @param {string} message
 */
function required(value, message) {
  if (!value.trim()) throw new Error(message);
  return value.trim();
}
