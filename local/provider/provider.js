// An OpenID Connect provider for development: oidc-provider with its example pages for sign-in and consent, which
// accept every user name with every password. It must not be reachable from other machines.
//
// Usage: node provider.js PORT AUDIENCE
//
// Serves on 127.0.0.1. Port 0 selects a free port. AUDIENCE is the `aud` of the access tokens. Prints the issuer when it
// is ready. The client is public, and its redirect URI may have any port.
import { createServer } from "node:http";

import Provider from "oidc-provider";

const [port, audience] = process.argv.slice(2);
const HOST = "127.0.0.1";
const SECONDS = { minute: 60, hour: 3600, day: 86_400 };

const server = createServer();
server.listen(Number(port), HOST, () => {
  const issuer = `http://${HOST}:${server.address().port}`;
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
    // The console runs on another origin. The client has no secret, so any page may call the endpoints.
    clientBasedCORS: () => true,
    features: {
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          audience,
          scope: "",
          accessTokenFormat: "jwt",
          accessTokenTTL: SECONDS.hour,
        }),
      },
    },
    issueRefreshToken: (_, client, code) => client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
    ttl: { Session: SECONDS.day, Grant: SECONDS.day, RefreshToken: SECONDS.day, Interaction: SECONDS.hour },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
