/**
 * The next run of a schedule on each container of the fleet. Reading the schedules of a project takes the API one
 * request per schedule, so they are read rarely, and only if the page shows containers of few projects.
 *
 * @import { Api } from "./api.js"
 * @import { Container, Operation, Schedule, Targets } from "./types.js"
 * @typedef {{name: string, operation: Operation, time: number}} NextRun
 */

import { now } from "./clock.js";
import { isHeld, protectionText } from "./limits.js";
import { GOAL } from "./status.js";

const FRESH_MS = 60_000;
const MOST_PROJECTS = 3;

export class NextRuns {
  /** @param {Api} api */
  constructor(api) {
    this.api = api;
    /** @type {Map<string, {schedules: Schedule[], readAt: number}>} By project. */
    this.known = new Map();
  }

  /**
   * Read the schedules of projects, if they were not read within the last minute. Returns whether any were read. If
   * they cannot be read, the containers have no next run.
   * @param {Iterable<string>} projects
   * @param {AbortSignal} signal
   */
  async load(projects, signal) {
    const ids = [...new Set(projects)];
    if (ids.length > MOST_PROJECTS) return false;
    const stale = ids.filter((id) => Date.now() - (this.known.get(id)?.readAt ?? 0) >= FRESH_MS);
    for (const id of stale) this.known.set(id, { schedules: this.known.get(id)?.schedules ?? [], readAt: Date.now() });
    await Promise.all(stale.map(async (id) => {
      try {
        this.set(id, await this.api.schedules(id, signal));
      } catch {
        // A view that was closed has to read them when it is opened again.
        if (signal.aborted) this.known.delete(id);
      }
    }));
    return stale.length > 0;
  }

  /**
   * @param {string} project
   * @param {Schedule[]} schedules
   */
  set(project, schedules) {
    this.known.set(project, { schedules, readAt: Date.now() });
  }

  /** Forget the schedules, because another user has signed in. */
  forget() {
    this.known.clear();
  }

  /**
   * Return the first known run that would change the container as it is now, or null.
   * @param {Container} container
   * @returns {NextRun | null}
   */
  of(container) {
    if (container.status === "expired") return null;
    /** @type {NextRun | null} */
    let first = null;
    for (const { name, operation, targets, next_runs: runs } of this.known.get(container.project_id)?.schedules ?? []) {
      const idle = GOAL[operation] === container.status && operation !== "restart";
      if (idle || !selects(targets, container) || protectionText(container, operation)) continue;
      const time = runs.map((run) => Date.parse(run)).find((at) => at > now() && !isHeld(container, at));
      if (time !== undefined && (!first || time < first.time)) first = { name, operation, time };
    }
    return first;
  }
}

/**
 * @param {Targets} targets
 * @param {Container} container
 */
function selects({ labels, container_ids: ids }, container) {
  if (ids) return ids.includes(container.id);
  return Object.entries(labels ?? {}).every(([key, value]) => container.labels?.[key] === value);
}
