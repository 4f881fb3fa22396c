// The list of services.

import { askToLogIn, element, fetchJson, forget, prose, showSession, tell } from "./session.js";

// How often a list with services on their way is fetched again, in milliseconds.
const AGAIN = 3000;

const place = Object.fromEntries(
  ["session", "summary", "find", "search", "notice", "services", "more"].map((id) => [id, document.getElementById(id)]),
);
let shown = 0;
let timer = null;
let latest = 0;

const say = (text) => { place.summary.textContent = text; };

// Fetches cards: from the first one, or those that follow the ones shown.
async function load(following = false) {
  const turn = ++latest;
  clearTimeout(timer);
  const query = new URLSearchParams({ search: place.search.value, offset: following ? shown : 0 });
  try {
    const page = await fetchJson(`/docs/services.json?${query}`);
    if (turn === latest) show(page, following);
  } catch (error) {
    if (turn === latest) refused(error);
  }
}

function show({ services, total, user }, following) {
  showSession(place.session, user, { onLogIn: () => ask("See all services."), onLogOut: () => load() });
  const cards = services.map(card);
  if (following) place.services.append(...cards);
  else place.services.replaceChildren(...cards);
  shown = following ? shown + cards.length : cards.length;
  place.more.hidden = shown >= total;
  const searching = place.search.value.trim() !== "";
  place.find.hidden = total === 0 && !searching;
  say(summary(total, user, searching));
  if (total === 0 && !searching && !user) ask("No service is public. Log in to see the others.");
  else if (user) place.notice.replaceChildren();
  const moving = services.some(({ status }) => ["deploying", "updating", "terminating"].includes(status));
  if (moving && !following && shown === cards.length) timer = setTimeout(() => load(), AGAIN);
}

function summary(total, user, searching) {
  const services = total === 1 ? "1 service" : `${total} services`;
  if (searching) return `${services} found`;
  if (!user) return total === 1 ? "1 public service" : `${total} public services`;
  return total ? services : "There is no service yet. Deploy one with: kea deploy NAME --source MODEL";
}

function refused(error) {
  if (error.status === 401) {
    forget();
    ask(error.message);
  } else {
    tell(place.notice, error.message);
  }
  say("");
}

function ask(why) {
  askToLogIn(place.notice, why, () => {
    place.notice.replaceChildren();
    load();
  });
}

function card(service) {
  const { serviceId, modelName, description, status, reason, version, framework, functions, found, url } = service;
  const title = element("a", { href: `/docs/${serviceId}` }, serviceId);
  const words = functions.map((name) => element("li", {}, element("code", {}, name)));
  const facts = [["Version", version], ["Framework", framework ?? "not known yet"]];
  return element(
    "li", { class: "card" },
    element("div", { class: "title" }, element("h2", {}, title), element("span", { class: `status ${status}` }, status)),
    modelName !== serviceId ? element("p", { class: "quiet" }, modelName) : null,
    description ? element("p", { class: "words" }, description) : null,
    reason && status !== "deployed" ? element("p", { class: status === "failed" ? "problem" : "quiet" }, ...prose(reason)) : null,
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    words.length ? element("ul", { class: "functions", "aria-label": "Functions" }, ...words) : null,
    found.length ? element("p", { class: "quiet found" }, "Found in ", ...prose(found.join(", "))) : null,
    element("code", { class: "url", title: "URL to POST to" }, url),
  );
}

let typing = null;
place.search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(), 150);
});
place.find.addEventListener("submit", (event) => event.preventDefault());
place.more.addEventListener("click", () => load(true));
load();
