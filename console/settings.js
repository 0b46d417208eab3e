/**
 * Stored settings. The base URL and the token are in the session storage of the tab, and never in a URL: a link
 * cannot send a token to another host. Recent containers, known
 * APIs and the time zone are in the local storage.
 */

const BASE_URL = "longshore.base-url";
const TOKEN = "longshore.token";
const SESSION = "longshore.session";
const RECENT = "longshore.recent";
const ZONE = "longshore.zone";
const KNOWN = "longshore.known-apis";
const MOST_RECENT = 12;

/**
 * @typedef {{baseUrl: string, token: string}} Connection
 * @typedef {{signIn: import("./sign_in.js").SignIn, expiresAt: number, refreshToken: string, idUser?: string}} Session
 */
/** @typedef {{id: string, name: string}} Recent */
/** @typedef {{baseUrl: string, issuer: string, clientId: string, audience: string}} KnownApi */

/** The API that serves the console: both have the same base path, such as the stage. */
export const DEFAULT_BASE_URL = new URL("../api/v1", document.baseURI).href;

/** @returns {Connection} */
export function connection() {
  return {
    baseUrl: sessionStorage.getItem(BASE_URL) ?? DEFAULT_BASE_URL,
    token: sessionStorage.getItem(TOKEN) ?? "",
  };
}

/** @returns {Session | null} The session that the token comes from; null for a pasted token. */
export function session() {
  return JSON.parse(sessionStorage.getItem(SESSION) ?? "null");
}

/**
 * Check and store a connection. With an empty token, the stored token is kept if the base URL does not change.
 * @param {string} baseUrl
 * @param {string} token As pasted: a token, or a whole Authorization header.
 * @param {Session | null} [from] The session that the token comes from.
 * @throws {Error} The connection is invalid. The message is for the user, and nothing is stored.
 */
export function connect(baseUrl, token, from = null) {
  const url = checkedUrl(baseUrl);
  const bare = token.trim().replace(/^(authorization:\s*)?bearer\s+/i, "");
  if (!/^[\x21-\x7e]*$/.test(bare)) throw new Error("A token has no spaces and only ASCII characters");
  const known = url === connection().baseUrl ? connection().token : "";
  if (!bare && !known) throw new Error("Enter a token");
  sessionStorage.setItem(BASE_URL, url);
  sessionStorage.setItem(TOKEN, bare || known);
  if (from) sessionStorage.setItem(SESSION, JSON.stringify(from));
  else if (bare) sessionStorage.removeItem(SESSION);
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.removeItem(SESSION);
}

/**
 * Return the user, the audiences and the lifetime of a token, without a verification. The API verifies the token.
 * @param {string} token
 * @returns {{user: string, audiences: string[], expires: Date | null, lifetimeMs: number} | null} null if the token is not a JWT.
 */
export function claimsOf(token) {
  const payload = token.split(".")[1];
  if (!payload) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    const expires = Number(claims.exp) ? new Date(claims.exp * 1000) : null;
    // Relative to this machine's clock, which may differ from the provider's.
    const lifetimeMs = expires ? expires.getTime() - (Number(claims.iat) * 1000 || Date.now()) : 0;
    const audiences = [claims.aud ?? []].flat().map(String);
    return { user: String(claims.sub ?? ""), audiences, expires, lifetimeMs };
  } catch {
    return null;
  }
}

/** @returns {Recent[]} The containers that were opened last, latest first. */
export function recent() {
  return storedList(RECENT).filter((one) => typeof one?.id === "string");
}

/** @returns {KnownApi[]} The APIs that the user has signed in to. */
export function knownApis() {
  return storedList(KNOWN).filter((one) => typeof one?.baseUrl === "string");
}

/** @param {KnownApi} api */
export function rememberApi(api) {
  const others = knownApis().filter((one) => JSON.stringify(one) !== JSON.stringify(api));
  localStorage.setItem(KNOWN, JSON.stringify([...others, api]));
}

/**
 * @param {string} name
 * @returns {any[]}
 */
function storedList(name) {
  try {
    const list = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}

/** @param {Recent} opened */
export function remember(opened) {
  const others = recent().filter((one) => one.id !== opened.id);
  localStorage.setItem(RECENT, JSON.stringify([opened, ...others].slice(0, MOST_RECENT)));
}

/** @returns {"local" | "utc"} */
export function zone() {
  return localStorage.getItem(ZONE) === "utc" ? "utc" : "local";
}

/** @param {"local" | "utc"} value */
export function setZone(value) {
  localStorage.setItem(ZONE, value);
}

/**
 * Return a base URL without slashes at its end.
 * @param {string} text
 * @throws {Error} The URL is invalid. The message is for the user.
 */
export function checkedUrl(text) {
  let url;
  try {
    url = new URL(text.trim());
  } catch {
    throw new Error("The base URL is not a URL, such as https://api.example.com/api/v1");
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new Error("The base URL must have no user, query or fragment");
  }
  if (url.origin !== location.origin && url.protocol !== "https:") {
    throw new Error("The base URL must be https:, or be on the host of the console");
  }
  return url.href.replace(/\/+$/, "");
}
