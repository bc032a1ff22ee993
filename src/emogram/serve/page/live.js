// The live mode: the microphone goes to the service as it sounds, and results come back.

import { getJson, openStream, ServiceError } from "./api.js";
import { Bars, legend } from "./bars.js";
import { canvasColours, labelColours, onTheme } from "./colours.js";
import { byId, calm, fitted, make } from "./dom.js";
import { clearAlerts, showError, waitForService } from "./messages.js";
import { loudness, openMicrophone, toInt16 } from "./microphone.js";
import { limitsOf, summaryOf } from "./summary.js";
import { percent, spoken, time } from "./text.js";
import { drawStack } from "./tracks.js";
import { Axis } from "./axis.js";

const SHOWN_S = 60;
const SPEAKS = 0.5; // probability of speech from which somebody is said to speak
const SILENT_S = 1.5;
const TRIES = 5;
const BEHIND_S = 3;
const SMOOTHING = 0.18; // of the way to the newest scores, at each frame

export class LiveMode {
  constructor(models) {
    this.use(models[0]);
    this.session = null;
    byId("live-start").addEventListener("click", () => this.begin());
    byId("live-stop").addEventListener("click", () => this.end());
    byId("live-limits").replaceChildren(limitsOf(models[0]));
    onTheme(() => this.drawStrip());
    new ResizeObserver(() => this.drawStrip()).observe(byId("live-strip"));
  }

  use({ labels }) {
    this.labels = labels;
    this.bars = new Bars(byId("live-bars"), labels, "Probabilities now");
    this.colours = labelColours(labels);
    byId("live-legend").replaceChildren(legend(labels));
    this.bars.show(null);
  }

  state(words, kind = "") {
    if (byId("live-state").textContent !== words) byId("live-state").textContent = words;
    byId("live-state").dataset.kind = kind;
  }

  async begin() {
    clearAlerts();
    byId("live-start").disabled = true;
    this.windows = [];
    this.target = null;
    this.shown = null;
    this.heard = 0;
    this.offset = 0; // seconds of sessions before this one, where the connection was lost
    this.latest = 0;
    this.lastSpeech = -Infinity;
    this.level = 0;
    byId("live-log").replaceChildren();
    byId("live-summary").replaceChildren();
    byId("live-empty").hidden = false;
    try {
      await getJson("/v1/models"); // asks for the token, and tells whether the service is there
      this.microphone = await openMicrophone((samples) => this.hear(samples));
      await this.connect();
      await this.microphone.start();
      byId("live-start").hidden = true;
      byId("live-stop").hidden = false;
      byId("live-stop").focus();
      this.frame();
    } catch (error) {
      await this.microphone?.stop().catch(() => {});
      this.off();
      showError(error);
    }
  }

  /** Open a session; resolves once it takes sound. */
  connect() {
    this.state("Connecting…");
    return new Promise((resolve, reject) => {
      let socket;
      try {
        socket = openStream();
      } catch {
        reject(new ServiceError("unauthorized", "a token with such signs cannot be sent over a WebSocket by a browser"));
        return;
      }
      const session = { socket, isOpen: false, isClosing: false, problem: null };
      this.session = session;
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === "session.created") {
          this.interval = message.interval_ms;
          if (this.microphone.sampleRate !== message.audio.sample_rate) {
            socket.send(JSON.stringify({ type: "session.update", sample_rate: this.microphone.sampleRate }));
          }
          session.isOpen = true;
          this.offset = this.heard / this.microphone.sampleRate;
          this.state("Listening…", "on");
          resolve();
        }
        this.told(message, session);
      };
      socket.onclose = () => {
        reject(session.problem ?? new ServiceError("unreachable", "no answer"));
        if (this.session === session && session.isOpen && !session.isClosing) this.lost(session);
        session.closed?.();
      };
    });
  }

  /** The connection broke: say so and come back, unless the service sent us away. */
  async lost({ problem }) {
    this.session = null;
    if (problem) {
      await this.end();
      showError(problem);
      return;
    }
    for (let attempt = 1; attempt <= TRIES && this.microphone; attempt++) {
      this.state(`The connection broke; trying again (${attempt} of ${TRIES})…`, "warn");
      await new Promise((resolve) => setTimeout(resolve, 800 * attempt));
      try {
        await this.connect();
        return;
      } catch { /* again */ }
    }
    if (!this.microphone) return;
    await this.end();
    waitForService();
  }

  hear(samples) {
    this.heard += samples.length;
    this.level = loudness(samples);
    const { session } = this;
    if (!session?.isOpen || session.socket.readyState !== WebSocket.OPEN) return;
    session.socket.send(toInt16(samples));
    const behind = session.socket.bufferedAmount / 2 / this.microphone.sampleRate;
    if (behind > BEHIND_S) this.state(`The service is ${Math.round(behind)} s behind…`, "warn");
  }

  told(message, session) {
    const at = (milliseconds) => milliseconds + 1000 * this.offset;
    if (message.type === "speech") {
      const now = performance.now() / 1000;
      if (message.probability >= SPEAKS) this.lastSpeech = now;
      const isQuiet = now - this.lastSpeech > SILENT_S;
      if (!session.isClosing) this.state(isQuiet ? "Listening… nobody speaks" : "Listening: somebody speaks", isQuiet ? "on" : "speech");
      byId("panel-live").classList.toggle("quiet-now", isQuiet);
    } else if (message.type === "measurement.result") {
      const scores = this.labels.map((label) => message.scores.find((each) => each.label === label).score);
      this.target = scores;
      if (session.isClosing) this.bars.show(scores); // nothing moves any more
      this.windows.push({ start_ms: at(message.start_ms), end_ms: at(message.end_ms), scores });
      if (this.windows.length > 1000) this.windows.shift();
      this.latest = at(message.end_ms) / 1000;
      byId("live-label").textContent = message.abstained ? "unsure" : message.label;
      byId("live-label").dataset.at = `${message.start_ms}`;
      byId("live-sure").textContent = message.abstained
        ? `Too close to call: “${message.label}” comes first with ${percent(message.confidence)}.`
        : `${percent(message.confidence)} sure, over the last two seconds.`;
    } else if (message.type === "utterance.end") {
      byId("live-empty").hidden = true;
      const item = make("li", {}, make("span", { class: "soft" }, `${time(at(message.start_ms) / 1000, true)}–${time(at(message.end_ms) / 1000, true)} `), make("strong", {}, spoken(message)));
      item.dataset.label = message.label ?? "";
      byId("live-log").append(item);
      byId("live-log").scrollTop = byId("live-log").scrollHeight;
    } else if (message.type === "session.closed") {
      session.summary = message;
    } else if (message.type === "error") {
      session.problem = new ServiceError(message.code, message.message);
    }
  }

  async end() {
    const { session, microphone } = this;
    if (!microphone) return;
    byId("live-stop").disabled = true;
    await microphone.stop(); // the last samples still go out
    this.microphone = null;
    if (session?.socket.readyState === WebSocket.OPEN) {
      this.state("Finishing…");
      session.isClosing = true;
      const closed = new Promise((resolve) => { session.closed = resolve; });
      session.socket.send(JSON.stringify({ type: "session.close" }));
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 10000))]);
      session.socket.close();
      this.showSummary(session.summary);
    }
    this.off();
  }

  showSummary(closed) {
    if (!closed) return;
    const segments = Object.keys(closed.summary.shares).length ? [{}] : [];
    const result = { ...closed, segments, audio: { duration_ms: closed.duration_ms }, partial: false };
    const box = summaryOf({ result, labels: this.labels });
    box.id = "live-result";
    byId("live-summary").replaceChildren(box);
  }

  off() {
    this.session = null;
    this.microphone = null;
    this.level = 0;
    this.state("The microphone is off");
    byId("panel-live").classList.remove("quiet-now");
    byId("live-start").hidden = false;
    byId("live-start").disabled = false;
    byId("live-stop").hidden = true;
    byId("live-stop").disabled = false;
    this.drawLevel();
  }

  /** Draw what moves, as long as the microphone is open. */
  frame() {
    if (this.target) {
      const isFirst = !this.shown || calm();
      this.shown = this.target.map((each, at) => (isFirst ? each : this.shown[at] + SMOOTHING * (each - this.shown[at])));
      this.bars.show(this.shown);
    }
    this.drawStrip();
    this.drawLevel();
    if (this.microphone) requestAnimationFrame(() => this.frame());
    else if (this.target) this.bars.show(this.target);
  }

  drawStrip() {
    if (!byId("live-strip").clientWidth) return;
    const axis = new Axis(SHOWN_S);
    const now = this.microphone ? this.heard / this.microphone.sampleRate : this.latest ?? 0;
    axis.end = Math.max(SHOWN_S, now);
    axis.start = axis.end - SHOWN_S;
    const windows = this.windows ?? [];
    drawStack(byId("live-strip"), axis, windows, this.interval, this.labels, this.colours);
  }

  drawLevel() {
    const { context, width, height } = fitted(byId("live-level"));
    const colours = canvasColours();
    context.fillStyle = colours.line;
    context.fillRect(0, height / 2 - 3, width, 6);
    context.fillStyle = colours.wave;
    context.fillRect(0, height / 2 - 3, width * (this.level ?? 0), 6);
  }
}
