/** The console: the connection to the API, and the views that the address selects. */

import { Activity } from "./activity.js";
import { Api } from "./api.js";
import { ContainerView } from "./container_view.js";
import { byId, h, segmented, setText } from "./dom.js";
import { oneLine } from "./errors.js";
import { Fleet } from "./fleet.js";
import { NextRuns } from "./next_runs.js";
import { Notices } from "./notices.js";
import { Projects } from "./projects.js";
import { current, go, link } from "./route.js";
import * as settings from "./settings.js";
import { Schedules } from "./schedules.js";
import * as signIn from "./sign_in.js";

const field = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));

export class App {
  constructor() {
    this.api = new Api(signIn.connection);
    this.projects = new Projects(this.api);
    this.runs = new NextRuns(this.api);
    this.notices = new Notices(byId("notices"), byId("live"));
    this.onUnauthorized = (/** @type {import("./api.js").ApiError} */ error) => {
      settings.forgetToken();
      this.#showSession();
      this.showConnection(true, oneLine(error));
    };
    const zones = /** @type {const} */ ([["local", "Local"], ["utc", "UTC"]]);
    byId("zones").append(
      segmented("zone", "Time zone", zones, settings.zone(), (zone) => {
        settings.setZone(zone);
        this.view?.redraw();
      }).element,
    );
    this.views = {
      fleet: new Fleet(this),
      activity: new Activity(this),
      schedules: new Schedules(this),
      container: new ContainerView(this),
    };
    /** @type {Fleet | Activity | Schedules | ContainerView | null} The open view. */
    this.view = null;
    this.shown = "";
    /** @type {{signIn: signIn.SignIn, baseUrl: string} | null} How the user can sign in. */
    this.offer = null;
  }

  /** Open the view in the address. */
  open() {
    const route = current();
    const view = this.views[route.view];
    const shown = route.view === "container" ? route.id : route.view;
    const moved = shown !== this.shown;
    if (view !== this.view) this.view?.close();
    if (moved) this.notices.clear();
    this.shown = shown;
    field("container-id").value = route.view === "container" ? route.id : "";
    for (const name of ["fleet", "activity", "schedules"]) {
      if (name === route.view) byId(`to-${name}`).setAttribute("aria-current", "page");
      else byId(`to-${name}`).removeAttribute("aria-current");
    }
    this.#showSession();
    this.showRecent();
    this.view = settings.connection().token ? view : null;
    if (!this.view) return this.showConnection(true);
    view.open(route);
    if (moved) this.#moveFocus();
  }

  /** Focus the new view, if the focused element was hidden. */
  #moveFocus() {
    const focused = document.activeElement;
    if (focused?.checkVisibility() && focused !== byId("main")) return;
    if (this.view !== this.views.fleet || !this.view.focus()) byId("main").focus();
  }

  /** Open the view again, as another user or with another connection. */
  reopen() {
    this.view?.close();
    this.view = null;
    this.projects.forget();
    this.views.fleet.forget();
    this.views.activity.forget();
    this.views.schedules.forget();
    this.runs.forget();
    this.open();
  }

  /** Offer the containers that were opened last. */
  showRecent() {
    byId("recent").replaceChildren(...settings.recent().map(({ id, name }) => h("option", { value: id }, name)));
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
    setText(byId("forget"), settings.session() ? "Sign out" : "Forget the token");
    field("token").focus();
    this.offerSignIn();
  }

  /** Show the button for signing in, if the API at the entered URL offers it. */
  async offerSignIn() {
    const entered = field("base-url").value;
    this.offer = null;
    byId("sign-in").hidden = true;
    let baseUrl;
    try {
      baseUrl = settings.checkedUrl(entered);
    } catch {
      return; // Connecting reports the fault.
    }
    const found = await signIn.offered(baseUrl);
    if (!found || field("base-url").value !== entered) return;
    this.offer = { signIn: found, baseUrl };
    byId("sign-in").hidden = false;
    setText(byId("sign-in"), `Sign in at ${new URL(found.issuer).host}`);
  }

  #showSession() {
    const { baseUrl, token } = settings.connection();
    const claims = settings.claimsOf(token);
    const elsewhere = new URL(baseUrl).origin === location.origin ? "" : ` at ${new URL(baseUrl).host}`;
    setText(byId("session-text"), token ? `${claims?.user || "Token set"}${elsewhere}` : "No token");
    byId("session-text").title = claims?.expires ? `The token expires at ${claims.expires.toISOString()}` : "";
  }
}

const app = new App();

byId("open-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const hash = link(field("container-id").value.trim());
  // Open the same container again.
  if (location.hash === hash) app.reopen();
  else go(hash);
});
byId("connection-form").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    settings.connect(field("base-url").value, field("token").value);
  } catch (error) {
    return app.showConnection(true, /** @type {Error} */ (error).message);
  }
  app.showConnection(false);
  app.reopen();
  byId("main").focus();
});
byId("forget").addEventListener("click", async () => {
  const ended = signIn.signOut();
  // The tokens are already forgotten. Only the revocation can fail.
  app.reopen();
  await ended.catch((error) => app.showConnection(true, `Signed out of this tab only. ${error.message}`));
});
byId("sign-in").addEventListener("click", async () => {
  if (!app.offer) return;
  await signIn.begin(app.offer.signIn, app.offer.baseUrl).catch((error) => app.showConnection(true, error.message));
});
byId("base-url").addEventListener("change", () => app.offerSignIn());
byId("connection-toggle").addEventListener("click", () => app.showConnection(byId("connection").hidden));
byId("skip").addEventListener("click", (event) => {
  // The fragment selects the view.
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", () => app.open());
for (const change of ["online", "offline"]) addEventListener(change, () => app.view?.reader.now());
setInterval(() => app.view?.tick(), 1000);
signIn.finish().then(
  () => app.open(),
  (error) => {
    app.open();
    app.showConnection(true, error.message);
  },
);
