// The session of the pages: the token is kept for this tab alone, and sent to this server alone.

const KEY = "kea-token";
const USER = "kea-user";
const BASE = "/api/v1/k8c";

export const token = () => sessionStorage.getItem(KEY);

export const user = () => sessionStorage.getItem(USER);

export function logOut() {
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(USER);
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

// Fetches JSON of this server, with the token where there is one.
export async function fetchJson(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token()) headers.set("Authorization", `Bearer ${token()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Refused(0, "The server does not answer. Is kea still running?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body?.detail ?? `The server answered ${response.status}.`);
  return body;
}

async function logIn(username, password) {
  logOut();
  const session = await fetchJson(`${BASE}/auth/login`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  sessionStorage.setItem(KEY, session.token);
  sessionStorage.setItem(USER, username);
}

// Shows a login form within `place`; calls `done` once it has succeeded.
export function askToLogIn(place, why, done) {
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
}

// Shows a button that logs in or out, in the bar of the page.
export function showSession(place, user, { onLogIn, onLogOut }) {
  const button = element("button", { class: "plain", type: "button" }, user ? "Log out" : "Log in");
  button.addEventListener("click", () => {
    if (!user) return onLogIn();
    logOut();
    onLogOut();
  });
  place.replaceChildren(...(user ? [element("span", { class: "quiet" }, user)] : []), button);
}

// Shows a sentence in place of what was to be seen.
export function tell(place, text) {
  place.replaceChildren(element("p", { class: "notice", role: "alert" }, ...prose(text)));
}
