// A finished recording: tracks in step, playback, the chosen moment, summary, table and downloads.

import { ask } from "./api.js";
import { Axis } from "./axis.js";
import { legend } from "./bars.js";
import { labelColours, onTheme } from "./colours.js";
import { make } from "./dom.js";
import { Found } from "./found.js";
import { Moment } from "./moment.js";
import { Player } from "./player.js";
import { frequencyTicks, Spectrogram } from "./spectrogram.js";
import { downloadsOf, limitsOf, summaryOf, tableOf } from "./summary.js";
import { moment as dateText, time } from "./text.js";
import { drawMap, drawRuler, drawSegments, drawStack, drawWaveform } from "./tracks.js";

export class Result {
  /** `parts`: {result, windows, waveform (may be null), file (may be null), model}; `leave` shows the start again. */
  constructor(place, job, parts, { failed, leave }) {
    Object.assign(this, { job, place, failed, leave, wave: parts.waveform });
    this.found = new Found(parts.result, parts.windows);
    this.axis = new Axis(Math.max(0.01, parts.result.audio.duration_ms / 1000));
    this.colours = labelColours(this.found.labels);
    this.stopping = new AbortController();
    this.queued = false;
    this.build(parts.model);
    const redraw = () => this.redraw();
    this.spectrogram = new Spectrogram(job, this.axis, redraw, failed);
    this.player = new Player(job, parts.file, this.axis, (playing, broken) => this.playing(playing, broken), failed);
    this.axis.addEventListener("view", redraw);
    this.axis.addEventListener("cursor", () => this.cursorMoved());
    this.resizing = new ResizeObserver(redraw);
    this.resizing.observe(this.tracks);
    onTheme(() => { this.spectrogram.recolour(); redraw(); });
    this.listen();
    this.cursorMoved();
    redraw();
  }

  build(model) {
    const { job, found } = this;
    const canvas = (name) => make("canvas", { class: `track ${name}`, "aria-hidden": "true" });
    this.ruler = canvas("ruler");
    this.waveform = canvas("waveform");
    this.picture = canvas("spectrogram");
    this.lanes = found.channels.map((channel) => ({ channel, strip: canvas("segments-strip"), stack: canvas("stack") }));
    this.map = canvas("map");
    this.cursor = make("div", { class: "cursor", "aria-hidden": "true" });
    this.reading = make("div", { class: "reading", "aria-hidden": "true", hidden: true });
    this.afar = make("p", { class: "afar" }, "From afar: zoom in to see what the model sees");
    const scale = this.scale = make("div", { class: "hertz", "aria-hidden": "true" }, ...frequencyTicks(model.frequencies_hz).map(({ text, top }) => {
      const tick = make("span", {}, text);
      tick.style.top = `${100 * top}%`;
      return tick;
    }));
    const lanes = this.lanes.flatMap(({ channel, strip, stack }) => [
      make("div", { class: "track-name" }, channel === null ? "Emotion" : `Channel ${channel}`), strip, stack]);
    this.tracks = make("div", {
      class: "tracks", id: "tracks", tabIndex: 0, role: "slider", "aria-label": "Moment of the recording",
      "aria-describedby": "tracks-hint", "aria-valuemin": "0", "aria-valuemax": String(this.axis.duration),
    }, this.ruler, this.waveform, make("div", { class: "with-scale" }, this.picture, scale, this.afar), ...lanes, this.cursor, this.reading);
    this.playButton = make("button", { type: "button", class: "primary play", id: "play", onclick: () => this.player.toggle() }, "Play");
    this.clock = make("span", { class: "clock", id: "clock" });
    const zoom = (name, label, act) => make("button", { type: "button", class: "square", "aria-label": label, title: label, onclick: act }, name);
    const bar = make("div", { class: "row controls" }, this.playButton, this.clock, make("span", { class: "grow" }),
      zoom("−", "Zoom out", () => this.axis.zoom(0.5)), zoom("+", "Zoom in", () => this.axis.zoom(2)),
      zoom("↔", "Show all", () => this.axis.whole()));
    const momentBox = make("section", { class: "card-box", id: "moment", "aria-labelledby": "moment-title" });
    this.moment = new Moment(job, found, momentBox, (shown) => this.explained(shown), this.failed);
    const remove = make("button", { type: "button", class: "danger", id: "delete", onclick: () => this.remove() }, "Delete this recording");
    const kept = job.expires ? `Kept by the service until ${dateText(job.expires)}.` : "Kept by the service.";
    this.title = make("h2", { class: "file", tabIndex: -1, id: "result-title" }, job.file);
    const head = make("div", { class: "row spread head" }, this.title,
      make("button", { type: "button", id: "another", onclick: this.leave }, "Another recording"));
    const main = make("div", { class: "main" },
      make("section", { class: "card-box", "aria-label": "Timeline" }, bar, this.tracks, this.map,
        legend(found.labels, { withUnsure: found.segments.some((each) => each.abstained) }),
        make("p", { class: "soft small", id: "tracks-hint" }, "Click or use the arrow keys to choose a moment; space plays, + and − zoom, ? shows all keys.")),
      downloadsOf(job, this.failed),
      tableOf(found, (segment) => this.choose((segment.start_ms + segment.end_ms) / 2000, segment.channel)),
      make("section", { class: "keeping row spread", "aria-label": "Keeping" }, make("p", { class: "soft small" }, kept), remove));
    const side = make("div", { class: "side" }, summaryOf(found), momentBox, limitsOf(model));
    this.place.replaceChildren(head, make("div", { class: "columns" }, main, side));
    this.place.hidden = false;
  }

  listen() {
    const { axis, tracks } = this;
    const at = (event) => {
      const box = tracks.getBoundingClientRect();
      return axis.seconds(event.clientX - box.left, box.width);
    };
    let dragging = false;
    tracks.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      dragging = true;
      if (event.pointerType === "mouse") tracks.setPointerCapture(event.pointerId);
      const lane = this.lanes.find((each) => each.strip === event.target || each.stack === event.target);
      this.choose(at(event), lane ? lane.channel : this.found.channel);
    });
    tracks.addEventListener("pointermove", (event) => {
      this.read(at(event), event);
      if (dragging && event.buttons) this.choose(at(event), this.found.channel);
    });
    tracks.addEventListener("pointerup", () => { dragging = false; });
    tracks.addEventListener("pointerleave", () => { this.reading.hidden = true; });
    tracks.addEventListener("wheel", (event) => {
      const sideways = event.shiftKey ? event.deltaY : event.deltaX;
      if (event.ctrlKey || event.metaKey) axis.zoom(Math.exp(-event.deltaY / 300), at(event));
      else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) axis.pan((sideways / tracks.clientWidth) * axis.span);
      else return;
      event.preventDefault();
    }, { passive: false });
    tracks.addEventListener("keydown", (event) => this.key(event));
    const drag = (event) => event.buttons && axis.show(((event.offsetX / this.map.clientWidth) * axis.duration) - axis.span / 2, axis.span);
    this.map.addEventListener("pointerdown", (event) => { this.map.setPointerCapture(event.pointerId); drag(event); });
    this.map.addEventListener("pointermove", drag);
  }

  /** Keys of the tracks; true where one was meant. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { axis, found } = this;
    const acts = {
      ArrowRight: () => (event.shiftKey ? this.nextSegment(1) : this.step(1)),
      ArrowLeft: () => (event.shiftKey ? this.nextSegment(-1) : this.step(-1)),
      ArrowUp: () => this.nextLane(-1),
      ArrowDown: () => this.nextLane(1),
      Home: () => this.choose(0), End: () => this.choose(axis.duration),
      PageUp: () => axis.pan(-0.8 * axis.span), PageDown: () => axis.pan(0.8 * axis.span),
      "+": () => axis.zoom(2), "=": () => axis.zoom(2), "-": () => axis.zoom(0.5), 0: () => axis.whole(),
      " ": () => this.player.toggle(),
      Enter: () => found.segmentAt(axis.cursor) && this.playSegment(), w: () => this.moment.toggleWhy(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return false;
    event.preventDefault();
    act();
    return true;
  }

  step(direction) {
    this.choose(this.axis.cursor + (direction * this.found.hop) / 1000);
  }

  nextSegment(direction) {
    const own = this.found.of(this.found.channel);
    const at = 1000 * this.axis.cursor;
    const next = direction > 0 ? own.find((each) => each.start_ms > at) : own.findLast((each) => each.end_ms <= at);
    if (next) this.choose((next.start_ms + next.end_ms) / 2000);
  }

  nextLane(direction) {
    const { channels } = this.found;
    const at = channels.indexOf(this.found.channel) + direction;
    if (channels[at] !== undefined) this.choose(this.axis.cursor, channels[at]);
  }

  playSegment() {
    const segment = this.found.segmentAt(this.axis.cursor);
    this.player.play(segment.start_ms / 1000, segment.end_ms / 1000);
  }

  choose(seconds, channel = this.found.channel) {
    this.found.channel = channel;
    this.axis.moveTo(seconds);
    this.player.seek(this.axis.cursor);
  }

  cursorMoved() {
    const { axis, found, tracks } = this;
    const segment = found.segmentAt(axis.cursor);
    const wasIn = this.chosen;
    this.chosen = segment;
    this.moment.show(axis.cursor);
    this.clock.textContent = `${time(axis.cursor, true)} / ${time(axis.duration, true)}`;
    tracks.setAttribute("aria-valuenow", axis.cursor.toFixed(2));
    const window = found.windowAt(axis.cursor);
    const best = window ? found.labels[window.scores.indexOf(Math.max(...window.scores))] : "";
    const says = segment ? `${segment.abstained ? "unsure" : segment.label}${best && best !== segment.label ? `, this moment ${best}` : ""}` : "nobody speaks";
    tracks.setAttribute("aria-valuetext", `${time(axis.cursor, true)}, ${says}`);
    if (segment !== wasIn) this.redraw();
    else this.drawCursor();
  }

  drawCursor() {
    const { axis, cursor, tracks } = this;
    cursor.style.transform = `translateX(${axis.x(axis.cursor, tracks.clientWidth)}px)`;
    cursor.hidden = axis.cursor < axis.start || axis.cursor > axis.end;
    drawMap(this.map, axis, this.found.segments, this.colours);
  }

  /** Say at the pointer what lies under it. */
  read(seconds, event) {
    if (event.pointerType !== "mouse") return;
    const segment = this.found.segmentAt(seconds);
    const words = segment ? `${segment.abstained ? "unsure" : segment.label}` : "nobody speaks";
    this.reading.textContent = `${time(seconds, true)}  ${words}`;
    this.reading.hidden = false;
    const box = this.tracks.getBoundingClientRect();
    const x = Math.min(event.clientX - box.left + 12, box.width - this.reading.offsetWidth - 4);
    this.reading.style.transform = `translate(${x}px, ${Math.max(0, event.clientY - box.top - 30)}px)`;
  }

  explained(shown) {
    if (!this.spectrogram) return;
    this.spectrogram.explanation = shown;
    this.redraw();
  }

  playing(isPlaying, isBroken) {
    this.playButton.textContent = isPlaying ? "Pause" : "Play";
    if (isBroken) {
      this.playButton.disabled = true;
      this.clock.title = "This browser cannot play this kind of file; everything else works.";
      this.playButton.textContent = "Cannot be played here";
    }
  }

  redraw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (!this.place.isConnected || this.place.hidden) return;
      drawRuler(this.ruler, this.axis);
      drawWaveform(this.waveform, this.axis, this.wave);
      this.spectrogram.draw(this.picture);
      this.scale.hidden = !this.spectrogram.isExact; // an overview has other bands
      this.afar.hidden = this.spectrogram.isExact || !this.spectrogram.pictures.length;
      for (const { channel, strip, stack } of this.lanes) {
        drawSegments(strip, this.axis, this.found.of(channel), this.colours, this.chosen);
        drawStack(stack, this.axis, this.found.of(channel, this.found.windows), this.found.hop, this.found.labels, this.colours);
      }
      this.drawCursor();
    });
  }

  async remove() {
    if (!confirm(`Delete “${this.job.file}” and all that was found in it from the service?`)) return;
    try {
      await ask(this.job.links.self, { method: "DELETE" });
      this.leave();
    } catch (error) {
      this.failed(error);
    }
  }

  close() {
    this.moment.off();
    this.player.close();
    this.spectrogram.close();
    this.resizing.disconnect();
    this.place.replaceChildren();
    this.place.hidden = true;
  }
}
