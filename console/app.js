/**
 * The console: shows and operates one container, whose id is in the fragment of the URL.
 *
 * @import { Container } from "./types.js"
 */

import { Api, ApiError } from "./api.js";
import { Card } from "./card.js";
import { byId, h, segmented, setText } from "./dom.js";
import { describe, oneLine } from "./errors.js";
import { clockTime, duration } from "./format.js";
import { History } from "./history.js";
import { Notices } from "./notices.js";
import { Operations } from "./operations.js";
import { Poller } from "./poller.js";
import * as settings from "./settings.js";
import { capital } from "./status.js";
import { LogTable } from "./table.js";
import { Timeline } from "./timeline.js";

const CALM_MS = 5000;
const PENDING_MS = 1000;
const SLOWEST_MS = 60_000;

const field = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));

class Console {
  constructor() {
    this.api = new Api(settings.connection);
    this.notices = new Notices(byId("notices"), byId("live"));
    this.operations = new Operations(this.api, this.notices, () => this.#changed());
    this.card = new Card(
      byId("container"),
      (operation) => this.container && this.operations.ask(this.container, operation),
      (message) => this.notices.announce(message),
    );
    this.table = new LogTable(byId("table"), this.api);
    this.timeline = new Timeline(
      byId("timeline"),
      byId("history-controls"),
      (row, older) => this.table.reveal(row, older),
      (error) => this.#failed(error),
    );
    const zones = /** @type {const} */ ([["local", "Local"], ["utc", "UTC"]]);
    byId("history-controls").append(
      segmented("zone", "Time zone", zones, settings.zone(), (zone) => {
        settings.setZone(zone);
        this.#redraw();
      }).element,
    );
    this.poller = new Poller(() => this.#refresh(), () => this.#delay());
    /** Responses for the open container are ignored once another container is opened. */
    this.opened = new AbortController();
    this.id = "";
    /** @type {Container | null} */
    this.container = null;
    /** @type {History | null} */
    this.history = null;
    /** Whether the container has changed since the displayed history was read. */
    this.behind = true;
    this.failures = 0;
    this.readAt = 0;
    this.retryAfter = 0;
  }

  /** Open the container in the URL. */
  open() {
    this.opened.abort();
    this.opened = new AbortController();
    this.poller.stop();
    this.id = decodeURIComponent(location.hash.slice(1)).trim();
    this.container = null;
    this.history = null;
    this.behind = true;
    this.failures = 0;
    this.card.hide();
    this.notices.clear();
    byId("history").hidden = true;
    byId("stale").hidden = true;
    field("container-id").value = this.id;
    document.title = "Longshore console";
    this.#showSession();
    const { token } = settings.connection();
    byId("welcome").hidden = !token || this.id !== "";
    if (!token) return this.showConnection(true);
    if (this.id) {
      this.table.open(this.id);
      this.poller.start();
    }
  }

  /** @param {boolean} shown */
  showConnection(shown, error = "") {
    byId("connection").hidden = !shown;
    byId("connection-toggle").setAttribute("aria-expanded", String(shown));
    byId("connection-error").hidden = !error;
    setText(byId("connection-error"), error);
    if (!shown) return;
    const { baseUrl, token } = settings.connection();
    field("base-url").value = baseUrl;
    field("token").value = "";
    field("token").placeholder = token ? "Unchanged" : "Paste a token";
    field("token").focus();
  }

  tick() {
    this.card.tick();
    if (!byId("stale").hidden) this.#showStale();
  }

  /** Read the container, and its history when it has changed. Never rejects. */
  async #refresh() {
    const { signal } = this.opened;
    try {
      const container = await this.api.container(this.id, signal);
      const before = this.container;
      this.container = container;
      this.#show(before);
      if (before?.updated_at !== container.updated_at) this.behind = true;
      if (this.behind) await this.#readHistory(signal);
      if (signal.aborted) return;
      this.operations.follow(container, () => this.#lastReason());
      this.timeline.show();
      this.failures = 0;
      this.readAt = Date.now();
      byId("stale").hidden = true;
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  /** @param {AbortSignal} signal */
  async #readHistory(signal) {
    this.table.load();
    const history = this.history ?? new History(this.api, this.id, signal);
    await history.update();
    if (signal.aborted) return;
    this.behind = false;
    if (history === this.history) return;
    this.history = history;
    byId("history").hidden = false;
    this.timeline.open(history);
  }

  /** @param {Container | null} before The previous state of the container. */
  #show(before) {
    const container = this.container;
    if (!container) return;
    this.card.show(container, this.operations.unanswered(container.id));
    document.title = `${capital(container.status)} · ${container.name} · Longshore`;
    if (!before) {
      settings.remember({ id: container.id, name: container.name });
      showRecent();
    } else if (before.status !== container.status && !this.operations.accepted) {
      if (container.status !== this.operations.reported) this.notices.announce(`Container is ${container.status}`);
    }
  }

  #lastReason() {
    const reason = this.history?.rows.at(-1)?.metadata?.reason;
    return typeof reason === "string" ? reason : undefined;
  }

  /** Update the page after an operation was sent or has returned. */
  #changed() {
    if (this.container) this.card.show(this.container, this.operations.unanswered(this.container.id));
    if (this.poller.active) this.poller.now();
  }

  /** @param {unknown} error */
  #failed(error) {
    this.failures += 1;
    this.retryAfter = (error instanceof ApiError && error.retryAfterMs) || 0;
    if (error instanceof ApiError && error.status === 401) {
      this.poller.stop();
      settings.forgetToken();
      this.#showSession();
      return this.showConnection(true, oneLine(error));
    }
    const final = error instanceof ApiError && error.status < 500 && error.status !== 429;
    if (final) this.poller.stop();
    if (final && !this.container) this.notices.show(describe(error));
    else this.#showStale(error);
  }

  /** Mark the displayed data as outdated. */
  #showStale(/** @type {unknown} */ error = undefined) {
    if (error) this.staleBecause = oneLine(error);
    const since = this.readAt && this.container ? `Not updated since ${clockTime(this.readAt)} (${duration(Date.now() - this.readAt)} ago)` : "Not read yet";
    byId("stale").hidden = false;
    setText(byId("stale"), `${since}: ${this.staleBecause}`);
  }

  #showSession() {
    const { baseUrl, token } = settings.connection();
    const claims = settings.tokenClaims();
    const elsewhere = new URL(baseUrl).origin === location.origin ? "" : ` at ${new URL(baseUrl).host}`;
    setText(byId("session-text"), token ? `${claims?.user || "Token set"}${elsewhere}` : "No token");
    byId("session-text").title = claims?.expires ? `The token expires at ${claims.expires.toISOString()}` : "";
  }

  #redraw() {
    this.card.tick();
    this.timeline.draw();
    this.table.redraw();
  }

  #delay() {
    if (this.failures) return Math.max(this.retryAfter, Math.min(SLOWEST_MS, CALM_MS * 2 ** (this.failures - 1)));
    return this.container?.pending_operation || this.operations.unanswered(this.id) ? PENDING_MS : CALM_MS;
  }
}

function showRecent() {
  byId("recent").replaceChildren(...settings.recent().map(({ id, name }) => h("option", { value: id }, name)));
}

const page = new Console();

byId("open-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const hash = `#${encodeURIComponent(field("container-id").value.trim())}`;
  // Open the same container again.
  if (location.hash === hash) page.open();
  else location.hash = hash;
});
byId("connection-form").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    settings.connect(field("base-url").value, field("token").value);
  } catch (error) {
    return page.showConnection(true, /** @type {Error} */ (error).message);
  }
  page.showConnection(false);
  page.open();
  (page.id ? byId("main") : byId("container-id")).focus();
});
byId("forget").addEventListener("click", () => {
  settings.forgetToken();
  page.open();
});
byId("connection-toggle").addEventListener("click", () => page.showConnection(byId("connection").hidden));
byId("skip").addEventListener("click", (event) => {
  // The fragment is the container's id.
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", () => page.open());
for (const change of ["online", "offline"]) addEventListener(change, () => page.poller.active && page.poller.now());
setInterval(() => page.tick(), 1000);
showRecent();
page.open();
