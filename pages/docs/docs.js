"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function applyColorScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

dark.addEventListener("change", applyColorScheme);
applyColorScheme();

// The only server is the API that serves this page, below its base path.
const ownServer = {
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (spec) => {
          const [own] = spec.servers;
          return update({ ...spec, servers: [{ ...own, url: new URL("../api/v1", document.baseURI).href }] });
        },
      },
    },
  },
};

// The token is not stored: a reload forgets it. No validator's badge: it would be fetched from the internet.
window.ui = SwaggerUIBundle({
  url: "../openapi.yaml",
  dom_id: "#reference",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  plugins: [ownServer],
  tryItOutEnabled: true,
  validatorUrl: null,
});
