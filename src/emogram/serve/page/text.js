// How numbers, times and errors are said in words.

/** 65.24 s -> "1:05.2"; without tenths "1:05". */
export function time(seconds, tenths = false) {
  const steps = Math.round(Math.max(0, seconds) * (tenths ? 10 : 1));
  const unit = tenths ? 10 : 1;
  const whole = Math.floor(steps / unit);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const text = (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`) + `:${String(rest).padStart(2, "0")}`;
  return tenths ? `${text}.${steps % 10}` : text;
}

export const percent = (share) => (share > 0 && share < 0.005 ? "< 1 %" : `${Math.round(100 * share)} %`);

/** How long something is: "15.6 s", "2:05". */
export const length = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : time(seconds));

/** Seconds left, roughly: "about 20 s", "about 3 min". */
export function left(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 5) * 5} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

export function moment(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

export const spoken = (item) =>
  item.label === null ? "too little speech to judge" : item.abstained ? "unsure" : `${item.label}, ${percent(item.confidence)}`;

const WHAT_TO_DO = {
  unreadable: "This is not sound that can be read. Choose a WAV, FLAC, OGG, MP3 or another sound file.",
  needs_extra: "This kind of file needs the extra “media” on the service. Choose a WAV, FLAC, OGG or MP3 file.",
  silent: "The recording is silent throughout. Check the microphone, or choose another file.",
  too_large: "The file is larger than this service takes. Cut it into parts.",
  too_long: "This is longer than the service takes. Cut it into parts.",
  busy: "The service has much to do. Try again in a moment.",
  overloaded: "The service has much to do. Try again in a moment.",
  draining: "The service is being stopped. Try again when it runs again.",
  disk_full: "The service has no room left. Delete recordings below, and try again.",
  timeout: "This took too long and was given up. Try a shorter stretch or file.",
  not_found: "This recording is no longer kept. Send it again.",
  gone: "This recording is no longer kept. Send it again.",
  unreachable: "The service does not answer. Is it still running? This page tries again by itself.",
  microphone: "The microphone cannot be used. Allow it in the browser’s address bar, and see that one is connected.",
  unauthorized: "The token is not right. Try again with another one.",
};

/** Say what went wrong: first what to do, then what the service said. */
export function problemWords(error) {
  const advice = WHAT_TO_DO[error.code];
  const said = error.message && error.code !== "unreachable" ? error.message : "";
  return { advice: advice ?? "That did not work.", said };
}
