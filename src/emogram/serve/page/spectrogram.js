// The spectrogram as the model sees it, fetched stretch by stretch, and the explanation that lies over it.

import { getBlob } from "./api.js";
import { canvasColours, greyColours } from "./colours.js";
import { fitted } from "./dom.js";

const EXACT_S = 60; // up to here the service draws what the model sees
const WAIT_MS = 180;
const TICKS_HZ = [250, 500, 1000, 2000, 4000, 8000];

export class Spectrogram {
  /** `told` is called when something new can be drawn, `failed` with errors. */
  constructor(job, axis, told, failed) {
    this.address = job.links.spectrogram;
    this.axis = axis;
    this.told = told;
    this.failed = failed;
    this.pictures = []; // {start, end, grey, image}, the finest last
    this.timer = 0;
    this.explanation = null;
    this.stopping = new AbortController();
    this.fetch(0, axis.duration);
    axis.addEventListener("view", () => this.refine(), { signal: this.stopping.signal });
  }

  close() {
    this.stopping.abort();
    clearTimeout(this.timer);
  }

  refine() {
    clearTimeout(this.timer);
    const { start, end, span, duration } = this.axis;
    if (span > 0.7 * duration) return;
    const isThere = this.pictures.some((each) => each.start <= start && each.end >= end && each.end - each.start <= Math.max(3 * span, 20));
    if (isThere) return;
    const margin = Math.min(span / 2, Math.max(0, (EXACT_S - 0.01 - span) / 2));
    this.timer = setTimeout(() => this.fetch(Math.max(0, start - margin), Math.min(duration, end + margin)), WAIT_MS);
  }

  async fetch(start, end) {
    const [from, to] = [Math.floor(1000 * start), Math.ceil(1000 * end)];
    try {
      const blob = await getBlob(`${this.address}?start_ms=${from}&end_ms=${to}`, { signal: this.stopping.signal });
      const grey = await createImageBitmap(blob);
      this.pictures.push({ start: from / 1000, end: Math.min(to / 1000, this.axis.duration), grey, image: coloured(grey) });
      this.pictures.sort((a, b) => b.end - b.start - (a.end - a.start));
      if (this.pictures.length > 12) this.pictures.splice(1, 1);
      this.told();
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
    }
  }

  /** Whether all in sight is as the model sees it, and not an overview with other bands. */
  get isExact() {
    const { start, end } = this.axis;
    const slack = 0.02; // stretches are asked for in milliseconds
    return this.pictures.some((each) => each.end - each.start <= EXACT_S && each.start <= start + slack && each.end >= end - slack);
  }

  recolour() {
    for (const each of this.pictures) each.image = coloured(each.grey);
  }

  draw(canvas) {
    const { context, width, height } = fitted(canvas);
    const { axis } = this;
    for (const { start, end, image } of this.pictures) {
      if (end < axis.start || start > axis.end) continue;
      const x = axis.x(start, width);
      const wide = axis.x(end, width) - x;
      context.imageSmoothingEnabled = image.width > wide;
      context.drawImage(image, x, 0, wide, height);
    }
    if (this.explanation) drawExplanation(context, this.explanation, axis, width, height);
  }
}

/** Turn a grey picture into the colours of the page. */
function coloured(grey) {
  const canvas = new OffscreenCanvas(grey.width, grey.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(grey, 0, 0);
  const pixels = context.getImageData(0, 0, grey.width, grey.height);
  const table = greyColours();
  for (let at = 0; at < pixels.data.length; at += 4) {
    const level = 3 * pixels.data[at];
    pixels.data[at] = table[level];
    pixels.data[at + 1] = table[level + 1];
    pixels.data[at + 2] = table[level + 2];
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** A map of the service as a picture: orange where the sound spoke for the label, blue where it spoke against. */
export function explanationPicture({ map }) {
  const [wide, high] = [map.length, map[0].length];
  const most = Math.max(1e-6, ...map.map((frame) => Math.max(...frame.map(Math.abs))));
  const canvas = new OffscreenCanvas(wide, high);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(wide, high);
  map.forEach((frame, x) => frame.forEach((value, band) => {
    const at = 4 * ((high - 1 - band) * wide + x);
    const [red, green, blue] = value >= 0 ? [230, 97, 0] : [0, 114, 178];
    pixels.data.set([red, green, blue, 235 * Math.min(1, Math.abs(value) / most) ** 0.8], at);
  }));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function drawExplanation(context, { picture, start, end }, axis, width, height) {
  const x = axis.x(start, width);
  const wide = axis.x(end, width) - x;
  context.fillStyle = `rgb(${canvasColours().paper[0].join(" ")} / 60%)`; // the sound steps back, so that the marks stand out
  context.fillRect(x, 0, wide, height);
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, x, 0, wide, height);
  context.strokeStyle = canvasColours().ink;
  context.lineWidth = 2;
  context.strokeRect(x + 1, 1, wide - 2, height - 2);
}

/** Frequencies to write at the side, as {text, share of the height from the top}. */
export function frequencyTicks(centres) {
  const last = centres.length - 1;
  return TICKS_HZ.filter((hertz) => hertz >= centres[0] && hertz <= centres[last]).map((hertz) => {
    const above = centres.findIndex((each) => each >= hertz);
    const band = above <= 0 ? 0 : above - 1 + (hertz - centres[above - 1]) / (centres[above] - centres[above - 1]);
    return { text: hertz >= 1000 ? `${hertz / 1000}k` : `${hertz}`, top: 1 - (band + 0.5) / (last + 1) };
  });
}
