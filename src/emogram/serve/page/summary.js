// The whole in words, the segments as a table, and the result in every format.

import { ask } from "./api.js";
import { labelColours } from "./colours.js";
import { make } from "./dom.js";
import { length, percent, time } from "./text.js";
import { token } from "./token.js";

const FORMATS = [
  ["json", "JSON", "everything, for programs"], ["csv", "CSV", "a table for spreadsheets"], ["vtt", "WebVTT", "captions for video"],
  ["textgrid", "TextGrid", "Praat"], ["eaf", "EAF", "ELAN"], ["audacity", "Labels", "Audacity"], ["html", "HTML", "a page to keep"],
  ["jsonl", "JSONL", "one segment a line"], ["parquet", "Parquet", "data frames"], ["rttm", "RTTM", "diarisation tools"],
];
const FIRST_ROWS = 200;

export function summaryOf({ result, labels, channels = [null] }) {
  const { summary, segments } = result;
  const shares = Object.entries(summary.shares).sort((a, b) => b[1] - a[1]);
  const box = make("section", { class: "card-box", id: "summary", "aria-labelledby": "summary-title" });
  const title = make("h2", { id: "summary-title" }, headline(segments, shares));
  const warnings = result.warnings.filter((each) => segments.length || each !== "no speech found");
  const heads = make("ul", { class: "warnings" }, ...warnings.map((each) => make("li", {}, each)));
  if (!segments.length) {
    box.append(title, make("p", {}, "Nobody is heard to speak long enough to be judged. Check that the right file or microphone was chosen, and that it is loud enough; music and noise are left out."), heads);
    return box;
  }
  const colours = labelColours(labels);
  const strip = make("div", { class: "shares", "aria-hidden": "true" }, ...shares.map(([name, share]) => {
    const piece = make("span", { class: name === "unsure" ? "hatched" : "" });
    piece.style.flexGrow = share;
    if (colours[name]) piece.style.background = colours[name];
    return piece;
  }));
  const list = make("ul", { class: "share-list" }, ...shares.map(([name, share]) => {
    const dot = make("span", { class: name === "unsure" ? "dot hatched" : "dot", "aria-hidden": "true" });
    if (colours[name]) dot.style.background = colours[name];
    return make("li", {}, dot, make("span", {}, name), make("strong", {}, percent(share)));
  }));
  const unsure = summary.shares.unsure ?? 0;
  box.append(title, make("p", { class: "soft" }, `Of ${length(summary.speech_s)} of speech${channels.length > 1 ? ", all channels together," : ""} in ${length(result.audio.duration_ms / 1000)}:`), strip, list);
  if (unsure > 0) box.append(make("p", { class: "soft small" }, "“Unsure” means that the model would be wrong too often there, so it does not choose."));
  if (result.partial) box.append(make("p", {}, make("strong", {}, "Only a part could be read.")));
  if (warnings.length) box.append(heads);
  return box;
}

function headline(segments, shares) {
  if (!segments.length) return "No speech found";
  const [name, share] = shares[0];
  if (share > 0.995) return name === "unsure" ? "Unsure throughout" : `Sounds ${name} throughout`;
  if (share > 0.5) return `Mostly ${name}`;
  return `A mix of emotions, ${shares.find(([each]) => each !== "unsure")[0]} most often`;
}

/** Links to the result in each format; with a token they are fetched first, for a link cannot carry it. */
export function downloadsOf(job, failed) {
  const link = ([format, name, use]) => make("li", {}, make("a", {
    href: `${job.links.result}?response_format=${format}`, download: "", "data-format": format,
    onclick: (event) => token() && fetchFirst(event).catch(failed),
  }, make("strong", {}, name), make("span", { class: "soft small" }, use)));
  return make("section", { class: "card-box", "aria-labelledby": "downloads-title" },
    make("h2", { id: "downloads-title" }, "Download"), make("ul", { class: "downloads" }, ...FORMATS.map(link)));
}

async function fetchFirst(event) {
  event.preventDefault();
  const response = await ask(event.currentTarget.href);
  const named = /filename\*=utf-8''([^;]+)/i.exec(response.headers.get("Content-Disposition") ?? "");
  const plain = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "");
  const address = URL.createObjectURL(await response.blob());
  make("a", { href: address, download: named ? decodeURIComponent(named[1]) : plain?.[1] ?? "result" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** The segments as a table; a click on a time goes there. */
export function tableOf({ segments, channels }, go) {
  const many = channels.length > 1;
  const heads = ["From", "To", ...(many ? ["Channel"] : []), "Sounds", "How sure"];
  const row = (each) => make("tr", {},
    make("td", {}, make("button", { type: "button", class: "link", onclick: () => go(each) }, time(each.start_ms / 1000, true))),
    make("td", {}, time(each.end_ms / 1000, true)), many ? make("td", {}, String(each.channel)) : null,
    make("td", {}, each.abstained ? `unsure (${each.label}?)` : each.label), make("td", {}, percent(each.confidence)));
  const body = make("tbody", {}, ...segments.slice(0, FIRST_ROWS).map(row));
  const more = segments.length > FIRST_ROWS
    ? make("button", { type: "button", onclick: (event) => { body.append(...segments.slice(FIRST_ROWS).map(row)); event.currentTarget.remove(); } }, `Show all ${segments.length}`)
    : null;
  return make("details", { class: "card-box", id: "as-table" }, make("summary", {}, `The timeline as a table (${segments.length})`),
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Segments" },
      make("table", { class: "segments" }, make("thead", {}, make("tr", {}, ...heads.map((each) => make("th", { scope: "col" }, each)))), body)), more);
}

/** Three sentences about the model: what taught it, how often it is right, what it is not for. */
export function limitsOf(model) {
  return make("aside", { class: "limits-box", "aria-label": "What this model is, and is not" },
    make("h2", {}, "Before you rely on this"), ...model.limits.map((each) => make("p", {}, each)),
    make("p", {}, make("a", { href: `/card?model=${encodeURIComponent(model.id)}` }, "Read the whole model card")));
}
