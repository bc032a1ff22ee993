// Keys that work everywhere on the page, and the list of all.

import { byId, make } from "./dom.js";

const KEYS = [
  ["Space", "Play or pause"], ["← →", "A window back or on"], ["Shift + ← →", "The segment before or after"],
  ["↑ ↓", "The channel above or below"], ["Enter", "Play the segment"], ["W", "Why: show or hide"], ["+  −", "Zoom in, zoom out"],
  ["0", "Show all"], ["Home, End", "To the beginning, to the end"], ["Page up, page down", "Scroll when zoomed in"],
  ["Ctrl + wheel", "Zoom at the pointer"], ["?", "This list"],
];

export function watchKeys(recording) {
  byId("keys-table").replaceChildren(...KEYS.map(([key, what]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, what))));
  byId("keys-button").addEventListener("click", () => byId("keys").showModal());
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select, textarea, button, a, summary, audio, [role=region], [role=slider]")) {
      if (event.key === "?" && !event.target.closest("input, textarea")) byId("keys").showModal();
      return;
    }
    if (event.key === "?") byId("keys").showModal();
    else if (recording.result && !byId("panel-recording").hidden) recording.result.key(event);
  });
}
