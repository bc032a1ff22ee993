// The time axis that all tracks share: what stretch is seen, where the cursor stands, and who wants to know.

const SHORTEST_S = 0.5;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];

export class Axis extends EventTarget {
  constructor(durationS) {
    super();
    this.duration = durationS;
    this.start = 0;
    this.end = durationS;
    this.cursor = 0;
  }

  get span() {
    return this.end - this.start;
  }

  x(seconds, width) {
    return ((seconds - this.start) / this.span) * width;
  }

  seconds(x, width) {
    return this.start + (x / width) * this.span;
  }

  show(start, span) {
    const length = Math.min(this.duration, Math.max(Math.min(SHORTEST_S, this.duration), span));
    this.start = Math.min(Math.max(0, start), this.duration - length);
    this.end = this.start + length;
    this.dispatchEvent(new Event("view"));
  }

  /** Zoom about a moment, which stays where it is on the screen. */
  zoom(factor, about = this.cursor) {
    const at = about >= this.start && about <= this.end ? about : (this.start + this.end) / 2;
    const span = this.span / factor;
    this.show(at - ((at - this.start) / this.span) * span, span);
  }

  pan(seconds) {
    this.show(this.start + seconds, this.span);
  }

  whole() {
    this.show(0, this.duration);
  }

  moveTo(seconds, { follow = true } = {}) {
    this.cursor = Math.min(Math.max(0, seconds), this.duration);
    const isOutside = this.cursor < this.start || this.cursor > this.end;
    if (follow && isOutside) this.show(this.cursor - 0.1 * this.span, this.span);
    this.dispatchEvent(new Event("cursor"));
  }

  /** Round times in sight, at most so many. */
  ticks(most) {
    const step = STEPS.find((each) => this.span / each < most) ?? 14400;
    const found = [];
    for (let k = Math.ceil(this.start / step - 1e-9); k * step <= this.end + 1e-9; k++) found.push(k * step);
    return { step, found };
  }
}
