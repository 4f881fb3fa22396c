// The documentation of one service, or of the management API, by Swagger UI.

import { askToLogIn, fetchJson, logOut, showSession, tell, token } from "./session.js";

const place = Object.fromEntries(
  ["api", "session", "summary", "notice", "document", "raw"].map((id) => [id, document.getElementById(id)]),
);
const name = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const isApi = name === "api";
const source = isApi ? "/openapi.json" : `/api/v1/k8c/openapi/${encodeURIComponent(name)}`;

const say = (text) => { place.summary.textContent = text; };

async function load() {
  say("Loading…");
  showSession(place.session, token() ? "Logged in" : null, {
    onLogIn: () => ask("Calls need a token unless the service is public."),
    onLogOut: load,
  });
  try {
    const spec = await fetchJson(source);
    place.notice.replaceChildren();
    show(spec);
  } catch (error) {
    refused(error);
  }
}

function show(spec) {
  document.title = `${spec.info.title} · KEA`;
  say("");
  if (isApi) place.raw.href = source;
  place.raw.hidden = !isApi;
  const ui = SwaggerUIBundle({
    spec,
    domNode: place.document,
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    docExpansion: "list",
    tryItOutEnabled: !isApi,
    // Nothing is sent to validators elsewhere.
    validatorUrl: null,
    requestInterceptor: withToken,
  });
  if (!isApi) openFirst(ui, spec);
}

// Opens the first function, unless the address names another one.
function openFirst(ui, spec) {
  const [operation] = Object.values(spec.paths).flatMap((path) => Object.values(path));
  if (location.hash || !operation?.operationId) return;
  ui.layoutActions.show(["operations", operation.tags?.[0] ?? "default", operation.operationId], true);
}

// Sends the session's token with calls of this server, unless the form names another one.
function withToken(request) {
  const here = new URL(request.url, location.href).origin === location.origin;
  const named = Object.keys(request.headers).some((header) => header.toLowerCase() === "authorization");
  if (here && token() && !named) request.headers.Authorization = `Bearer ${token()}`;
  return request;
}

function refused(error) {
  say("");
  place.document.replaceChildren();
  if (error.status === 401) {
    ask(token() ? error.message : "This service is not public: its documentation is for users of this server.");
    logOut();
  } else {
    tell(place.notice, error.message);
  }
}

function ask(why) {
  askToLogIn(place.notice, why, load);
}

// Swagger UI has a dark look, but does not choose it.
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();
if (isApi) place.api.setAttribute("aria-current", "page");
load();
