"use strict";
/* Sorting, filtering, large charts, links that open parts, printing. Without it the page can be read, but is fixed. */

const table = document.querySelector("table.overview");
const body = table.tBodies[0];
const parts = document.getElementById("parts");
const controls = document.getElementById("controls");
const status = controls.querySelector("[role=status]");

const segments = [...body.rows].map((row) => {
  const target = document.getElementById(row.querySelector("a").hash.slice(1));
  return { row, target, part: target.parentElement, text: null };
});

/* -- sorting -- */

const order = new Intl.Collator("en", { numeric: true });

function key(row, column) {
  const cell = row.cells[column];
  if ("s" in cell.dataset) return Number(cell.dataset.s);
  const text = cell.textContent;
  if (column === 0) return text;
  if (text.startsWith("<")) return 0;
  return text === "–" ? -1 : parseFloat(text.replaceAll(",", ""));
}

function compare(a, b) {
  return typeof a === "number" ? a - b : order.compare(a, b);
}

function sort(heading) {
  const column = heading.cellIndex;
  const first = heading.classList.contains("n") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = heading.getAttribute("aria-sort") === first ? other : first;
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const sorted = segments
    .map((segment) => ({ segment, key: key(segment.row, column) }))
    .sort((a, b) => sign * compare(a.key, b.key));
  body.append(...sorted.map(({ segment }) => segment.row));
  parts.append(...sorted.map(({ segment }) => segment.part));
}

function makeSortable(heading) {
  const title = heading.querySelector(".title");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "title";
  button.append(...title.childNodes);
  title.replaceWith(button);
  button.addEventListener("click", () => sort(heading));
}

/* -- filtering -- */

function plain(text) {
  return text.normalize("NFKC").toLowerCase();
}

/* Names, words and texts of items; not the names of other segments, which are links. */
function textOf(segment) {
  const own = segment.part.querySelectorAll("h3, .words, .items");
  return plain([...own].map((each) => each.textContent).join("\n"));
}

function matches(segment, words, trend, group) {
  const { c, g } = segment.row.dataset;
  if ((trend && c !== trend) || (group && g !== group)) return false;
  if (!words.length) return true;
  segment.text ??= textOf(segment);
  return words.every((word) => segment.text.includes(word));
}

function filter() {
  const words = plain(controls.elements.text.value).split(/\s+/).filter(Boolean);
  const trend = controls.elements.class?.value;
  const group = controls.elements.group?.value;
  let shown = 0;
  for (const segment of segments) {
    const match = matches(segment, words, trend, group);
    segment.row.hidden = segment.part.hidden = !match;
    shown += match;
  }
  status.textContent = `${shown} of ${segments.length} segments`;
}

/* -- charts: drawn when a part is opened for the first time -- */

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

/* -- links that open parts -- */

function open(part) {
  draw(part);
  part.open = true;
}

function openTarget() {
  const segment = segments.find(({ target }) => `#${target.id}` === location.hash);
  if (!segment) return;
  segment.part.hidden = false;
  open(segment.part);
  const summary = segment.part.querySelector("summary");
  summary.focus({ preventScroll: true });
  summary.scrollIntoView();
}

/* A second click on the link whose address is there already changes no address. */
function clicked(event) {
  const link = event.target.closest?.("a[href^='#']");
  if (link && link.hash === location.hash) openTarget();
}

/* -- printing: all that is shown is printed open -- */

let opened = [];

function beforePrint() {
  opened = segments.map(({ part }) => part).filter((part) => !part.open && !part.hidden);
  for (const part of opened) open(part);
}

function afterPrint() {
  for (const part of opened) part.open = false;
  opened = [];
}

for (const heading of [...table.tHead.rows[0].cells]) makeSortable(heading);
for (const { part } of segments) part.addEventListener("toggle", () => part.open && draw(part));
controls.hidden = false;
controls.addEventListener("input", filter);
controls.addEventListener("reset", () => setTimeout(filter));
controls.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", openTarget);
document.addEventListener("click", clicked);
addEventListener("beforeprint", beforePrint);
addEventListener("afterprint", afterPrint);
filter();
openTarget();
