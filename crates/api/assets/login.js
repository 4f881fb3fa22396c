// The page where a session begins. It leads back to the page that was asked for.

import { askToLogIn, refresh, user } from "./session.js";

const notice = document.getElementById("notice");

// A page of this server, whatever the address of this one says.
function next() {
  const asked = new URLSearchParams(location.search).get("next") ?? "/docs";
  try {
    const page = new URL(asked, location.origin);
    if (asked.startsWith("/") && page.origin === location.origin) return page;
  } catch {
    // No address at all.
  }
  return new URL("/docs", location.origin);
}

// The whole address: the path of `/.//host/` alone would begin another server's.
const goOn = () => location.replace(next().href);

const path = (page) => page.pathname + page.search + page.hash;

// A session whose token has ended goes on without a form, as one does that a provider's login has just begun.
const begun = new URLSearchParams(location.search).has("begun");
if ((begun || user() !== null) && (await refresh())) goOn();
else askToLogIn(notice, "This page is for users of this server.", goOn, path(next()));
