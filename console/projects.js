/**
 * The caller's projects: their names, and the role of the caller in each.
 *
 * @import { Api } from "./api.js"
 * @import { Project } from "./types.js"
 */

import { ApiError } from "./api.js";

const FRESH_MS = 60_000;

export class Projects {
  /** @param {Api} api */
  constructor(api) {
    this.api = api;
    /** @type {Project[]} */
    this.list = [];
    this.readAt = 0;
  }

  /** Forget the projects, because another user has signed in. */
  forget() {
    this.list = [];
    this.readAt = 0;
  }

  /**
   * Read the projects if they were not read within the last minute. If they cannot be read, roles are not known, and
   * the API alone decides what is allowed.
   * @param {AbortSignal} signal
   */
  async load(signal) {
    if (Date.now() - this.readAt < FRESH_MS) return;
    try {
      this.list = await this.api.projects(signal);
      this.readAt = Date.now();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) throw error;
    }
  }

  /**
   * The name of a project, or else its id.
   * @param {string} id
   */
  name(id) {
    return this.#find(id)?.name ?? id;
  }

  /**
   * Return why the caller's role does not allow to protect containers of a project, or null if it does or is not known.
   * @param {string} id
   */
  protectionRefusal(id) {
    const project = this.#find(id);
    if (!project || project.role === "owner") return null;
    return `Your role in the project is ${project.role}. Changing the protection needs the role owner`;
  }

  /**
   * Return why the caller's role does not allow operations in a project, or null if it does or is not known.
   * @param {string} id
   */
  refusal(id) {
    const project = this.#find(id);
    if (!project || project.role !== "viewer") return null;
    return "Your role in the project is viewer. Operations need the role operator or owner";
  }

  /** @param {string} id */
  #find(id) {
    return this.list.find((project) => project.id === id);
  }
}
