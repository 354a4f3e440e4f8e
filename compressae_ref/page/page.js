"use strict";
/* Of all pages: sorting, filtering, links that open parts, printing. Without it a page can be read, but is fixed. */

const parts = [...document.querySelectorAll("details.part")];
const rows = new Map([...document.querySelectorAll("table.sortable tbody tr")].map((row) => [partOf(row), row]));

/* The part that the first link of a row leads to. */
function partOf(row) {
  const link = row.querySelector("a[href^='#']");
  return link && document.getElementById(link.hash.slice(1))?.closest("details.part");
}

/* -- sorting -- */

const order = new Intl.Collator("en", { numeric: true });

function key(row, column) {
  const cell = row.cells[column];
  if ("s" in cell.dataset) return Number(cell.dataset.s);
  const text = cell.textContent;
  if (column === 0) return text;
  if (text.startsWith("<")) return 0;
  return /^[–]?$/.test(text) ? -1 : parseFloat(text.replaceAll(",", ""));
}

function compare(a, b) {
  return typeof a === "number" ? a - b : order.compare(a, b);
}

function sort(heading) {
  const [table, column] = [heading.closest("table"), heading.cellIndex];
  const first = heading.classList.contains("n") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = heading.getAttribute("aria-sort") === first ? other : first;
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const sorted = [...table.tBodies[0].rows]
    .map((row) => ({ row, key: key(row, column) }))
    .sort((a, b) => sign * compare(a.key, b.key))
    .map(({ row }) => row);
  table.tBodies[0].append(...sorted);
  for (const part of sorted.map(partOf)) part?.parentElement.append(part);
}

function makeSortable(heading) {
  const title = heading.querySelector(".title");
  if (!title) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "title";
  button.append(...title.childNodes);
  title.replaceWith(button);
  button.addEventListener("click", () => sort(heading));
}

/* -- filtering -- */

const texts = new Map();

function plain(text) {
  return text.normalize("NFKC").toLowerCase();
}

/* Names, words and texts of items; not the names of other parts, which are links. */
function textOf(part) {
  if (!texts.has(part)) {
    const own = part.querySelectorAll("h3, .words, .items");
    texts.set(part, plain([...own].map((each) => each.textContent).join("\n")));
  }
  return texts.get(part);
}

/* A select shows the parts whose rows have its value as the attribute of its name. */
function matches(part, words, selects) {
  const row = rows.get(part);
  if (selects.some((select) => select.value && row?.dataset[select.name] !== select.value)) return false;
  return words.every((word) => textOf(part).includes(word));
}

function filter(form) {
  const words = plain(form.elements.text.value).split(/\s+/).filter(Boolean);
  const selects = [...form.querySelectorAll("select")];
  const own = parts.filter((part) => part.parentElement.id === form.dataset.parts);
  let shown = 0;
  for (const part of own) {
    const match = matches(part, words, selects);
    part.hidden = !match;
    if (rows.has(part)) rows.get(part).hidden = !match;
    shown += match;
  }
  form.querySelector("[role=status]").textContent = `${shown} of ${own.length} ${form.dataset.what}`;
}

/* -- links that open parts -- */

/* Charts of a part listen for "shown". */
function open(part) {
  part.dispatchEvent(new Event("shown"));
  part.open = true;
}

function openTarget() {
  const part = document.getElementById(location.hash.slice(1))?.closest("details.part");
  if (!part) return;
  part.hidden = false;
  open(part);
  const summary = part.querySelector("summary");
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
  opened = parts.filter((part) => !part.open && !part.hidden);
  for (const part of opened) open(part);
}

function afterPrint() {
  for (const part of opened) part.open = false;
  opened = [];
}

for (const heading of document.querySelectorAll("table.sortable thead th")) makeSortable(heading);
for (const part of parts) part.addEventListener("toggle", () => part.open && part.dispatchEvent(new Event("shown")));
for (const form of document.querySelectorAll("form[data-parts]")) {
  form.hidden = false;
  form.addEventListener("input", () => filter(form));
  form.addEventListener("reset", () => setTimeout(filter, 0, form));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
}
addEventListener("hashchange", openTarget);
document.addEventListener("click", clicked);
addEventListener("beforeprint", beforePrint);
addEventListener("afterprint", afterPrint);
openTarget();
