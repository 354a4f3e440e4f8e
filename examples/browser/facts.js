// What is compared, and what was loaded: the text at the end of the page.
import { $, TOP, element, number, sum, words } from "./dom.js";

export function showFacts(about, loaded) {
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
  if (about.licence) $("source").append(" ", element("a", "Licence", { href: about.licence }));
  const files = Object.entries(partsReceived(loaded));
  const total = ["All", sum(files.map(([, bytes]) => bytes))];
  $("parts").replaceChildren(...[...files, total].map(partRow));
  $("facts").hidden = false;
}

function partRow([name, bytes]) {
  const made = element("tr", "");
  made.append(element("th", name, { scope: "row" }), element("td", number(bytes)));
  return made;
}

function partsReceived(loaded) {
  const own = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
  const parts = { "Codes": 0, "Model": 0, "Names and descriptions": 0, "Dense neighbours": 0, "Page and scripts": 0 };
  const partOf = { "codes.npz": "Codes", "model.npz": "Model", "labels.txt.gz": "Names and descriptions",
    "neighbours.bin.gz": "Dense neighbours" };
  for (const [url, bytes] of [...own, ...Object.entries(loaded.received)]) {
    parts[partOf[url.split("/").at(-1)] ?? "Page and scripts"] += bytes;
  }
  return parts;
}
