// The documentation of one service, or of the management API, by Swagger UI.

import {
  CSRF, askToLogIn, element, fetchJson, forget, fresh, isLoggedIn, prose, showSession, tell, token, user,
} from "./session.js";
import { samples } from "./samples.js";

const PARTS = ["api", "session", "summary", "notice", "incomplete", "changes", "versions", "samples", "document", "raw"];
const place = Object.fromEntries(PARTS.map((id) => [id, document.getElementById(id)]));
const name = decodeURIComponent(location.pathname.split("/")[2] ?? "");
const isApi = name === "api";
const source = isApi ? "/openapi.json" : `/api/v1/k8c/openapi/${encodeURIComponent(name)}`;

// The version that the address names; without one the live one is shown.
const version = new URLSearchParams(location.search).get("version");
const query = version && !isApi ? `?${new URLSearchParams({ version })}` : "";

const say = (text) => { place.summary.textContent = text; };

async function load() {
  say("Loading…");
  showSession(place.session, isLoggedIn() ? user() ?? "Logged in" : null, {
    onLogIn: () => ask("Calls need a token unless the service is public."),
    onLogOut: load,
  });
  try {
    const spec = await fetchJson(source + query);
    place.notice.replaceChildren();
    show(spec);
    if (!isApi) await Promise.all([offerVersions(spec.info.version), tellChanges()]);
  } catch (error) {
    refused(error);
  }
}

function show(spec) {
  document.title = `${spec.info.title} · KEA`;
  say("");
  offer(spec);
  tellIncomplete(spec.info["x-kea-incomplete"] ?? []);
  place.samples.replaceChildren(...samples(spec));
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
    onComplete: () => lock(ui, spec),
  });
  if (!isApi) openFirst(ui, spec);
}

// Lets the document be taken along. A private one needs the token, which a plain link does not send.
function offer(spec) {
  URL.revokeObjectURL(place.raw.href);
  const text = JSON.stringify(spec, null, 2);
  place.raw.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  place.raw.download = `${name}-openapi.json`;
  place.raw.hidden = false;
}

// Says what could not be found out about the service.
function tellIncomplete(notes) {
  const items = notes.map((note) => element("li", {}, ...prose(note)));
  const notice = element("section", { class: "notice" }, element("h2", {}, "Not fully described"), element("ul", {}, ...items));
  place.incomplete.replaceChildren(...(notes.length ? [notice] : []));
}

// Lets another version be shown, by who may list them: strangers may not, and others may lack the permission.
async function offerVersions(shown) {
  if (!isLoggedIn()) return;
  const versions = await fetchJson(`/api/v1/k8c/services/${encodeURIComponent(name)}/versions`).catch(() => []);
  const options = versions.map(({ version, live }) => {
    const option = element("option", { value: live ? "" : version }, live ? `${version} (live)` : version);
    option.selected = version === shown;
    return option;
  });
  const select = element("select", { id: "version" }, ...options);
  select.addEventListener("change", () => {
    location.assign(select.value ? `?${new URLSearchParams({ version: select.value })}` : location.pathname);
  });
  const label = element("label", { for: "version" }, "Version ");
  place.versions.replaceChildren(...(versions.length > 1 ? [label, select] : []));
}

// Says what the version changed for those who knew the one before.
async function tellChanges() {
  const { from, version, changes } = await fetchJson(`${source}/changes${query}`).catch(() => ({ changes: [] }));
  const items = changes.map(({ function: name, side, pointer, was, is, effect, detail }) =>
    element("li", {}, element("strong", {}, `${effect}: `),
      `${name}${side === "function" ? "" : `, ${side} ${pointer}`}: was ${was}, is ${is}: ${detail}`));
  const heading = element("h2", {}, `What version ${version} changed since version ${from}`);
  place.changes.replaceChildren(...(items.length ? [element("section", { class: "notice" }, heading, element("ul", {}, ...items))] : []));
}

// Shows the operations that need a token as open to who has one.
function lock(ui, spec) {
  for (const scheme of Object.keys(spec.components?.securitySchemes ?? {})) {
    if (token()) ui.preauthorizeApiKey(scheme, token());
  }
}

// Opens the default function, or the first one, unless the address names another.
function openFirst(ui, spec) {
  const all = Object.entries(spec.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, ...operation })),
  );
  const operation = all.find(({ path }) => path.endsWith("/predict")) ?? all[0];
  if (location.hash || !operation?.operationId) return;
  ui.layoutActions.show(["operations", operation.tags?.[0] ?? "default", operation.operationId], true);
}

// Sends calls of this server as who is logged in, unless the form names another token.
async function withToken(request) {
  const here = new URL(request.url, location.href).origin === location.origin;
  const named = Object.keys(request.headers).some((header) => header.toLowerCase() === "authorization");
  if (here && token() && !named) request.headers.Authorization = `Bearer ${token()}`;
  if (here && !token() && !named && isLoggedIn()) {
    await fresh();
    request.headers[CSRF] = "1";
  }
  return request;
}

function refused(error) {
  say("");
  place.document.replaceChildren();
  place.incomplete.replaceChildren();
  place.changes.replaceChildren();
  place.samples.replaceChildren();
  place.versions.replaceChildren();
  place.raw.hidden = true;
  if (error.status === 401) {
    ask(isLoggedIn() ? error.message : "This service is not public: its documentation is for users of this server.");
    forget();
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
