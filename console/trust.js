/**
 * The check of an API before a sign-in. The API itself says at which provider its users sign in, and for which
 * audience. An API that returns the public settings of another API would receive a session that is valid there.
 * Therefore the audience must be the URL that the user has entered (RFC 8707, and RFC 9728, section 3.3), or the user
 * confirms the API at the first sign-in. The API that serves the console is the one that the user has opened.
 *
 * @typedef {import("./sign_in.js").SignIn} SignIn
 */

import { confirmed } from "./confirm.js";
import * as settings from "./settings.js";

/** The sign-in failed. The message is for the user. */
export class SignInError extends Error {}

/**
 * @param {SignIn} signIn
 * @param {string} baseUrl
 * @returns {boolean} Whether the audience is the URL of the API, so that no other API accepts the tokens.
 */
export function isBound(signIn, baseUrl) {
  return [baseUrl, baseUrl.replace(/\/api\/v1$/, "")].includes(signIn.audience.replace(/\/+$/, ""));
}

/**
 * Check that the session for an API cannot be used at an API that the user has not named.
 * @param {SignIn} signIn
 * @param {string} baseUrl The URL of the API that the user has entered.
 * @throws {SignInError} The API names another API, or the user declined.
 */
export async function check(signIn, baseUrl) {
  if (baseUrl === settings.DEFAULT_BASE_URL) return;
  const bound = isBound(signIn, baseUrl);
  if (!bound && signIn.audience_parameter === "resource") {
    throw new SignInError(
      `${baseUrl} requests a session for ${signIn.audience}, which is not its URL: it may imitate another API. ` +
        "Enter the URL that your administrators have published.",
    );
  }
  const known = settings.knownApis();
  const api = knownApi(signIn, baseUrl);
  if (bound || known.some((one) => JSON.stringify(one) === JSON.stringify(api))) return;
  const similar = known.filter((one) => one.issuer === api.issuer && one.clientId === api.clientId);
  const others = [...new Set(similar.map((one) => one.baseUrl))].filter((url) => url !== baseUrl);
  const answer = await confirmed({
    title: `Trust ${new URL(baseUrl).host}?`,
    text:
      `${baseUrl} receives a session of the provider ${signIn.issuer} for the audience ${signIn.audience}. All APIs with ` +
      "this provider and audience accept it. If this is not the API that you expect, it can use the session at the real one." +
      (others.length ? ` You have signed in to ${others.join(", ")} with the same provider and client.` : ""),
    action: "Trust",
    danger: true,
  });
  if (!answer) throw new SignInError("The API was not confirmed, so nothing was sent to it.");
}

/**
 * Remember an API after a sign-in.
 * @param {SignIn} signIn
 * @param {string} baseUrl
 */
export function remember(signIn, baseUrl) {
  settings.rememberApi(knownApi(signIn, baseUrl));
}

/**
 * Check the audience of a token: this API, and no other one if the audience is the API's URL.
 * @param {SignIn} signIn
 * @param {string} baseUrl
 * @param {string[]} audiences The `aud` of the token.
 */
export function checkAudience(signIn, baseUrl, audiences) {
  // Some providers add their own endpoint.
  const expected = [signIn.audience, `${signIn.issuer.replace(/\/+$/, "")}/userinfo`];
  const others = audiences.filter((one) => !expected.includes(one));
  if (!audiences.includes(signIn.audience) || (others.length && isBound(signIn, baseUrl))) {
    throw new Error(`the token is not for ${signIn.audience} only, but for ${audiences.join(", ") || "no audience"}`);
  }
}

/**
 * @param {SignIn} signIn
 * @param {string} baseUrl
 * @returns {settings.KnownApi}
 */
function knownApi(signIn, baseUrl) {
  return { baseUrl, issuer: signIn.issuer, clientId: signIn.client_id, audience: signIn.audience };
}
