// Starts the page: what it says about itself, its two modes, its settings and keys.

import { getJson } from "./api.js";
import { byId, make } from "./dom.js";
import { LiveMode } from "./live.js";
import { showError, waitForService } from "./messages.js";
import { RecordingMode } from "./recording.js";
import { watchKeys } from "./keys.js";
import { watchTheme } from "./settings.js";

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

function sayWhereSoundGoes(hours) {
  const kept = hours >= 48 ? `${Math.round(hours / 24)} days` : `${+hours.toFixed(1)} hours`;
  const place = byId("privacy");
  place.classList.toggle("remote", !LOOPBACK.test(location.hostname));
  place.textContent = LOOPBACK.test(location.hostname)
    ? `Audio stays on this machine. Recordings are kept here for ${kept}, or until you delete them; live sound is not kept.`
    : `Audio is sent to ${location.host}, which may be another machine than yours. It keeps recordings for ${kept}, or until you delete them; live sound is not kept.`;
}

function watchTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const show = (name, focus) => {
    for (const tab of tabs) {
      const isIt = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", isIt);
      tab.tabIndex = isIt ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isIt;
      if (isIt && focus) tab.focus();
    }
    dispatchEvent(new Event("resize"));
  };
  const nameOf = (tab) => tab.id.slice("tab-".length);
  for (const tab of tabs) {
    tab.addEventListener("click", () => show(nameOf(tab), false));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(nameOf(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length]), true);
    });
  }
  addEventListener("showmode", (event) => show(event.detail, false));
}

function offerModels(models) {
  byId("model-name").textContent = `Model: ${models[0].id}. `;
  byId("card-link").href = `/card?model=${encodeURIComponent(models[0].id)}`;
  byId("model-field").hidden = models.length < 2;
  byId("model").replaceChildren(...models.map((each) => make("option", { value: each.id }, each.id)));
}

async function start() {
  watchTheme();
  watchTabs();
  let about;
  while (!about) {
    try {
      about = await getJson("/page/about.json");
    } catch (error) {
      if (error.code !== "unreachable") throw error;
      await waitForService();
    }
  }
  sayWhereSoundGoes(about.keep_hours);
  offerModels(about.models);
  const recording = new RecordingMode(about.models);
  const live = new LiveMode(about.models);
  watchKeys(recording);
  addEventListener("pagehide", () => live.end());
  document.documentElement.dataset.ready = "";
  await Promise.all([recording.recent.refresh(), recording.openLinked()]);
}

start().catch(showError);
