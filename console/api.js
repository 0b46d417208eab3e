/**
 * An HTTP client of the API, with one method per route and safe retries of changes and operations.
 *
 * @import { Container, ContainersPage, LogsPage, LogsQuery, Operation, OperationResult, Project, ProjectLogsPage, Schedule, ScheduleSettings } from "./types.js"
 * @typedef {{data: any, message: string, status: number, requestId: string}} Answer
 */

import { learn } from "./clock.js";

/** Longer than the timeout of the gateway, 29 s. */
const TIMEOUT_MS = 35_000;
/** How long the API waits until a container is settled, in seconds. */
const SETTLE_S = 20;
/** Delays before a change or an operation is sent again. */
const REPEAT_AFTER_MS = [500, 1000, 2000, 4000, 8000];

/** An error response of the API. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{code: string, message: string, data?: any}} body
   * @param {string} requestId
   * @param {number | null} retryAfterMs
   */
  constructor(status, body, requestId, retryAfterMs) {
    super(body.message);
    this.name = "ApiError";
    this.status = status;
    this.code = body.code;
    this.data = body.data ?? null;
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The API did not respond: the connection failed or timed out, or the response was incomplete or not from the API. */
export class NoAnswerError extends Error {
  /**
   * @param {string} message
   * @param {boolean} lost Whether the request may have reached the API, so that it can be repeated.
   */
  constructor(message, lost) {
    super(message);
    this.name = "NoAnswerError";
    this.lost = lost;
  }
}

export class Api {
  /** @param {() => Promise<{baseUrl: string, token: string}>} connection Called for each request. */
  constructor(connection) {
    this.connection = connection;
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   * @returns {Promise<Container>}
   */
  async container(id, signal) {
    return (await this.#send(`/containers/${encodeURIComponent(id)}`, { signal })).data;
  }

  /**
   * Return the container as soon as no operation is pending, or after the API's timeout as it then is.
   * @param {string} id
   * @returns {Promise<Container>}
   */
  async settled(id) {
    const query = `wait_for=settled&timeout=${SETTLE_S}`;
    return (await this.#send(`/containers/${encodeURIComponent(id)}?${query}`, {})).data;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Project[]>}
   */
  async projects(signal) {
    return (await this.#send("/projects", { signal })).data.projects;
  }

  /**
   * @param {string} project An id, or an empty string for all projects of the caller.
   * @param {URLSearchParams} query
   * @param {AbortSignal} signal
   * @returns {Promise<ContainersPage>}
   */
  async containers(project, query, signal) {
    const path = project ? `/projects/${encodeURIComponent(project)}/containers` : "/containers";
    return (await this.#send(`${path}?${query}`, { signal })).data;
  }

  /**
   * @param {string} project
   * @param {Record<string, string | number>} query
   * @param {AbortSignal} signal
   * @returns {Promise<ProjectLogsPage>}
   */
  async projectLogs(project, query, signal) {
    return (await this.#send(`/projects/${encodeURIComponent(project)}/status-logs?${textOf(query)}`, { signal })).data;
  }

  /**
   * @param {string} id
   * @param {LogsQuery & Record<string, string | number>} query May also contain filters.
   * @param {AbortSignal} signal
   * @returns {Promise<LogsPage>}
   */
  async logs(id, query, signal) {
    const text = textOf(query);
    return (await this.#send(`/containers/${encodeURIComponent(id)}/status-logs?${text}`, { signal })).data;
  }

  /**
   * Perform an operation. If the response is lost, repeat it with the same key, so that it takes effect once.
   * @param {string} id
   * @param {Operation} operation
   * @param {string} key The Idempotency-Key.
   * @param {(reason: string) => void} onRepeat Called before each repetition.
   * @param {{respondAsync?: boolean}} [options] `respondAsync`: do not wait for the effect.
   * @returns {Promise<OperationResult>}
   */
  async operate(id, operation, key, onRepeat, { respondAsync = false } = {}) {
    const path = `/containers/${encodeURIComponent(id)}/${operation}`;
    /** @type {Record<string, string>} */
    const headers = { "Idempotency-Key": key, ...(respondAsync ? { Prefer: "respond-async" } : {}) };
    const answer = await this.#repeat(path, { method: "POST", headers }, onRepeat);
    const { message, status, pending_operation: pending = null } = answer.data;
    return { accepted: answer.status === 202, message, status, pending, requestId: answer.requestId };
  }

  /**
   * Change a container.
   * @param {string} id
   * @param {Record<string, unknown>} changes The keys of PATCH.
   * @returns {Promise<Container>}
   */
  async change(id, changes) {
    return (await this.#repeat(`/containers/${encodeURIComponent(id)}`, { method: "PATCH", body: changes })).data;
  }

  /**
   * Count the idle timeout of a container anew.
   * @param {string} id
   * @returns {Promise<Container>}
   */
  async keepAlive(id) {
    return (await this.#repeat(`/containers/${encodeURIComponent(id)}/keep-alive`, { method: "POST" })).data;
  }

  /**
   * @param {string} project
   * @param {AbortSignal} signal
   * @returns {Promise<Schedule[]>}
   */
  async schedules(project, signal) {
    return (await this.#send(`/projects/${encodeURIComponent(project)}/schedules`, { signal })).data.schedules;
  }

  /**
   * Create a schedule, or replace the one with this name.
   * @param {string} project
   * @param {string} name
   * @param {ScheduleSettings} settings
   * @returns {Promise<Schedule>}
   */
  async saveSchedule(project, name, settings) {
    return (await this.#repeat(schedulePath(project, name), { method: "PUT", body: settings })).data;
  }

  /**
   * @param {string} project
   * @param {string} name
   */
  async deleteSchedule(project, name) {
    await this.#repeat(schedulePath(project, name), { method: "DELETE" });
  }

  /**
   * Send a request that takes effect once although it is repeated, until a response arrives.
   * @param {string} path
   * @param {{method: string, headers?: Record<string, string>, body?: object}} options
   * @param {(reason: string) => void} [onRepeat] Called before each repetition.
   * @returns {Promise<Answer>}
   */
  async #repeat(path, options, onRepeat) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#send(path, options);
      } catch (error) {
        const wait = REPEAT_AFTER_MS[attempt];
        if (wait === undefined || !isRepeatable(error)) throw error;
        onRepeat?.(/** @type {Error} */ (error).message);
        const asked = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
        await new Promise((resolve) => setTimeout(resolve, Math.max(wait, asked)));
      }
    }
  }

  /**
   * @param {string} path
   * @param {{method?: string, headers?: Record<string, string>, body?: object, signal?: AbortSignal}} options
   * @returns {Promise<Answer>}
   */
  async #send(path, { method = "GET", headers = {}, body, signal }) {
    const { baseUrl, token } = await this.connection();
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    let reply;
    let text;
    try {
      reply = await fetch(baseUrl + path, {
        method,
        headers: {
          ...headers,
          ...(token ? { Authorization: `Bearer ${token}` } : {}),
          ...(body ? { "Content-Type": "application/json" } : {}),
        },
        body: body ? JSON.stringify(body) : undefined,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
      text = await reply.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      const host = new URL(baseUrl).host;
      throw new NoAnswerError(
        timeout.aborted ? `No response from ${host} within ${TIMEOUT_MS / 1000} s` : `No response from ${host}`,
        true,
      );
    }
    learn(reply.headers.get("Date"));
    return read(reply, text);
  }
}

/**
 * @param {Response} reply
 * @param {string} text
 * @returns {Answer}
 */
function read(reply, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = null;
  }
  const requestId = reply.headers.get("X-Request-Id") ?? "";
  if (reply.ok && body?.data) return { data: body.data, message: body.message, status: reply.status, requestId };
  if (!reply.ok && typeof body?.code === "string") {
    const seconds = Number.parseInt(reply.headers.get("Retry-After") ?? "", 10);
    throw new ApiError(reply.status, body, requestId, Number.isNaN(seconds) ? null : seconds * 1000);
  }
  throw new NoAnswerError(`The response is not from the API (HTTP ${reply.status})`, reply.ok || reply.status >= 500);
}

/**
 * @param {string} project
 * @param {string} name
 */
function schedulePath(project, name) {
  return `/projects/${encodeURIComponent(project)}/schedules/${encodeURIComponent(name)}`;
}

/** @param {Record<string, string | number>} query */
function textOf(query) {
  return String(new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])));
}

/** @param {unknown} error */
function isRepeatable(error) {
  return error instanceof NoAnswerError ? error.lost : error instanceof ApiError && error.status === 429;
}
