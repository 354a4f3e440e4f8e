"use strict";
/* Large charts, drawn when a part is opened for the first time. */

const bins = JSON.parse(document.getElementById("bins")?.textContent ?? "null");

function make(name, attributes, ...children) {
  const space = ["svg", "rect", "title"].includes(name) ? "http://www.w3.org/2000/svg" : null;
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function percent(share) {
  if (share > 0 && share < 1e-4) return "<0.01%";
  return `${(100 * share).toLocaleString("en", { maximumSignificantDigits: 2 })}%`;
}

function bars(figure, values, shares) {
  const top = Math.max(...shares) || 1;
  const svg = make("svg", { viewBox: `0 0 ${shares.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const { from, to } = figure.dataset;
  if (from) svg.append(make("rect", { class: "w", x: from, width: to - from + 1, height: 1 }));
  const peak = shares.indexOf(Math.max(...shares));
  shares.forEach((share, at) => {
    const title = make("title", {}, `${bins.labels[at]}: ${values[at].toLocaleString("en")} (${percent(share)})`);
    const bar = { x: at, width: 1, y: 1 - share / top, height: share / top, class: at === peak ? "k" : "bar" };
    svg.append(make("rect", bar), make("rect", { x: at, width: 1, height: 1, class: "hit" }, title));
  });
  return svg;
}

function numbers(values, shares) {
  const heads = [bins.unit, "weight", "share"].map((text) => make("th", { scope: "col" }, text));
  const rows = shares.map((share, at) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, bins.labels[at]),
      make("td", {}, values[at].toLocaleString("en")),
      make("td", {}, percent(share)),
    ),
  );
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("details", { class: "numbers" }, make("summary", {}, `Numbers of each ${bins.unit}`), table);
}

function draw(part) {
  const figure = part.querySelector("figure");
  if (!figure || figure.querySelector("svg")) return;
  const values = figure.dataset.v.split(" ").map(Number);
  const shares = values.map((value, at) => (bins.totals[at] > 0 ? value / bins.totals[at] : 0));
  const ends = [...new Set([0, bins.labels.length >> 1, bins.labels.length - 1])];
  const axis = make("div", { class: "axis" }, ...ends.map((at) => make("span", {}, bins.labels[at])));
  const top = make("span", { class: "top" }, percent(Math.max(...shares)));
  figure.append(make("div", { class: "plot" }, top, bars(figure, values, shares), axis), numbers(values, shares));
}

for (const part of document.querySelectorAll("details.part")) part.addEventListener("shown", () => draw(part));
