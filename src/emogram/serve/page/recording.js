// The mode for recordings: choose, drop or record one, see how far it is, and look at what was found.

import { ask, getJson, sendJob } from "./api.js";
import { byId } from "./dom.js";
import { clearAlerts, showError, waitForService } from "./messages.js";
import { Recent } from "./recent.js";
import { Recorder } from "./recorder.js";
import { Result } from "./result.js";
import { left, percent, time } from "./text.js";

const ASK_EVERY_MS = 400;
const POINTS = 2400; // of the waveform

export class RecordingMode {
  constructor(models) {
    this.models = models;
    this.result = null;
    this.work = null; // {abort, job} of what is on its way
    this.recent = new Recent((job) => this.open(job, null));
    this.recorder = new Recorder((file) => this.send(file));
    byId("file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.send(file);
    });
    byId("cancel").addEventListener("click", () => this.cancel());
    this.takeDrops();
    addEventListener("popstate", () => this.openLinked());
  }

  /** Show the recording that the address names, or the start where it names none. */
  async openLinked() {
    const id = /^#job=(\w+)$/.exec(location.hash)?.[1];
    if (!id) {
      if (this.result) this.start();
      return;
    }
    const work = { abort: new AbortController(), job: null };
    this.work = work;
    try {
      work.job = await getJson(`/v1/jobs/${id}`);
      byId("progress-file").textContent = work.job.file;
      if (work.job.status !== "done") this.show("progress");
      await this.follow(work, null);
    } catch (error) {
      this.failed(error, work);
    }
  }

  takeDrops() {
    const over = byId("dropping");
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      over.hidden = false;
    });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) over.hidden = true; });
    addEventListener("drop", (event) => {
      over.hidden = true;
      if (!holdsFiles(event)) return;
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      dispatchEvent(new CustomEvent("showmode", { detail: "recording" }));
      if (file) this.send(file);
    });
  }

  show(part) {
    byId("start").hidden = part !== "start";
    byId("progress").hidden = part !== "progress";
    if (part !== "result" && this.result) {
      this.result.close();
      this.result = null;
    }
  }

  start() {
    address("");
    byId("announce").textContent = "";
    this.show("start");
    this.recent.refresh();
    document.querySelector("#start .primary").focus();
  }

  async send(file) {
    if (this.work) await this.cancel();
    clearAlerts();
    const abort = new AbortController();
    const work = { abort, job: null };
    this.work = work;
    this.show("progress");
    byId("progress-file").textContent = file.name;
    this.tell("Sending…", 0);
    byId("cancel").focus();
    const fields = { channels: byId("split").checked ? "split" : "mix", raw: byId("raw").checked };
    if (this.models.length > 1) fields.model = byId("model").value;
    try {
      work.job = await sendJob(file, fields, (share) => this.tell(`Sending… ${percent(share)}`, share), abort.signal);
      await this.follow(work, file);
    } catch (error) {
      this.failed(error, work);
    }
  }

  /** Ask how far a job is until it is finished, also across a restart of the service. */
  async follow(work, file) {
    const { signal } = work.abort;
    for (;;) {
      if (signal.aborted) return;
      const { job } = work;
      if (job.status === "done") {
        await this.open(job, file, work);
        return;
      }
      if (job.status === "failed") throw Object.assign(new Error(job.error.message), job.error);
      if (job.status === "cancelled") {
        if (this.work === work) this.finish();
        return;
      }
      this.tellProgress(job);
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      try {
        work.job = await getJson(job.links.self, { signal });
      } catch (error) {
        if (error.code !== "unreachable") throw error;
        await waitForService();
      }
    }
  }

  tellProgress({ status, progress }) {
    if (status === "queued") {
      this.tell("Waiting for its turn…", null);
      return;
    }
    const { done_s: done, total_s: total, share, left_s: rest } = progress;
    const far = total ? `${time(done)} of ${time(total)}` : time(done);
    this.tell(`Analysing… ${far}${rest ? `, ${left(rest)} left` : ""}`, share);
  }

  tell(words, share) {
    byId("progress-text").textContent = words;
    const bar = byId("progress-bar");
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  async cancel() {
    const { work } = this;
    if (!work) return;
    work.abort.abort();
    this.finish();
    if (work.job) await ask(work.job.links.cancel, { method: "POST" }).catch(showError);
    this.recent.refresh();
  }

  finish() {
    this.work = null;
    this.start();
  }

  failed(error, work) {
    if (this.work === work) this.finish();
    showError(error);
  }

  async open(job, file, work = null) {
    clearAlerts();
    try {
      const [result, windows, waveform] = await Promise.all([
        getJson(`${job.links.result}?response_format=json`),
        getJson(job.links.windows),
        getJson(`${job.links.waveform}?points=${POINTS}`).catch(() => null),
      ]);
      if (this.work !== work) return; // another one was begun in between
      this.work = null;
      address(`#job=${job.id}`);
      this.show("result");
      this.result?.close();
      const model = this.models.find((each) => each.id === job.model) ?? this.models[0];
      const parts = { result, windows, waveform, file, model };
      this.result = new Result(byId("result"), job, parts, { failed: showError, leave: () => this.start() });
      this.result.title.focus({ preventScroll: true });
      byId("announce").textContent = `${job.file}: ${byId("summary-title").textContent}`;
      scrollTo({ top: 0 });
      this.recent.refresh();
    } catch (error) {
      this.failed(error, work);
    }
  }
}

/** Let the address name what is seen, so that it can be gone back to. */
function address(hash) {
  if (location.hash !== hash) history.pushState(null, "", hash || location.pathname);
}
