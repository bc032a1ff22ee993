// What the model says of one moment: all probabilities, and on request why.

import { getJson } from "./api.js";
import { Bars } from "./bars.js";
import { make } from "./dom.js";
import { explanationPicture } from "./spectrogram.js";
import { percent, spoken, time } from "./text.js";

const MOST_S = 10; // that the service explains at once

export class Moment {
  /** `tell` shows or removes an explanation, {picture, start, end} or null. */
  constructor(job, data, place, tell, failed) {
    Object.assign(this, { job, data, tell, failed });
    this.title = make("h2", { id: "moment-title" }, "Choose a moment");
    this.sure = make("p", { class: "soft", id: "moment-sure" }, "Click the tracks, or move along them with the arrow keys.");
    const bars = make("div");
    this.note = make("p", { class: "soft small", id: "moment-note" });
    this.why = make("button", { type: "button", id: "why", disabled: true, "aria-pressed": "false", onclick: () => this.toggleWhy() }, "Why?");
    this.said = make("div", { class: "why", id: "why-text", role: "status" });
    place.replaceChildren(this.title, this.sure, bars, this.note, make("div", { class: "row" }, this.why), this.said);
    this.bars = new Bars(bars, data.labels, "Probabilities at this moment");
    this.bars.show(null);
    this.segment = null;
    this.asked = null;
  }

  show(seconds) {
    this.seconds = seconds;
    const segment = this.data.segmentAt(seconds);
    const window = this.data.windowAt(seconds);
    if (segment !== this.segment) this.off();
    this.segment = segment;
    this.why.disabled = !segment;
    if (!segment) {
      this.title.textContent = `${time(seconds, true)}: nobody speaks`;
      this.sure.textContent = "There is nothing to judge at this moment.";
      this.bars.show(null);
      this.note.textContent = "";
      return;
    }
    this.title.textContent = `${time(seconds, true)}: ${segment.abstained ? "unsure" : segment.label}`;
    const place = `from ${time(segment.start_ms / 1000, true)} to ${time(segment.end_ms / 1000, true)}`;
    this.sure.textContent = segment.abstained
      ? `The segment ${place} is unsure: “${segment.label}” comes first with ${percent(segment.confidence)}, too little to say so.`
      : `The segment ${place} sounds ${spoken(segment)}.`;
    const means = this.data.labels.map((label) => segment.scores.find((each) => each.label === label).score);
    this.bars.show(window ? window.scores : means, window ? means : null);
    this.note.textContent = window
      ? `Bars: the ${((window.end_ms - window.start_ms) / 1000).toFixed(1)} s about this moment. Lines: the whole segment, smoothed.`
      : "Bars: the whole segment.";
  }

  toggleWhy() {
    if (this.why.getAttribute("aria-pressed") === "true") this.off();
    else this.explain();
  }

  off() {
    this.asked?.abort();
    this.asked = null;
    this.why.setAttribute("aria-pressed", "false");
    this.why.textContent = "Why?";
    this.said.replaceChildren();
    this.tell(null);
  }

  async explain() {
    const { segment } = this;
    if (!segment) return;
    this.asked = new AbortController();
    const { signal } = this.asked;
    this.why.setAttribute("aria-pressed", "true");
    this.why.textContent = "Hide why";
    this.said.replaceChildren(make("p", { class: "busy" }, "Hiding one piece after another, to hear what matters…"));
    const [from, to] = stretch(segment, this.seconds);
    try {
      const query = `start_ms=${from}&end_ms=${to}&label=${encodeURIComponent(segment.label)}`;
      const found = await getJson(`${this.job.links.explanation}?${query}`, { signal });
      if (signal.aborted) return;
      const step = found.times_ms.length > 1 ? found.times_ms[1] - found.times_ms[0] : 10;
      this.tell({
        picture: explanationPicture(found),
        start: (found.times_ms[0] - step / 2) / 1000,
        end: (found.times_ms.at(-1) + step / 2) / 1000,
      });
      const alone = found.prediction;
      this.said.replaceChildren(
        make("p", {}, swatch("for"), ` spoke for “${found.label}”, `, swatch("against"), " spoke against it."),
        make("p", { class: "soft small" }, `Over the spectrogram, ${time(from / 1000, true)} to ${time(to / 1000, true)}. Heard alone, this stretch is ${alone.abstained ? "unsure" : alone.label} (${alone.label} ${percent(alone.confidence)}).${segment.channel === null ? "" : " It is heard as the mix of all channels."}`),
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      this.off();
      this.failed(error);
    }
  }
}

const swatch = (kind) => make("span", { class: `swatch ${kind}` }, kind === "for" ? "Orange" : "Blue");

/** The segment, or of a long one what lies about the moment. */
function stretch(segment, seconds) {
  const { start_ms: start, end_ms: end } = segment;
  if (end - start <= 1000 * MOST_S) return [start, end];
  const from = Math.round(Math.min(Math.max(start, 1000 * (seconds - MOST_S / 2)), end - 1000 * MOST_S));
  return [from, from + 1000 * MOST_S];
}
