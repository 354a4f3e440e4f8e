// The start of the page: the data that lie in it, the choice of a word, and what went wrong, in words.
import { combobox } from "../../browser/combobox.js";
import { $, number } from "../../browser/dom.js";
import { openModel } from "../../port_js/compressae.mjs";
import { showAllDigits, showEquations } from "./equations.js";
import { Items, K_MAX } from "./items.js";
import { startToy } from "./toy_page.js";
import { unpackedModel } from "./word.js";
import { showWord } from "./word_page.js";

let page = null;

async function part(name, read) { // of the data that lie in the page
  try {
    return await read();
  } catch (cause) {
    throw new Error(`${name}: ${cause.message}. Its file was altered or cut off: get it again`, { cause });
  }
}

function bytesOf(id) {
  const text = atob($(id).textContent.trim());
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function readLabels() { // "name (gloss)"
  const lines = JSON.parse($("data-labels").textContent);
  const names = lines.map((line) => line.split(" (", 1)[0]);
  return { names, texts: lines.map((line, row) => line.slice(names[row].length + 2, -1)) };
}

function current() {
  if (!location.hash) return page.start;
  const found = location.hash.match(/^#w(\d+)$/);
  if (!found) return page.row; // the address of an equation
  return Number(found[1]) < page.items.length ? Number(found[1]) : page.row;
}

function changed() {
  const [row, k, hasAux] = [current(), Number($("k").value), $("aux").checked];
  page.row = row;
  globalThis.live.word = showWord(page, row, k, hasAux); // for tests, and for you in the console
  const state = { row, k, aux: hasAux, encoded: page.items.codes !== null };
  for (const [name, value] of Object.entries(state)) $("one-word").dataset[name] = value;
}

function followed() { // an address: the back button, a choice, or a link of a list that is written anew
  if (current() === page.row) return;
  const isLink = document.activeElement.closest(".neighbours, .sides") !== null;
  changed();
  if (isLink) $("word").focus();
}

function sized() {
  $("k-value").textContent = $("k").value;
  $("k").setAttribute("aria-valuetext", `${$("k").value} entries`);
  clearTimeout(page.timer);
  page.timer = setTimeout(changed, 60); // the slider may go on
}

function listen({ names, texts }) {
  const choose = (row) => { location.hash = `w${row}`; }; // the back button returns to the word before
  combobox({ input: $("item"), list: $("options"), status: $("matches"), names, texts, choose });
  $("random").addEventListener("click", () => choose(Math.floor(Math.random() * names.length)));
  $("word-form").addEventListener("submit", (event) => event.preventDefault());
  $("k").addEventListener("input", sized);
  $("aux").addEventListener("input", changed);
  addEventListener("hashchange", followed);
  for (const id of ["item", "random", "k", "aux"]) $(id).disabled = false;
}

const LARGE = "#projector"; // the address that opens the page with large text

function enlarge(isLarge) {
  $("large").checked = isLarge;
  document.documentElement.classList.toggle("large", isLarge);
}

function listenToLarge() {
  $("large").addEventListener("input", ({ target }) => enlarge(target.checked));
  addEventListener("hashchange", () => location.hash === LARGE && enlarge(true));
  enlarge(location.hash === LARGE); // and not what the browser remembers
}

// What sticks to the top covers nothing that a link or the Tab key reaches: the style keeps its height free.
function keepFree() {
  const measure = () => document.documentElement.style.setProperty("--bar", `${$("bar").offsetHeight}px`);
  new ResizeObserver(measure).observe($("bar"));
  measure();
}

async function encodeAll(items) {
  let announced = 0;
  await items.encode((share) => {
    const text = `Encoding all ${number(items.length)} entries: ${Math.floor(100 * share)} %.`;
    $("encoding").textContent = text;
    if (share < announced) return;
    $("encoding-status").textContent = text; // a screen reader hears four of them
    announced += 0.25;
  });
  $("encoding-status").textContent = "";
  const ms = items.msPerRow.toFixed(1);
  $("encoding").textContent = `All ${number(items.length)} entries were encoded in this tab, ${ms} ms each (E3 to E5, k = ${K_MAX}).`;
}

async function start() {
  showEquations();
  $("all-digits").addEventListener("input", ({ target }) => showAllDigits(target.checked));
  $("all-digits").checked = false; // a browser may remember it from before
  listenToLarge();
  keepFree();
  const toy = startToy();
  globalThis.live = { toy, word: null };
  const labels = await part("the names", readLabels);
  const model = await part("the model", () => openModel(bytesOf("data-model")));
  const rows = await part("the vectors", () => Float32Array.from(new Int8Array(bytesOf("data-vectors").buffer)));
  const items = new Items(model, rows);
  const first = Number($("one-word").dataset.start);
  page = { model, items, labels, arrays: unpackedModel(model), row: first, start: first };
  Object.assign($("k"), { max: K_MAX, value: model.k });
  $("k-value").textContent = model.k;
  listen(labels);
  changed();
  await encodeAll(items);
  changed();
}

start().catch((error) => globalThis.failed(`${error.message}.`));
