// The list of recordings that the service keeps.

import { ask, getJson } from "./api.js";
import { byId, make } from "./dom.js";
import { showError } from "./messages.js";
import { moment, percent } from "./text.js";

const MOST = 20;
const AGAIN_MS = 2000;
const WORDS = { queued: "waits", running: "is analysed", failed: "failed", cancelled: "was cancelled" };

export class Recent {
  constructor(open) {
    this.open = open;
    this.timer = 0;
    addEventListener("serviceback", () => this.refresh());
  }

  async refresh() {
    clearTimeout(this.timer);
    let jobs;
    try {
      ({ jobs } = await getJson(`/v1/jobs?limit=${MOST}`));
    } catch (error) {
      showError(error);
      return;
    }
    const hadFocus = byId("recent").contains(document.activeElement) ? document.activeElement.dataset.key : null;
    byId("recent").replaceChildren(...jobs.map((job) => this.entry(job)));
    byId("recent-note").textContent = jobs.length ? "" : "None yet. Recordings stay here until they expire or you delete them.";
    if (hadFocus) byId("recent").querySelector(`[data-key="${CSS.escape(hadFocus)}"]`)?.focus();
    const isOpen = jobs.some((each) => each.status === "queued" || each.status === "running");
    if (isOpen && !byId("start").hidden) this.timer = setTimeout(() => this.refresh(), AGAIN_MS);
  }

  entry(job) {
    const state = job.status === "done" ? moment(job.created)
      : `${WORDS[job.status]}${job.progress.share && job.status === "running" ? ` (${percent(job.progress.share)})` : ""}`;
    const name = job.status === "done"
      ? make("button", { type: "button", class: "link name", "data-key": `open ${job.id}`, onclick: () => this.open(job) }, job.file)
      : make("span", { class: "name" }, job.file);
    const remove = make("button", { type: "button", class: "quiet", "data-key": `delete ${job.id}`, "aria-label": `Delete ${job.file}`, title: "Delete", onclick: () => this.remove(job) }, "×");
    return make("li", {}, make("div", { class: "entry" }, name, make("span", { class: "soft small", title: job.error?.message }, state)), remove);
  }

  async remove(job) {
    if (!confirm(`Delete “${job.file}” and all that was found in it from the service?`)) return;
    await ask(job.links.self, { method: "DELETE" }).catch(showError);
    this.refresh();
  }
}
