// An OpenID Connect provider for development: oidc-provider with its example pages for sign-in and consent, which
// accept every user name with every password. It must not be reachable from other machines, nor from web pages.
//
// Usage: node provider.js PORT
//
// Serves on 127.0.0.1. Port 0 selects a free port. The `aud` of an access token is the requested resource. Prints the
// issuer when it is ready. Each line of standard input is an origin whose pages may call the provider, and is printed when
// it is allowed. The process ends with its standard input. The client is public, and its redirect URI may have any port.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

import Provider from "oidc-provider";

const [requestedPort] = process.argv.slice(2);
const HOST = "127.0.0.1";
const SECONDS = { minute: 60, hour: 3600, day: 86_400 };

// Without keys of its own, oidc-provider signs with a key that is published in its package, so that everyone can sign.
function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomBytes(12).toString("base64url"), use: "sig", alg: "RS256" };
}

const server = createServer();
server.listen(Number(requestedPort), HOST, () => {
  const { port } = server.address();
  const hosts = [`${HOST}:${port}`, `localhost:${port}`];
  const issuer = `http://${HOST}:${port}`;
  const origins = new Set([issuer]);
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: "longshore",
        application_type: "native",
        grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        redirect_uris: [`http://${HOST}/callback`, `http://${HOST}/console/`, "http://localhost/console/"],
        token_endpoint_auth_method: "none",
      },
    ],
    // The server below has refused all other origins.
    clientBasedCORS: () => true,
    cookies: { keys: [randomBytes(32).toString("base64url")] },
    features: {
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Each stack on this machine is a resource (RFC 8707), and accepts only the tokens for its own URL.
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: "",
          accessTokenFormat: "jwt",
          accessTokenTTL: SECONDS.hour,
        }),
      },
    },
    issueRefreshToken: (_, client, code) => client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
    jwks: { keys: [signingKey()] },
    ttl: { Session: SECONDS.day, Grant: SECONDS.day, RefreshToken: SECONDS.day, Interaction: SECONDS.hour },
  });
  const respond = provider.callback();
  server.on("request", (request, response) => {
    // The domain name of a web page can resolve to this address (DNS rebinding). Its requests name the domain in Host.
    if (!hosts.includes(request.headers.host)) return refuse(response, 421, "The Host header does not name this provider.");
    // Browsers send Origin with each request that can change something, and with each whose response a page can read.
    const { origin } = request.headers;
    if (origin !== undefined && !origins.has(origin)) return refuse(response, 403, "The origin is not allowed.");
    return respond(request, response);
  });
  createInterface({ input: process.stdin })
    .on("line", (origin) => {
      origins.add(origin);
      console.log(origin);
    })
    .on("close", () => process.exit());
  console.log(issuer);
});

function refuse(response, status, message) {
  response.writeHead(status, { "Content-Type": "text/plain", Connection: "close" }).end(`${message}\n`);
}
