// Starts Swagger UI or ReDoc, whichever the page has, in the colours of the reader's system.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");

function showColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

const DARK_REDOC = {
  colors: {
    primary: { main: "#7db8f2" },
    success: { main: "#7fcf8f" },
    warning: { main: "#e0b35a", contrastText: "#12181e" },
    error: { main: "#f08a80" },
    gray: { 50: "#222d37", 100: "#2b3843" },
    text: { primary: "#dfe6ec", secondary: "#9aa8b5" },
    border: { dark: "#4a5967", light: "#35424e" },
    responses: {
      success: { color: "#7fcf8f", backgroundColor: "#1d2f26" },
      error: { color: "#f08a80", backgroundColor: "#352324" },
      redirect: { color: "#e0b35a", backgroundColor: "#332b1c" },
      info: { color: "#7db8f2", backgroundColor: "#1d2c3a" },
    },
  },
  schema: { linesColor: "#4a5967", typeNameColor: "#9aa8b5", typeTitleColor: "#9aa8b5", nestedBackground: "#222d37" },
  typography: { code: { color: "#f0a58f", backgroundColor: "#2b3843" }, links: { color: "#7db8f2" } },
  sidebar: { backgroundColor: "#171c1f", textColor: "#dfe6ec" },
  rightPanel: {
    backgroundColor: "#14181b",
    servers: { overlay: { backgroundColor: "#222d37", textColor: "#dfe6ec" }, url: { backgroundColor: "#12181e" } },
  },
  codeBlock: { backgroundColor: "#0f1315" },
};

/** With the query of this page: if the page requires a key, the key may be in the query. */
function findDocument(element) {
  return element.dataset.openapi + location.search;
}

/** Browsers let no script send a header Cookie. So a key that belongs in a cookie becomes a cookie, until "Logout". */
function keepCookies() {
  const find = (found) => {
    const { type, in: place, name } = found?.toJS?.() ?? found ?? {};
    return type === "apiKey" && place === "cookie" ? name : null;
  };
  const write = (name, value) => (document.cookie = `${name}=${value}; path=/; SameSite=Strict`);
  const authorize = (original) => (given) => {
    for (const { schema, value } of Object.values(given)) {
      if (find(schema)) write(find(schema), value);
    }
    return original(given);
  };
  const logout = (original, system) => (names) => {
    for (const name of names) {
      const cookie = find(system.authSelectors.authorized()?.getIn([name, "schema"]));
      if (cookie) write(cookie, "; max-age=0"); // gone at once
    }
    return original(names);
  };
  return { statePlugins: { auth: { wrapActions: { authorize, logout } } } };
}

function startSwagger(element) {
  SwaggerUIBundle({
    url: findDocument(element),
    domNode: element,
    layout: "BaseLayout",
    deepLinking: true,
    showExtensions: true,
    showCommonExtensions: true,
    validatorUrl: null,
    tryItOutEnabled: true,
    plugins: [keepCookies],
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  });
}

function startRedoc(element) {
  // Without `sanitize` it would run scripts in the markup of a description.
  Redoc.init(findDocument(element), { sanitize: true, theme: dark.matches ? DARK_REDOC : {} }, element);
  dark.addEventListener("change", () => location.reload()); // it chooses colours only at its start
}

showColours();
dark.addEventListener("change", showColours);
addEventListener("DOMContentLoaded", () => {
  const swagger = document.getElementById("swagger-ui");
  const redoc = document.getElementById("redoc");
  if (swagger) startSwagger(swagger);
  if (redoc) startRedoc(redoc);
});
