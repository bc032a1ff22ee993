// What was found in a recording: segments and windows, and which of them lie at a moment.

export class Found {
  constructor(result, windows) {
    this.result = result;
    this.labels = result.model.labels;
    this.segments = result.segments;
    this.windows = windows.start_ms.map((start, at) => ({
      start_ms: start, end_ms: windows.end_ms[at], channel: windows.channel[at], scores: windows.scores[at],
    }));
    this.channels = [...new Set(this.segments.map((each) => each.channel))].sort((a, b) => a - b);
    if (!this.channels.length) this.channels = [null];
    this.channel = this.channels[0];
    const steps = this.channels.flatMap((channel) => this.of(channel, this.windows).map((each, at, own) => {
      const step = at ? each.start_ms - own[at - 1].start_ms : 0;
      return step > 0 ? step : (each.end_ms - each.start_ms) / 2;
    }));
    this.hop = steps.reduce((least, each) => Math.min(least, each), 1000); // pauses make steps longer, never shorter
  }

  of(channel, what = this.segments) {
    return what.filter((each) => each.channel === channel);
  }

  segmentAt(seconds) {
    const at = 1000 * seconds;
    return this.of(this.channel).find((each) => each.start_ms <= at && at < each.end_ms)
      ?? this.of(this.channel).find((each) => at === each.end_ms) ?? null;
  }

  /** The window whose middle is nearest, of those that hold the moment. */
  windowAt(seconds) {
    const at = 1000 * seconds;
    const middle = (each) => Math.abs((each.start_ms + each.end_ms) / 2 - at);
    return this.of(this.channel, this.windows).filter((each) => each.start_ms <= at && at <= each.end_ms)
      .reduce((best, each) => (!best || middle(each) < middle(best) ? each : best), null);
  }
}
