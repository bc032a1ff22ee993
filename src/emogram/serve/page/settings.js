// The switch between the system's colours, light and dark; what was chosen is remembered.

import { byId } from "./dom.js";

const KEY = "emogram.theme";
const NEXT = { system: "light", light: "dark", dark: "system" };

export function watchTheme() {
  const button = byId("theme");
  const chosen = () => document.documentElement.dataset.theme ?? "system";
  const say = () => { button.textContent = `Colours: ${chosen()}`; };
  button.addEventListener("click", () => {
    const next = NEXT[chosen()];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, next);
    } catch { /* storage is off: it holds until the page is closed */ }
    say();
    dispatchEvent(new Event("themechange"));
  });
  say();
}
