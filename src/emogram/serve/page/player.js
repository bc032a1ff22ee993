// Playback of the local file, or of the service's copy of a job that is opened again.

import { getBlob } from "./api.js";
import { token } from "./token.js";

export class Player {
  constructor(job, file, axis, changed, failed) {
    this.axis = axis;
    this.changed = changed;
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.own = null;
    this.until = Infinity;
    this.loaded = this.load(job, file).catch(failed);
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.moved());
    this.audio.addEventListener("error", () => this.audio.getAttribute("src") && this.changed(false, true));
  }

  async load(job, file) {
    if (file || token()) { // an element cannot send the token
      this.own = URL.createObjectURL(file ?? (await getBlob(job.links.audio)));
      this.audio.src = this.own;
    } else this.audio.src = job.links.audio;
  }

  get isPlaying() {
    return !this.audio.paused && !this.audio.ended;
  }

  async toggle() {
    if (this.isPlaying) this.audio.pause();
    else await this.play(this.axis.cursor >= this.axis.duration - 0.05 ? 0 : this.axis.cursor);
  }

  async play(from, until = Infinity) {
    await this.loaded;
    this.until = until;
    this.audio.currentTime = from;
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name !== "AbortError") this.changed(false, true);
    }
  }

  seek(seconds) {
    this.until = Infinity;
    if (this.audio.readyState) this.audio.currentTime = seconds;
  }

  moved() {
    this.changed(this.isPlaying, false);
    const step = () => {
      if (!this.isPlaying) return;
      this.axis.moveTo(this.audio.currentTime);
      if (this.audio.currentTime >= this.until) this.audio.pause();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  close() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    if (this.own) URL.revokeObjectURL(this.own);
  }
}
