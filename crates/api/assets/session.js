// The session of the pages: cookies that no script can read. A token that was put into this tab comes before them.

const KEY = "kea-token";
const USER = "kea-user";
const UNTIL = "kea-until";
const BASE = "/api/v1/k8c";

// A page of another site can send the cookies, but not this header.
export const CSRF = "x-kea-csrf";

// How long before its end a token is renewed, in milliseconds: clocks differ, and answers take a while.
const EARLY = 30_000;

export const token = () => sessionStorage.getItem(KEY);

export const user = () => sessionStorage.getItem(USER) ?? localStorage.getItem(USER);

export const isLoggedIn = () => token() !== null || user() !== null;

// Forgets the session in this browser.
export function forget() {
  for (const storage of [sessionStorage, localStorage]) {
    for (const key of [KEY, USER, UNTIL]) storage.removeItem(key);
  }
}

// Ends the session at the server too, and that of the provider by which it began.
export async function logOut() {
  await fresh();
  const response = await ask(`${BASE}/auth/logout`, { method: "POST" }).catch(() => null);
  forget();
  const elsewhere = response?.headers.get("kea-provider-logout");
  if (elsewhere) location.assign(elsewhere);
}

function keep(session) {
  localStorage.setItem(USER, session.username);
  localStorage.setItem(UNTIL, session.expiresAt);
}

let renewing = null;

// Carries the session on; tells whether it could be.
export function refresh() {
  renewing ??= post(`${BASE}/auth/refresh`, {}).then(
    (session) => { keep(session); return true; },
    (error) => { if (error.status === 401) forget(); return false; },
  ).finally(() => { renewing = null; });
  return renewing;
}

// Sees to it that the cookies are good for the next request.
export async function fresh() {
  const until = localStorage.getItem(UNTIL);
  if (token() === null && until !== null && Date.parse(until) - EARLY < Date.now()) await refresh();
}

// Makes an element with its attributes and children; text is always text, never markup.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Nodes of a sentence of the server's, in which words between backticks are code.
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

// An answer that is no success, with what the server says of it.
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Fetches JSON of this server, as who is logged in.
export async function fetchJson(path, options = {}) {
  await fresh();
  return send(path, options);
}

async function ask(path, options) {
  const headers = new Headers(options.headers);
  headers.set(CSRF, "1");
  if (token()) headers.set("Authorization", `Bearer ${token()}`);
  try {
    return await fetch(path, { ...options, headers });
  } catch {
    throw new Refused(0, "The server does not answer. Is kea still running?");
  }
}

async function send(path, options) {
  const response = await ask(path, options);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body?.detail ?? `The server answered ${response.status}.`);
  return body;
}

function post(path, body) {
  return send(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

async function logIn(username, password) {
  forget();
  keep(await post(`${BASE}/auth/login`, { username, password }));
}

// Links to the providers by which one can log in, too; each leads back to the page `next`.
async function choices(next) {
  const { providers } = await send("/auth/sso", {}).catch(() => ({ providers: [] }));
  const to = (name) => `/auth/sso/${name}?${new URLSearchParams({ next })}`;
  return providers.map(({ name, title }) => element("a", { class: "choice", href: to(name) }, `Log in with ${title}`));
}

// Shows a login form within `place`; calls `done` once it has succeeded. A login by a provider leads back to `next`.
export function askToLogIn(place, why, done, next = location.pathname + location.search + location.hash) {
  const username = element("input", { id: "username", autocomplete: "username", required: "", value: "admin" });
  const password = element("input", {
    id: "password", type: "password", autocomplete: "current-password", required: "",
  });
  const problem = element("p", { class: "problem", role: "alert" });
  const button = element("button", { type: "submit" }, "Log in");
  const form = element(
    "form", { class: "login" },
    element("h2", {}, "Log in"),
    element("p", { class: "quiet" }, why),
    element("label", { for: "username" }, "User name"), username,
    element("label", { for: "password" }, "Password"), password,
    problem, button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await logIn(username.value, password.value);
      form.remove();
      done();
    } catch (error) {
      problem.textContent = error.message;
      password.select();
    } finally {
      button.disabled = false;
    }
  });
  place.replaceChildren(form);
  password.focus();
  choices(next).then((links) => form.append(...links));
}

// Shows a button that logs in or out, in the bar of the page.
export function showSession(place, user, { onLogIn, onLogOut }) {
  const button = element("button", { class: "plain", type: "button" }, user ? "Log out" : "Log in");
  button.addEventListener("click", async () => {
    if (!user) return onLogIn();
    await logOut();
    onLogOut();
  });
  place.replaceChildren(...(user ? [element("span", { class: "quiet" }, user)] : []), button);
}

// Shows a sentence in place of what was to be seen.
export function tell(place, text) {
  place.replaceChildren(element("p", { class: "notice", role: "alert" }, ...prose(text)));
}
