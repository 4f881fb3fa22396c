// The page where a session begins. It leads back to the page that was asked for.

import { askToLogIn, refresh, user } from "./session.js";

const notice = document.getElementById("notice");

// A page of this server, whatever the address of this one says.
function next() {
  const asked = new URLSearchParams(location.search).get("next") ?? "/docs";
  try {
    const page = new URL(asked, location.origin);
    if (asked.startsWith("/") && page.origin === location.origin) return page.pathname + page.search + page.hash;
  } catch {
    // No address at all.
  }
  return "/docs";
}

const goOn = () => location.replace(next());

// A session whose token has ended goes on without a form, as one does that a provider's login has just begun.
const begun = new URLSearchParams(location.search).has("begun");
if ((begun || user() !== null) && (await refresh())) goOn();
else askToLogIn(notice, "This page is for users of this server.", goOn, next());
