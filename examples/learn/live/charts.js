// Pictures of many numbers: sticks from a zero line, in rows that fit the width of the page.
import { element } from "../../browser/dom.js";
import { written } from "./equations.js";

export function drawn(tag, attributes = {}) { // an element of SVG
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const HALF = 50; // height of the picture above and below zero, in its own units

function pathOf(values, at, most, start) {
  return at.map((i) => `M${i - start + 0.5} ${HALF}V${(HALF - (HALF * values[i]) / most).toFixed(2)}`).join("");
}

// `layers` are { values, className, at }: sticks of all numbers, or of those in `at`. `lines` are heights.
export function sticks({ layers, width, label, lines = [] }) {
  const length = layers[0].values.length;
  const most = layers.flatMap(({ values }) => Array.from(values)).reduce((m, value) => Math.max(m, Math.abs(value)), 0) || 1;
  const chart = element("div", "", { class: "sticks", role: "img", "aria-label": label });
  for (let start = 0; start < length; start += width) {
    const end = Math.min(start + width, length);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${2 * HALF}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(drawn("path", { class: "zero", d: `M0 ${HALF}H${width}` }));
    for (const { values, className, at = Array.from(values.keys()) } of layers) {
      const own = at.filter((i) => i >= start && i < end);
      svg.append(drawn("path", { class: className, d: pathOf(values, own, most, start) }));
    }
    for (const line of lines) svg.append(drawn("path", { class: "line", d: `M0 ${HALF - (HALF * line) / most}H${width}` }));
    const box = element("div", "", { class: "strip" });
    box.append(svg, element("span", `${start} to ${end - 1}`, { class: "quiet", "aria-hidden": "true" }));
    chart.append(box);
  }
  chart.append(element("p", `Full height: ±${written(most)}`, { "class": "quiet scale", "aria-hidden": "true" }));
  return chart;
}

// A horizontal bar from the middle: to the right for positive values, to the left and hatched for negative ones
export function signedBar(value, most) {
  const bar = element("span", "", { class: `bar ${value < 0 ? "negative" : "positive"}`, "aria-hidden": "true" });
  bar.append(element("i", "", { style: `width: ${((50 * Math.abs(value)) / most).toFixed(1)}%` }));
  return bar;
}
