/**
 * The limits of a container in words: when it is stopped, held and protected, and its next scheduled operation.
 *
 * @import { NextRun } from "./next_runs.js"
 * @import { Container, Operation } from "./types.js"
 */

import { now } from "./clock.js";
import { h, setText } from "./dom.js";
import { minute, wholeSeconds } from "./format.js";

/** @type {readonly Operation[]} The operations that a protection refuses. */
const PROTECTED_FROM = ["stop", "force-stop", "restart", "pause"];

/**
 * Show the limits as badges. Badges that exist are kept, because their texts are updated every second.
 * @param {HTMLElement} element
 * @param {Container} container
 * @param {NextRun | null} run The next run of a schedule on the container, if it is known.
 */
export function showLimits(element, container, run) {
  const texts = limitTexts(container, run);
  if (element.children.length !== texts.length) {
    element.replaceChildren(...texts.map(() => h("span", { class: "limit" })));
  }
  texts.forEach((text, index) => setText(element.children[index], text));
  element.hidden = texts.length === 0;
}

/**
 * Return why the protection of a container refuses an operation, or null.
 * @param {Container} container
 * @param {Operation} operation
 */
export function protectionText(container, operation) {
  if (!container.protection || !PROTECTED_FROM.includes(operation)) return null;
  return `The container is protected: ${container.protection.reason}`;
}

/**
 * Whether schedules skip the container at a time.
 * @param {Container} container
 * @param {number} time
 */
export function isHeld(container, time) {
  return Boolean(container.hold_until) && Date.parse(String(container.hold_until)) > time;
}

/**
 * @param {Container} container
 * @param {NextRun | null} run
 */
function limitTexts(container, run) {
  const texts = [];
  const live = container.status === "running" || container.status === "paused";
  const stop = container.stop_at ? Date.parse(container.stop_at) : Infinity;
  const idle = container.idle_at ? Date.parse(container.idle_at) : Infinity;
  if (live && stop <= idle && stop < Infinity) texts.push(`Stops ${inTime(stop)}`);
  else if (live && idle < Infinity) texts.push(`Idle: stops ${inTime(idle)}`);
  else if (stop < Infinity) texts.push(`Stop time ${minute(stop)}`);
  if (isHeld(container, now())) texts.push(`Held until ${minute(Date.parse(String(container.hold_until)))}`);
  if (container.protection) texts.push(`Protected: ${container.protection.reason}`);
  if (run) texts.push(`Next: ${run.operation} ${minute(run.time)} (${run.name})`);
  return texts;
}

/** @param {number} time */
function inTime(time) {
  return time > now() ? `in ${wholeSeconds(time - now())}` : "as soon as possible";
}
