/**
 * Signing in at the OpenID Connect provider of the API: the authorization code flow with PKCE. The client is public.
 * The library oauth4webapi implements the protocol. The session is in the session storage of the tab.
 *
 * @typedef {{issuer: string, client_id: string, scopes: string, audience: string, audience_parameter: string | null}} SignIn
 * @typedef {{signIn: SignIn, baseUrl: string, state: string, nonce: string, verifier: string, hash: string}} Pending
 * @typedef {{token: string, user: string, expiresAt: number, refreshToken?: string, idUser?: string}} Issued The `sub` of
 *   the token for the API and that of the ID token may differ: providers may use pairwise identifiers.
 */

import { ApiError, NoAnswerError } from "./api.js";
import * as oauth from "./oauth4webapi.js";
import * as settings from "./settings.js";
import * as trust from "./trust.js";

const PENDING = "longshore.sign-in";
const SIGNED_OUT = "longshore.signed-out";
/** A token is refreshed this long before it expires. */
const MARGIN_MS = 30_000;
const TIMEOUT_MS = 15_000;
const PUBLIC_CLIENT = oauth.None();

const { SignInError } = trust;

/**
 * Return how users of an API sign in, or null if they do not, or if the API does not respond.
 * @param {string} baseUrl
 * @returns {Promise<SignIn | null>}
 */
export async function offered(baseUrl) {
  try {
    const options = { credentials: /** @type {const} */ ("omit"), redirect: /** @type {const} */ ("error") };
    const reply = await fetch(baseUrl, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return reply.ok ? ((await reply.json()).data?.sign_in ?? null) : null;
  } catch {
    return null;
  }
}

/**
 * Leave the page for the provider. After the sign-in, the provider redirects to the console.
 * @param {SignIn} signIn
 * @param {string} baseUrl The URL of the API that the token is for.
 * @throws {trust.SignInError}
 */
export async function begin(signIn, baseUrl) {
  await trust.check(signIn, baseUrl);
  try {
    const server = await serverOf(signIn);
    const pending = {
      signIn,
      baseUrl,
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      verifier: oauth.generateRandomCodeVerifier(),
      hash: location.hash,
    };
    const url = new URL(server.authorization_endpoint ?? "");
    if (url.protocol !== "https:" && !isLoopback(url)) throw new Error("its sign-in page is not an HTTPS URL");
    const parameters = {
      client_id: signIn.client_id,
      redirect_uri: redirectUri(),
      response_type: "code",
      scope: signIn.scopes,
      state: pending.state,
      nonce: pending.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: "S256",
      ...audience(signIn),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    const prompts = [
      // After a sign-out, the provider must not sign in the same user without asking.
      ...(localStorage.getItem(SIGNED_OUT) ? ["login"] : []),
      // OpenID Connect Core, section 11: a provider ignores offline_access without this prompt.
      ...(signIn.scopes.split(" ").includes("offline_access") ? ["consent"] : []),
    ];
    if (prompts.length) url.searchParams.set("prompt", prompts.join(" "));
    sessionStorage.setItem(PENDING, JSON.stringify(pending));
    location.assign(url);
  } catch (error) {
    throw explained(error, signIn);
  }
}

/**
 * Complete a sign-in if the provider has redirected to this page. Removes the parameters from the address.
 * @returns {Promise<boolean>} Whether the user has signed in now.
 * @throws {trust.SignInError}
 */
export async function finish() {
  const answer = new URL(location.href);
  if (!answer.searchParams.has("state")) return false;
  /** @type {Pending | null} */
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", `${location.pathname}${pending?.hash ?? ""}`);
  if (!pending) throw new SignInError("This sign-in was not started in this tab. Sign in again.");
  const { signIn } = pending;
  try {
    const server = await serverOf(signIn);
    const client = { client_id: signIn.client_id };
    const code = oauth.validateAuthResponse(server, client, answer, pending.state);
    const reply = await oauth.authorizationCodeGrantRequest(
      server, client, PUBLIC_CLIENT, code, redirectUri(), pending.verifier, options(signIn),
    );
    const expected = { expectedNonce: pending.nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, reply, expected);
    store(signIn, pending.baseUrl, issued(signIn, pending.baseUrl, tokens), "");
    trust.remember(signIn, pending.baseUrl);
    localStorage.removeItem(SIGNED_OUT);
    return true;
  } catch (error) {
    throw explained(error, signIn);
  }
}

/** @type {Promise<void> | null} The refresh in progress. A refresh token can be used once. */
let refreshing = null;

/**
 * Return the connection for a request, after a refresh if the session has expired.
 * @returns {Promise<settings.Connection>}
 * @throws {ApiError | NoAnswerError} The session has ended, or the provider did not respond.
 */
export async function connection() {
  const session = settings.session();
  if (session && Date.now() > session.expiresAt - MARGIN_MS) {
    refreshing ??= refresh(session).finally(() => (refreshing = null));
    await refreshing;
  }
  return settings.connection();
}

/** End the session: forget the tokens, and revoke the refresh token if the provider offers this. */
export async function signOut() {
  const session = settings.session();
  settings.forgetToken();
  if (!session) return;
  localStorage.setItem(SIGNED_OUT, "1");
  if (!session.refreshToken) return;
  try {
    const server = await serverOf(session.signIn);
    if (!server.revocation_endpoint) return;
    const client = { client_id: session.signIn.client_id };
    const { refreshToken } = session;
    const reply = await oauth.revocationRequest(server, client, PUBLIC_CLIENT, refreshToken, options(session.signIn));
    await oauth.processRevocationResponse(reply);
  } catch (error) {
    throw explained(error, session.signIn);
  }
}

/** @param {settings.Session} session */
async function refresh({ signIn, refreshToken, idUser }) {
  const ended = { code: "TOKEN_EXPIRED", message: "The session has ended. Sign in again." };
  if (!refreshToken) throw new ApiError(401, ended, "", null);
  const { baseUrl, token } = settings.connection();
  try {
    const server = await serverOf(signIn);
    const client = { client_id: signIn.client_id };
    const reply = await oauth.refreshTokenGrantRequest(server, client, PUBLIC_CLIENT, refreshToken, options(signIn));
    const tokens = await oauth.processRefreshTokenResponse(server, client, reply);
    const renewed = issued(signIn, baseUrl, tokens);
    // The user may have signed out in the meantime.
    if (settings.session()?.refreshToken !== refreshToken) return;
    // OpenID Connect Core, section 12.2. Each user is compared with that of the same kind of token.
    const users = [[settings.claimsOf(token)?.user, renewed.user]];
    if (idUser && renewed.idUser) users.push([idUser, renewed.idUser]);
    for (const [before, after] of users) {
      if (before === after) continue;
      settings.forgetToken();
      const message = `The session has ended, because the provider renewed it as ${after} instead of ${before}. Sign in again.`;
      throw new ApiError(401, { ...ended, message }, "", null);
    }
    store(signIn, baseUrl, { ...renewed, idUser: renewed.idUser ?? idUser }, refreshToken);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (error instanceof oauth.ResponseBodyError && error.error === "invalid_grant") {
      throw new ApiError(401, ended, "", null);
    }
    throw new NoAnswerError(explained(error, signIn).message, false);
  }
}

/**
 * @param {SignIn} signIn
 * @param {string} baseUrl
 * @param {Issued} tokens
 * @param {string} refreshToken The previous refresh token, which is kept if there is no new one.
 */
function store(signIn, baseUrl, { token, expiresAt, idUser, ...tokens }, refreshToken) {
  settings.connect(baseUrl, token, { signIn, expiresAt, idUser, refreshToken: tokens.refreshToken ?? refreshToken });
}

/**
 * Read and check the tokens that the provider has issued.
 * @param {SignIn} signIn
 * @param {string} baseUrl
 * @param {oauth.TokenEndpointResponse} tokens
 * @returns {Issued}
 */
function issued(signIn, baseUrl, tokens) {
  const token = signIn.audience === signIn.client_id ? tokens.id_token : tokens.access_token;
  const claims = settings.claimsOf(token ?? "");
  if (!token || !claims?.lifetimeMs) throw new Error("it issued no token that the API can verify");
  trust.checkAudience(signIn, baseUrl, claims.audiences);
  const idUser = oauth.getValidatedIdTokenClaims(tokens)?.sub;
  const expiresAt = Date.now() + claims.lifetimeMs;
  return { token, user: claims.user, expiresAt, refreshToken: tokens.refresh_token, idUser };
}

/** @param {SignIn} signIn */
async function serverOf(signIn) {
  const issuer = new URL(signIn.issuer);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options(signIn)));
}

/** @param {SignIn} signIn */
function options(signIn) {
  return {
    // Tokens are sent unencrypted to a provider on this machine only.
    [oauth.allowInsecureRequests]: isLoopback(new URL(signIn.issuer)),
    additionalParameters: audience(signIn),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  };
}

/**
 * @param {SignIn} signIn
 * @returns {Record<string, string>}
 */
function audience(signIn) {
  return signIn.audience_parameter ? { [signIn.audience_parameter]: signIn.audience } : {};
}

/** The address of the console, which must be registered at the provider. */
function redirectUri() {
  return new URL("./", document.baseURI).href;
}

/** @param {URL} url */
function isLoopback(url) {
  return url.protocol === "http:" && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
}

/**
 * @param {unknown} error
 * @param {SignIn} signIn
 */
function explained(error, signIn) {
  if (error instanceof oauth.AuthorizationResponseError && error.error === "access_denied") {
    return new SignInError("The sign-in was refused (access_denied)");
  }
  if (error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError) {
    return new SignInError(`The provider refused the request (${error.error})`);
  }
  const reason = error instanceof Error ? error.message : String(error);
  return new SignInError(`The sign-in at ${signIn.issuer} failed: ${reason}`);
}
