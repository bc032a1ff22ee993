// The token of a service that wants one: asked for in a form, kept for this tab only.

import { byId } from "./dom.js";

const KEY = "emogram.token";
let asking = null;

export const token = () => sessionStorage.getItem(KEY);
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** Show the form; resolves once a token was given. All who ask at once share one form. */
export function askToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token");
    const field = byId("token-value");
    field.value = "";
    dialog.showModal();
    field.focus();
    dialog.onclose = () => {
      if (!field.value) { // there is nothing to see without it
        dialog.showModal();
        return;
      }
      sessionStorage.setItem(KEY, field.value);
      asking = null;
      resolve();
    };
  });
  return asking;
}
