// How much of the files has arrived: shown at every chunk, announced to screen readers at every quarter.
import { $, megabytes, sum } from "./dom.js";

const arrived = {}; // bytes of each file
let sizes = {}, isLoading = true, announced = 0;

export function expectBytes(ofFiles) {
  sizes = ofFiles;
  showProgress();
}

export function received(name, bytes) {
  arrived[name] = bytes;
  showProgress();
}

export function showProgress() {
  if (!isLoading) return;
  const total = sum(Object.values(sizes));
  const count = sum(Object.entries(sizes).map(([name, size]) => Math.min(arrived[name] ?? 0, size))); // may arrive unpacked
  const text = total ? progress(count, total) : `Loading: ${megabytes(sum(Object.values(arrived)))} so far.`;
  $("about-item").textContent = text;
  const quarters = total ? Math.floor(4 * count / total) : 0;
  if (quarters > announced) $("matches").textContent = text;
  announced = Math.max(announced, quarters);
}

function progress(count, total) {
  if (count === total) return "Loading the model and preparing the search.";
  return `Loading codes, names and neighbours: ${megabytes(count)} of ${megabytes(total)}.`;
}

export function endProgress() {
  isLoading = false;
  $("matches").textContent = "";
}
