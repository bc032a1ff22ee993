// Records the microphone into a WAV file, which every service can read.

import { canvasColours } from "./colours.js";
import { byId, fitted } from "./dom.js";
import { clearAlerts, showError } from "./messages.js";
import { loudness, openMicrophone, toInt16 } from "./microphone.js";
import { time } from "./text.js";

const MOST_S = 3600;
const BARS = 48;

export class Recorder {
  /** `done` gets the recording as a File. */
  constructor(done) {
    this.done = done;
    this.microphone = null;
    this.busy = false;
    byId("record").addEventListener("click", () => this.toggle());
  }

  async toggle() {
    if (this.busy) return;
    this.busy = true;
    try {
      if (this.microphone) await this.stop();
      else await this.begin();
    } catch (error) {
      this.reset();
      showError(error);
    } finally {
      this.busy = false;
    }
  }

  async begin() {
    clearAlerts();
    this.parts = [];
    this.levels = [];
    this.heard = 0;
    this.microphone = await openMicrophone((samples) => this.hear(samples));
    byId("record").textContent = "Stop and analyse";
    byId("record").classList.add("recording");
    byId("recorder").hidden = false;
    await this.microphone.start();
  }

  hear(samples) {
    this.parts.push(toInt16(samples));
    this.heard += samples.length;
    this.levels = [...this.levels, loudness(samples)].slice(-BARS);
    byId("recorder-time").textContent = time(this.heard / this.microphone.sampleRate);
    this.draw();
    if (this.heard > MOST_S * this.microphone.sampleRate) this.toggle();
  }

  draw() {
    const { context, width, height } = fitted(byId("recorder-level"));
    context.fillStyle = canvasColours().cursor;
    this.levels.forEach((level, at) => {
      const high = Math.max(2, level * height);
      context.fillRect((at * width) / BARS, (height - high) / 2, width / BARS - 2, high);
    });
  }

  async stop() {
    const { microphone } = this;
    await microphone.stop();
    const rate = microphone.sampleRate;
    this.reset();
    const now = new Date();
    const digits = (number) => String(number).padStart(2, "0");
    const name = `recording ${now.getFullYear()}-${digits(now.getMonth() + 1)}-${digits(now.getDate())} ${digits(now.getHours())}.${digits(now.getMinutes())}.${digits(now.getSeconds())}.wav`;
    this.done(new File([wavHead(2 * this.heard, rate), ...this.parts], name, { type: "audio/wav" }));
  }

  reset() {
    this.microphone = null;
    byId("record").textContent = "Record";
    byId("record").classList.remove("recording");
    byId("recorder").hidden = true;
  }
}

/** The 44 bytes before so many bytes of mono 16-bit samples. */
function wavHead(size, rate) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, k) => head.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return head.buffer;
}
