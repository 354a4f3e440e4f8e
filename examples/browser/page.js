// The page: names to choose from, the neighbours of an item by dense vectors and by codes, and what they cost.
const TOP = 10; // neighbours that are shown
const RANKED = 100; // items by codes among which the dense neighbours are looked up
const SUGGESTED = 8;

const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1)} MB`;
const words = (share, digits = 1) => (10 * share).toFixed(digits);

let about, names, texts, plainNames, neighbours, loaded;

// ---- Files

async function bytesOf(name) {
  const response = await fetch(`data/${name}`);
  if (!response.ok) throw new Error(`data/${name}: expected status 200, got ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// Some servers send .gz files with Content-Encoding: gzip, so that they arrive unpacked.
async function unpacked(name) {
  const bytes = await bytesOf(name);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function loadAbout() {
  about = JSON.parse(new TextDecoder().decode(await bytesOf("about.json")));
}

async function loadLabels() {
  const lines = new TextDecoder().decode(await unpacked("labels.txt.gz")).split("\n");
  if (lines.at(-1) === "") lines.pop();
  names = lines.map((line) => line.split("\t", 1)[0]);
  texts = lines.map((line, row) => line.slice(names[row].length + 1));
  plainNames = names.map(plain);
}

// neighbour − row, signs in the lowest bit, as four planes of bytes: the lowest bytes of all, then the next ones
async function loadNeighbours() {
  const planes = await unpacked("neighbours.bin.gz");
  const count = planes.length / 4;
  neighbours = new Int32Array(count);
  for (let at = 0; at < count; at++) {
    const [a, b, c, d] = [planes[at], planes[at + count], planes[at + 2 * count], planes[at + 3 * count]];
    const unsigned = a | (b << 8) | (c << 16) | (d << 24);
    neighbours[at] = ((unsigned >>> 1) ^ -(unsigned & 1)) + Math.floor(at / TOP);
  }
}

// ---- The worker: one search at a time, and of those that wait only the last

const worker = new Worker("search.js", { type: "module" });
let wanted = null, isBusy = false;

function loadSearch() {
  return new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "search.js: the worker did not start"));
    worker.onmessage = ({ data }) => {
      if (data.error) return reject(new Error(data.error));
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

function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

// How well a name matches: 0 is its first part, between commas; 5 is somewhere inside of a word
function quality(name, text) {
  const at = name.indexOf(text);
  if (at < 0) return -1;
  if (at === 0 && (name.length === text.length || name[text.length] === ",")) return 0;
  if (`, ${name},`.includes(`, ${text},`)) return 1;
  if (at === 0) return 2;
  if (name.includes(`, ${text}`)) return 3;
  return name.includes(` ${text}`) ? 4 : 5;
}

function matching(text) {
  const found = [[], [], [], [], [], []];
  plainNames.forEach((name, row) => {
    const rank = quality(name, text);
    if (rank >= 0) found[rank].push(row);
  });
  const byLength = (i, j) => names[i].length - names[j].length || i - j;
  for (const group of found.slice(2)) group.sort(byLength);
  return found.flat();
}

let active = -1; // the suggestion that the arrow keys have reached

function suggest() {
  const text = plain($("item").value.trim());
  const found = text ? matching(text) : [];
  $("options").replaceChildren(...found.slice(0, SUGGESTED).map(option));
  $("matches").textContent = text ? `${number(found.length)} ${found.length === 1 ? "item matches" : "items match"}` : "";
  if (text && !found.length) $("options").replaceChildren(nothing());
  openOptions(text !== "");
}

function option(row, at) {
  const made = element("li", "", { id: `option${at}`, role: "option", "aria-selected": "false", "data-row": row });
  made.append(element("b", names[row]), element("span", texts[row], { class: "quiet" }));
  return made;
}

const nothing = () => element("li", "No item has this name", { class: "quiet none", role: "presentation" });

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function openOptions(isOpen) {
  $("options").hidden = !isOpen;
  $("item").setAttribute("aria-expanded", String(isOpen));
  activate(-1);
}

function activate(at) {
  const all = [...$("options").querySelectorAll("[role=option]")];
  active = all.length ? at : -1;
  all.forEach((each, i) => each.setAttribute("aria-selected", String(i === active)));
  if (active < 0) return $("item").removeAttribute("aria-activedescendant");
  all[active].scrollIntoView({ block: "nearest" });
  return $("item").setAttribute("aria-activedescendant", all[active].id);
}

function pressed(event) {
  const count = $("options").querySelectorAll("[role=option]").length;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && $("options").hidden) suggest();
  else if (step && count) activate(active < 0 && step < 0 ? count - 1 : (active + step + count) % count);
  else if (event.key === "Escape") openOptions(false);
  else if (event.key === "Enter" && count && !$("options").hidden) choose($(`option${Math.max(active, 0)}`).dataset.row);
  else if (event.key !== "Enter") return;
  event.preventDefault();
}

function choose(row) {
  openOptions(false);
  $("item").value = "";
  location.hash = row; // the back button returns to the item before
}

// ---- Showing an item

function current() {
  const row = Number(location.hash.slice(1));
  const isRow = location.hash.length > 1 && Number.isInteger(row) && row >= 0 && row < names.length;
  return isRow ? row : about.start;
}

function changed() {
  const [row, k] = [current(), Number($("k").value)];
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

const rankOf = (at) => (at < 0 ? `rank above ${RANKED}` : `rank ${at + 1}`);

// The entries of a list are used again, so that the keyboard's focus stays where it is.
function fill(list, ids, markOf) {
  while (list.children.length < ids.length) list.append(entry());
  while (list.children.length > ids.length) list.lastChild.remove();
  ids.forEach((id, at) => {
    const [each, mark] = [list.children[at], markOf(id)];
    const [link, text] = each.querySelectorAll("a, .text");
    each.className = mark === null ? "both" : "";
    each.dataset.row = id;
    Object.assign(link, { textContent: names[id], href: `#${id}` });
    text.textContent = texts[id];
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

// ---- What is compared, and what it costs

function showFacts() {
  const { d, recall } = about;
  const [all, full] = [number(loaded.items), loaded.rowBytes.at(-1)];
  const [dense, own] = [recall.dense, recall.reconstruction.at(-1)];
  $("title").textContent = about.title;
  $("lead").textContent = `${all} items, ${full} bytes each, searched on your device: no server but the one that sent these files.`;
  $("dense-bytes").textContent = `${number(4 * d)} bytes per item`;
  $("dense-fact").textContent = `the ${TOP} items with the highest cosine of the original vectors of ${d} float32 numbers. `
    + "They were computed when this page was built; the vectors are not part of it.";
  $("codes-fact").textContent = `every search compares the query with all ${all} codes, exactly. A code stores up to ${loaded.k} of `
    + `${number(loaded.nLatents)} latents. The slider keeps the k largest entries, of the items and of the query.`;
  $("query-fact").textContent = "the reconstruction of the chosen item from its own code, because this page has no dense vectors. "
    + `It finds ${words(own)} of 10 neighbours with all ${loaded.k} entries. Where the dense vector of the query is known, `
    + `the same codes find ${words(dense["10"])} of 10.`;
  $("source").textContent = about.source;
  const files = Object.entries(partsReceived());
  const total = ["All", files.reduce((sum, [, bytes]) => sum + bytes, 0)];
  $("parts").replaceChildren(...[...files, total].map(partRow));
  $("facts").hidden = false;
}

function partRow([name, bytes]) {
  const made = element("tr", "");
  made.append(element("th", name, { scope: "row" }), element("td", number(bytes)));
  return made;
}

function partsReceived() {
  const own = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
  const parts = { "Codes": 0, "Model": 0, "Names and descriptions": 0, "Dense neighbours": 0, "Page and scripts": 0 };
  const partOf = { "codes.npz": "Codes", "model.npz": "Model", "labels.txt.gz": "Names and descriptions",
    "neighbours.bin.gz": "Dense neighbours" };
  for (const [url, bytes] of [...own, ...Object.entries(loaded.received)]) {
    parts[partOf[url.split("/").at(-1)] ?? "Page and scripts"] += bytes;
  }
  return parts;
}

function fail(message) {
  $("failed").textContent = `${message}. Reload the page to try again.`;
  $("failed").hidden = false;
}

// ---- Start

function listen() {
  $("item").addEventListener("input", suggest);
  $("item").addEventListener("keydown", pressed);
  $("item").addEventListener("blur", () => openOptions(false));
  $("options").addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
  $("options").addEventListener("click", (event) => {
    const chosen = event.target.closest("[role=option]");
    if (!chosen) return;
    choose(chosen.dataset.row);
    if (event.pointerType === "touch") $("item").blur(); // the keyboard on the screen would cover the answer
  });
  $("form").addEventListener("submit", (event) => event.preventDefault());
  $("random").addEventListener("click", () => choose(Math.floor(Math.random() * names.length)));
  $("k").addEventListener("input", sized);
  $("k").addEventListener("change", changed);
  addEventListener("hashchange", changed);
}

async function start() {
  for (const list of [$("dense"), $("codes")]) list.append(...Array.from({ length: TOP }, entry));
  $("about-item").textContent = "Names, codes and the model are being loaded.";
  try {
    if (typeof DecompressionStream === "undefined") throw new Error("This page needs a browser of 2023 or later, with DecompressionStream");
    [loaded] = await Promise.all([loadSearch(), loadAbout(), loadLabels(), loadNeighbours()]);
    if (loaded.items !== names.length) throw new Error(`data: ${names.length} names for ${loaded.items} codes`);
  } catch (error) {
    $("name").textContent = "The page could not be loaded";
    return fail(error.message);
  }
  Object.assign($("k"), { max: loaded.k, value: loaded.k });
  for (const id of ["item", "random", "k"]) $(id).disabled = false;
  showFacts();
  sized();
  listen();
  return changed();
}

start();
