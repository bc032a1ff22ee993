// The region in which errors are said, and what happens while the service is gone.

import { untilBack } from "./api.js";
import { byId, make } from "./dom.js";
import { problemWords } from "./text.js";

let waiting = null;

export function clearAlerts() {
  if (!waiting) byId("alerts").replaceChildren();
}

/** Say what went wrong and what to do. */
export function showError(error) {
  if (error.name === "AbortError") return;
  const known = error.code ? error : { code: "page", message: String(error.message ?? error) };
  if (known.code === "unreachable") {
    waitForService();
    return;
  }
  const { advice, said } = problemWords(known);
  const close = make("button", { type: "button", class: "quiet", "aria-label": "Close this message", onclick: clearAlerts }, "×");
  const words = make("div", {}, make("strong", {}, advice), said ? make("p", { class: "said" }, said) : null);
  byId("alerts").replaceChildren(make("div", { class: "alert" }, words, close));
}

/** Say that the service is gone, and resolve when it is back. */
export function waitForService() {
  waiting ??= (async () => {
    const { advice } = problemWords({ code: "unreachable" });
    byId("alerts").replaceChildren(make("div", { class: "alert", id: "gone" }, make("strong", {}, advice)));
    await untilBack();
    waiting = null;
    byId("alerts").replaceChildren();
    dispatchEvent(new Event("serviceback"));
  })();
  return waiting;
}
