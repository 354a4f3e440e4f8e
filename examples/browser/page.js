// The page: names to choose from, the neighbours of an item by dense vectors and by codes, and what they cost.
import { combobox } from "./combobox.js";
import { $, TOP, element, megabytes, number, words } from "./dom.js";
import { showFacts } from "./facts.js";
import { fromFile, textOf, unpacked } from "./files.js";
import { endProgress, expectBytes, received, showProgress } from "./progress.js";

const RANKED = 100; // items by codes among which the dense neighbours are looked up

let about, names, texts, neighbours, loaded;

// ---- Files

async function loadAbout() {
  about = await fromFile("about.json", (bytes) => JSON.parse(textOf(bytes)), received);
  expectBytes(about.bytes ?? {});
}

async function loadLabels() {
  const lines = await fromFile("labels.txt.gz", async (bytes) => textOf(await unpacked(bytes)).split("\n"), received);
  if (lines.at(-1) === "") lines.pop();
  names = lines.map((line) => line.split("\t", 1)[0]);
  texts = lines.map((line, row) => line.slice(names[row].length + 1));
}

async function loadNeighbours() {
  neighbours = await fromFile("neighbours.bin.gz", async (bytes) => neighboursOf(await unpacked(bytes)), received);
}

// neighbour − row, signs in the lowest bit, as four planes of bytes: the lowest bytes of all, then the next ones
function neighboursOf(planes) {
  const count = planes.length / 4;
  const ids = new Int32Array(count);
  for (let at = 0; at < count; at++) {
    const [a, b, c, d] = [planes[at], planes[at + count], planes[at + 2 * count], planes[at + 3 * count]];
    const unsigned = a | (b << 8) | (c << 16) | (d << 24);
    ids[at] = ((unsigned >>> 1) ^ -(unsigned & 1)) + Math.floor(at / TOP);
  }
  return ids;
}

function requireSameItems() {
  const [lines, rows] = [names.length, neighbours.length / TOP];
  if (lines !== loaded.items) throw new Error(`data/labels.txt.gz: expected ${loaded.items} lines, as codes, got ${lines}`);
  if (rows !== lines) throw new Error(`data/neighbours.bin.gz: expected ${lines} rows, as codes, got ${rows}`);
}

// ---- The worker: one search at a time, and of those that wait only the last

const worker = new Worker("search.js", { type: "module" });
let wanted = null, isBusy = false;

function loadSearch() {
  return new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "search.js: the worker did not start"));
    worker.onmessage = ({ data }) => {
      if (data.error) return reject(new Error(data.error));
      if (data.arrived) return received(...data.arrived);
      worker.onmessage = ({ data: answer }) => answered(answer);
      return resolve(data.loaded);
    };
    worker.postMessage(null);
  });
}

function ask(row, k) {
  wanted = { row, k, top: RANKED };
  if (!isBusy) send();
}

function send() {
  isBusy = true;
  worker.postMessage(wanted);
}

function answered(answer) {
  isBusy = false;
  if (answer.error) return fail(answer.error);
  const isLast = answer.row === wanted.row && answer.k === wanted.k;
  return isLast ? show(answer) : send();
}

// ---- Choosing an item

const choose = (row) => { location.hash = row; }; // the back button returns to the item before

// ---- Showing an item

function current() {
  const row = Number(location.hash.slice(1));
  const isRow = location.hash.length > 1 && Number.isInteger(row) && row >= 0 && row < names.length;
  return isRow ? row : about.start;
}

function changed() {
  const [row, k] = [current(), Number($("k").value)];
  if (location.hash && location.hash !== `#${row}`) history.replaceState(null, "", `#${row}`);
  document.title = `${names[row]} – ${about.title}`;
  $("name").textContent = names[row];
  $("about-item").textContent = texts[row] || "\u00a0";
  $("time").textContent = "Searching …";
  for (const list of [$("dense"), $("codes")]) list.setAttribute("aria-busy", "true");
  ask(row, k);
}

function sized() {
  const k = Number($("k").value);
  const bytes = loaded.rowBytes[k - 1];
  $("bytes").textContent = `k = ${k}: ${bytes} bytes per item, ${megabytes(bytes * loaded.items)}`;
  $("k").setAttribute("aria-valuetext", `${k} entries, ${bytes} bytes per item`);
}

function show({ row, k, ids, ms, prepared }) {
  const dense = neighbours.subarray(row * TOP, (row + 1) * TOP);
  const byCodes = Array.from(ids.subarray(0, TOP));
  const common = byCodes.filter((id) => dense.includes(id)).length;
  fill($("dense"), Array.from(dense), (id) => (byCodes.includes(id) ? null : rankOf(ids.indexOf(id))));
  fill($("codes"), byCodes, (id) => (dense.includes(id) ? null : ""));
  const mean = words(about.recall.reconstruction[k - 1]);
  const found = `${common} of the ${dense.length} nearest items by dense vectors are among the ${byCodes.length} nearest by codes. `;
  const usual = `The mean of ${number(about.recall.queries)} items at k = ${k} is ${mean} of 10.`;
  $("share").replaceChildren(element("span", found), element("span", usual, { class: "quiet" }));
  const first = prepared > 10 ? ` Before, the norms of all codes with k = ${k} took ${(prepared / 1000).toFixed(1)} s.` : "";
  $("time").textContent = `Search among all ${number(loaded.items)} codes: ${ms.toFixed(1)} ms.${first}`;
  for (const list of [$("dense"), $("codes")]) list.removeAttribute("aria-busy");
  $("codes-bytes").textContent = `${loaded.rowBytes[k - 1]} bytes per item`;
  Object.assign(document.body.dataset, { row, k, ms: ms.toFixed(2) });
}

const rankOf = (at) => (at < 0 ? `below the first ${RANKED}` : `rank ${at + 1}`);

// The entries of a list are used again, so that the keyboard's focus stays where it is.
function fill(list, ids, markOf) {
  while (list.children.length < ids.length) list.append(entry());
  while (list.children.length > ids.length) list.lastChild.remove();
  ids.forEach((id, at) => {
    const [each, mark] = [list.children[at], markOf(id)];
    const [link, text] = each.querySelectorAll("a, .text");
    each.className = mark === null ? "both" : "";
    each.dataset.row = id;
    Object.assign(link, { textContent: names[id], title: names[id], href: `#${id}` });
    Object.assign(text, { textContent: texts[id], title: texts[id] });
    each.querySelector(".mark").replaceChildren(...(mark === null ? inBoth() : [mark]));
  });
}

const inBoth = () => [element("span", "✓", { "aria-hidden": "true" }), element("span", "in both lists", { class: "hidden" })];

function entry() {
  const made = element("li", "");
  const body = element("div", "", { class: "entry" });
  body.append(element("a", ""), element("span", "", { class: "mark quiet" }), element("span", "", { class: "text quiet" }));
  made.append(body);
  return made;
}

// ---- Start

function fail(message) {
  $("failed").textContent = `${message}. Reload the page to try again.`;
  $("failed").hidden = false;
}

function listen() {
  combobox({ input: $("item"), list: $("options"), status: $("matches"), names, texts, choose });
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("random").addEventListener("click", () => choose(Math.floor(Math.random() * names.length)));
  $("k").addEventListener("input", sized);
  $("k").addEventListener("change", changed);
  addEventListener("hashchange", changed);
}

async function start() {
  for (const list of [$("dense"), $("codes")]) list.append(...Array.from({ length: TOP }, entry));
  showProgress();
  try {
    if (typeof DecompressionStream === "undefined") throw new Error("This page needs a browser of 2023 or later, with DecompressionStream");
    [loaded] = await Promise.all([loadSearch(), loadAbout(), loadLabels(), loadNeighbours()]);
    requireSameItems();
  } catch (error) {
    endProgress();
    $("name").textContent = "The page could not be loaded";
    for (const id of ["about-item", "results"]) $(id).hidden = true;
    return fail(error.message);
  }
  endProgress();
  Object.assign($("k"), { max: loaded.k, value: loaded.k });
  for (const id of ["item", "random", "k"]) $(id).disabled = false;
  showFacts(about, loaded);
  sized();
  listen();
  return changed();
}

start();
