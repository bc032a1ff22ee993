// One bar for each label, in the model's order, so that a bar never changes its place.

import { labelColours } from "./colours.js";
import { make } from "./dom.js";
import { percent } from "./text.js";

export class Bars {
  constructor(place, labels, name) {
    const colours = labelColours(labels);
    this.rows = labels.map((label) => {
      const fill = make("span", { class: "fill" });
      fill.style.background = colours[label];
      const mark = make("span", { class: "mark", hidden: true });
      const value = make("td", { class: "value" }, "–");
      const row = make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, make("span", { class: "bar", "aria-hidden": "true" }, fill, mark)), value);
      return { label, fill, mark, value, row };
    });
    place.replaceChildren(make("table", { class: "bars", "aria-label": name }, make("tbody", {}, ...this.rows.map((each) => each.row))));
  }

  /** Show probabilities in the order of the labels; null empties the bars. `marks` are shown as lines. */
  show(scores, marks = null) {
    const best = scores ? Math.max(...scores) : null;
    this.rows.forEach(({ fill, mark, value, row }, at) => {
      const share = scores ? scores[at] : 0;
      fill.style.transform = `scaleX(${share})`;
      value.textContent = scores ? percent(share) : "–";
      value.dataset.score = scores ? share : "";
      row.classList.toggle("best", scores !== null && share === best);
      mark.hidden = !marks;
      if (marks) mark.style.left = `${100 * marks[at]}%`;
    });
  }
}

/** What colour stands for what. */
export function legend(labels, { withUnsure = false } = {}) {
  const colours = labelColours(labels);
  const entry = (label) => {
    const dot = make("span", { class: colours[label] ? "dot" : "dot hatched", "aria-hidden": "true" });
    if (colours[label]) dot.style.background = colours[label];
    return make("li", {}, dot, label);
  };
  return make("ul", { class: "legend", "aria-label": "Colours" }, ...[...labels, ...(withUnsure ? ["unsure"] : [])].map(entry));
}
