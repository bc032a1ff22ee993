// Waveform, segments and stacked probabilities, drawn on canvases along a shared axis.

import { canvasColours, textOn } from "./colours.js";
import { fitted } from "./dom.js";
import { time } from "./text.js";

const FONT = "12px system-ui, sans-serif";

export function drawRuler(canvas, axis) {
  const { context, width, height } = fitted(canvas);
  const colours = canvasColours();
  const { step, found } = axis.ticks(Math.max(2, width / 70));
  context.font = FONT;
  context.fillStyle = colours.soft;
  context.strokeStyle = colours.line;
  for (const each of found) {
    const x = Math.round(axis.x(each, width)) + 0.5;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, 5);
    context.stroke();
    const text = time(each, step < 1);
    const wide = context.measureText(text).width;
    context.fillText(text, Math.min(Math.max(0, x - wide / 2), width - wide), height - 3);
  }
}

/** Draw the lowest and highest samples; with several channels one above the other. */
export function drawWaveform(canvas, axis, wave) {
  const { context, width, height } = fitted(canvas);
  if (!wave) return;
  const peak = Math.max(1e-3, ...wave.channels.map((each) => each.high.reduce((most, high, at) =>
    Math.max(most, Math.abs(high ?? 0), Math.abs(each.low[at] ?? 0)), 0)));
  const lane = height / wave.channels.length;
  const edges = wave.edges_ms;
  context.fillStyle = canvasColours().wave;
  wave.channels.forEach(({ low, high }, number) => {
    const middle = lane * (number + 0.5);
    const scale = (0.94 * lane) / 2 / peak;
    for (let at = 0; at < low.length; at++) {
      if (low[at] === null || edges[at + 1] < 1000 * axis.start || edges[at] > 1000 * axis.end) continue;
      const x = axis.x(edges[at] / 1000, width);
      const wide = Math.max(1, axis.x(edges[at + 1] / 1000, width) - x - (width / low.length > 2 ? 0.5 : 0));
      context.fillRect(x, middle - high[at] * scale, wide, Math.max(1, (high[at] - low[at]) * scale));
    }
  });
}

/** Draw the segments of one channel as a strip with words where they fit; unsure ones are hatched. */
export function drawSegments(canvas, axis, segments, colours, chosen) {
  const { context, width, height } = fitted(canvas);
  const inks = canvasColours();
  context.font = `600 ${FONT}`;
  context.textBaseline = "middle";
  for (const segment of segments) {
    const left = axis.x(segment.start_ms / 1000, width);
    const right = axis.x(segment.end_ms / 1000, width);
    if (right < 0 || left > width) continue;
    const [x, wide] = [Math.max(-2, left), Math.min(width + 2, right) - Math.max(-2, left)];
    const colour = colours[segment.label];
    if (segment.abstained) hatch(context, x, wide, height, inks);
    else {
      context.fillStyle = colour;
      context.fillRect(x, 0, wide, height);
    }
    context.strokeStyle = segment === chosen ? inks.ink : inks.edge;
    context.lineWidth = segment === chosen ? 3 : 1;
    const inset = context.lineWidth / 2;
    context.strokeRect(x + inset, inset, Math.max(0, wide - 2 * inset), height - 2 * inset);
    const word = segment.abstained ? "unsure" : segment.label;
    const needed = context.measureText(word).width;
    if (needed + 12 < wide) {
      const at = Math.max(x, 0) + 7;
      if (segment.abstained) {
        context.fillStyle = `rgb(${inks.paper[0]})`;
        context.fillRect(at - 3, 6, needed + 6, height - 12);
      }
      context.fillStyle = segment.abstained ? inks.ink : textOn(colour);
      if (at + needed + 4 < x + wide) context.fillText(word, at, height / 2 + 0.5);
    }
  }
}

function hatch(context, x, wide, height, inks) {
  context.save();
  context.beginPath();
  context.rect(x, 0, wide, height);
  context.clip();
  context.strokeStyle = inks.soft;
  context.lineWidth = 1;
  for (let at = Math.floor((x - height) / 7) * 7; at < x + wide; at += 7) {
    context.beginPath();
    context.moveTo(at, height);
    context.lineTo(at + height, 0);
    context.stroke();
  }
  context.restore();
}

/** Draw the probabilities of windows, {start_ms, end_ms, scores}, stacked; each stands at its middle. */
export function drawStack(canvas, axis, windows, hopMs, labels, colours) {
  const { context, width, height } = fitted(canvas);
  for (const each of windows) {
    const middle = (each.start_ms + each.end_ms) / 2;
    const from = axis.x((middle - hopMs / 2) / 1000, width);
    const to = axis.x((middle + hopMs / 2) / 1000, width);
    if (to < 0 || from > width) continue;
    let y = height;
    labels.forEach((label, number) => {
      const high = each.scores[number] * height;
      context.fillStyle = colours[label];
      context.fillRect(from, y - high, Math.max(1, to - from + 0.3), high + 0.3);
      y -= high;
    });
  }
}

/** Draw the whole recording small, with a frame about what is seen. */
export function drawMap(canvas, axis, segments, colours) {
  const { context, width, height } = fitted(canvas);
  const inks = canvasColours();
  const scale = width / axis.duration / 1000;
  for (const segment of segments) {
    context.fillStyle = segment.abstained ? inks.line : colours[segment.label];
    const wide = Math.max(1, (segment.end_ms - segment.start_ms) * scale);
    context.fillRect(segment.start_ms * scale, height / 2 - 3, wide, 6);
  }
  context.strokeStyle = inks.ink;
  context.lineWidth = 2;
  const from = (axis.start / axis.duration) * width;
  context.strokeRect(from + 1, 1, Math.max(6, (axis.span / axis.duration) * width - 2), height - 2);
  context.fillStyle = inks.cursor;
  context.fillRect((axis.cursor / axis.duration) * width - 1, 2, 2, height - 4);
}
