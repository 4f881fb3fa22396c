// Programs that call a function, as the document has them.

import { element } from "./session.js";

// Which language was chosen, for the next page too.
const KEY = "kea-language";

const DEFAULT = "predict";

// What shows them; nothing where the document has none.
export function samples(spec) {
  const operations = Object.values(spec.paths).flatMap((methods) => Object.values(methods));
  const callable = operations.filter((operation) => operation["x-codeSamples"]?.length);
  if (!callable.length) return [];
  callable.sort((a, b) => (b.operationId === DEFAULT) - (a.operationId === DEFAULT));
  return [panel(callable)];
}

function panel(operations) {
  const program = element("code");
  const languages = element("div", { class: "languages", role: "group", "aria-label": "Language" });
  const show = (operation) => {
    const known = operation["x-codeSamples"];
    const chosen = known.find(({ lang }) => lang === localStorage.getItem(KEY)) ?? known[0];
    program.textContent = chosen.source;
    languages.replaceChildren(...known.map(({ lang, label }) => {
      const button = element("button", { type: "button", class: "plain", "aria-pressed": `${lang === chosen.lang}` }, label);
      button.addEventListener("click", () => {
        localStorage.setItem(KEY, lang);
        show(operation);
        languages.querySelector("[aria-pressed=true]").focus();
      });
      return button;
    }));
  };
  show(operations[0]);
  return element(
    "details", { class: "samples" },
    element("summary", {}, element("h2", {}, "Call it from a program")),
    element("div", { class: "choices" }, operations.length > 1 ? chooser(operations, show) : null, languages, copier(program)),
    element("pre", { tabindex: "0" }, program),
  );
}

function chooser(operations, show) {
  const options = operations.map(({ operationId }) => element("option", {}, operationId));
  const select = element("select", { "aria-label": "Function" }, ...options);
  select.addEventListener("change", () => show(operations[select.selectedIndex]));
  return select;
}

// Browsers let pages write to the clipboard within TLS or on this machine alone.
function copier(program) {
  if (!navigator.clipboard) return null;
  const button = element("button", { type: "button", class: "plain copy" }, "Copy");
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(program.textContent).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Copy";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}
