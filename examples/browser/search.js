// A worker that holds the codes and the model and searches them, so that the page stays responsive.
import { PackedIndex, openModel, openPackedCodes, truncate } from "../port_js/compressae.mjs";
import { Layout } from "../port_js/packed_rows.mjs";
import { fromFile, naming } from "./files.js";

const KEPT = 3; // indexes that are kept, one for each k, with about 3 k bytes for each item
const indexes = new Map();
let codes, model;

const absolute = (name) => new URL(`data/${name}`, self.location).href;

async function load() {
  [codes, model] = await Promise.all([
    fromFile("codes.npz", openPackedCodes, (...arrived) => self.postMessage({ arrived })),
    naming("model.npz", () => openModel(absolute("model.npz"), { only: "decoder" })),
  ]);
  for (let row = 0; row < 3; row++) search({ row, k: codes.k, top: 1 }); // compiles the search before it is timed
  const ks = Array.from({ length: codes.k }, (_, at) => at + 1);
  const rowBytes = ks.map((k) => new Layout(codes.nLatents, k, codes.bits).rowBytes);
  return { items: codes.length, k: codes.k, nLatents: codes.nLatents, rowBytes, received: received() };
}

// Bytes of each file that came over the network: of the model, only the parts that were asked for
function received() {
  const bytes = {};
  for (const { name, encodedBodySize } of performance.getEntriesByType("resource")) {
    bytes[name] = (bytes[name] ?? 0) + encodedBodySize;
  }
  return bytes;
}

// The file of the codes has the norms of whole codes; those of shorter codes take a second or more.
function indexFor(k) {
  const index = indexes.get(k) ?? new PackedIndex(codes, model, { k });
  indexes.delete(k);
  indexes.set(k, index); // the last of the map is the one used last
  if (indexes.size > KEPT) indexes.delete(indexes.keys().next().value);
  return index;
}

function search({ row, k, top }) {
  const before = performance.now();
  const index = indexFor(k);
  const start = performance.now();
  const query = model.decode(truncate(codes.row(row), k));
  const { ids, scores } = index.search(query, top, { exclude: row });
  return { row, k, ids, scores, prepared: start - before, ms: performance.now() - start };
}

const ready = load();

self.onmessage = async ({ data }) => {
  try {
    const loaded = await ready;
    self.postMessage(data ? search(data) : { loaded });
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};
