// The colours of emotions, those of the package's plots (Okabe and Ito), and of canvases in light and dark.

const EMOTIONS = {
  angry: "#D55E00",
  calm: "#56B4E9",
  disgust: "#009E73",
  fearful: "#CC79A7",
  happy: "#F0E442",
  neutral: "#999999",
  sad: "#0072B2",
  surprised: "#E69F00",
};

/** The colour of each label: its own where it is one of the eight, else one that is free. */
export function labelColours(labels) {
  const all = Object.values(EMOTIONS);
  const unused = Object.keys(EMOTIONS).filter((each) => !labels.includes(each)).map((each) => EMOTIONS[each]);
  const free = unused.length ? unused : all;
  let taken = 0;
  return Object.fromEntries(labels.map((each) => [each, EMOTIONS[each] ?? free[taken++ % free.length]]));
}

/** Black or white, whichever stands out more (contrast ratio of WCAG 2.1). */
export function textOn(colour) {
  const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const linear = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

const LIGHT = { ink: "#1d2433", soft: "#5b6475", line: "#d5dae4", wave: "#3f7fb5", edge: "#00000066", cursor: "#b3261e",
  paper: [[255, 255, 255], [214, 225, 240], [110, 146, 190], [40, 66, 116], [12, 18, 46]] };
const DARK = { ink: "#e9edf5", soft: "#a3adbf", line: "#39435a", wave: "#7fb8e6", edge: "#ffffff44", cursor: "#ff8a80",
  paper: [[14, 18, 30], [28, 44, 84], [58, 98, 152], [140, 180, 214], [246, 248, 252]] };

export const canvasColours = () => (isDark() ? DARK : LIGHT);

/** Colours for grey levels 0..255, as a flat array of RGB. */
export function greyColours() {
  const stops = canvasColours().paper;
  const table = new Uint8ClampedArray(768);
  for (let level = 0; level < 256; level++) {
    const at = (level / 255) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c++) table[3 * level + c] = stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (at - low);
  }
  return table;
}

/** Call back when light and dark change. */
export function onTheme(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  addEventListener("themechange", changed);
}
