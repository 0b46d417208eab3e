/**
 * The statuses and operations: order, names and icons. Each status has a color (by class) and a shape.
 *
 * @import { Container, Operation, Status } from "./types.js"
 */

import { h, s } from "./dom.js";

/** @type {readonly Status[]} */
export const STATUSES = ["running", "paused", "stopped", "failed", "expired"];

/** @type {readonly Operation[]} In the order of the buttons. */
export const OPERATIONS = ["start", "stop", "restart", "pause", "resume", "force-stop"];

/** @type {Record<Operation, string>} */
export const IN_PROGRESS = {
  start: "Starting",
  stop: "Stopping",
  "force-stop": "Force-stopping",
  restart: "Restarting",
  pause: "Pausing",
  resume: "Resuming",
};

/** @type {Record<Operation, Status>} The status after an operation succeeds. */
export const GOAL = {
  start: "running",
  stop: "stopped",
  "force-stop": "stopped",
  restart: "running",
  pause: "paused",
  resume: "running",
};

/** @type {Record<Status, string>} Paths in a 16 x 16 view box. */
const SHAPES = {
  running: "M4 2.5v11l9.5-5.5z",
  paused: "M3.5 2.5h3.2v11H3.5zM9.3 2.5h3.2v11H9.3z",
  stopped: "M3 3h10v10H3z",
  failed: "M3.4 2 8 6.6 12.6 2 14 3.4 9.4 8 14 12.6 12.6 14 8 9.4 3.4 14 2 12.6 6.6 8 2 3.4z",
  expired: "M3 1.5h10V4L9.2 8 13 12v2.5H3V12l3.8-4L3 4z",
};

/** @type {Record<Operation, string>} */
const OPERATION_SHAPES = {
  start: SHAPES.running,
  stop: SHAPES.stopped,
  "force-stop": SHAPES.failed,
  restart: "M8 2a6 6 0 1 0 6 6h-2a4 4 0 1 1-4-4v2.6L12.3 3 8-.6z",
  pause: SHAPES.paused,
  resume: "M2 2.5h2.6v11H2zM6.5 2.5v11L15 8z",
};

/** @param {string} text */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {Status} status */
export function statusIcon(status) {
  return icon(SHAPES[status] ?? SHAPES.stopped);
}

/** @param {Operation} operation */
export function operationIcon(operation) {
  return icon(OPERATION_SHAPES[operation]);
}

/**
 * Create an element with the icon and name of a status, in its color.
 * @param {Status} status
 * @param {string} [className]
 */
export function badge(status, className = "badge") {
  return h("span", { class: `${className} is-${status}` }, statusIcon(status), capital(status));
}

/**
 * Return how many tasks of a service run, such as `3 of 3`. Empty for the container of a task.
 * @param {Container} container
 */
export function countText({ kind, running_count: running, desired_count: desired }) {
  return kind === "service" ? `${running ?? "?"} of ${desired ?? "?"}` : "";
}

/**
 * Whether the kind of a container supports an operation, in any status.
 * @param {Container} container
 * @param {Operation} operation
 */
export function supports({ kind }, operation) {
  return kind !== "service" || (operation !== "pause" && operation !== "resume");
}

/** @param {string} path */
function icon(path) {
  return s("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, s("path", { d: path }));
}
