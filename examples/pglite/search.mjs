// Codes as sparsevec in PGlite, which is PostgreSQL with pgvector as WebAssembly: no server, in Node or in a browser.
// node search.mjs LATENTS ITEMS QUERIES FOUND: search the codes of ITEMS with those of QUERIES, both written by
// `compressae-ref encode -o x.jsonl`, and compare with FOUND, which `compressae-ref search --json` has printed.
import { readFileSync } from "node:fs";
import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";

const ROUNDING = 1e-6; // pgvector sums in another order
const [latents, ...paths] = process.argv.slice(2);
if (paths.length !== 3 || !Number.isInteger(Number(latents))) {
  console.error("usage: node search.mjs LATENTS ITEMS QUERIES FOUND");
  process.exit(2);
}
const read = (path) => readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const [items, queries, found] = paths.map(read);

/** Return a code in the text form of sparsevec, whose indices start at 1. */
function sparsevec({ vector: { codes } }) {
  const entries = codes.indices.map((j, t) => [j + 1, codes.values[t]]).filter(([, value]) => value !== 0);
  return `{${entries.map((entry) => entry.join(":")).join(",")}}/${latents}`;
}

const db = await PGlite.create({ extensions: { vector } }); // in memory; a folder or IndexedDB keeps the data
await db.exec(`CREATE EXTENSION vector; CREATE TABLE items (id integer PRIMARY KEY, code sparsevec(${latents}))`);
const lines = items.map((item) => `${item.id}\t${sparsevec(item)}\n`);
await db.query("COPY items FROM '/dev/blob'", [], { blob: new Blob(lines) });
const { rows: [{ bytes }] } = await db.query("SELECT pg_relation_size('items') AS bytes");

const times = [];
let [same, apart] = [0, 0];
for (const [row, query] of queries.entries()) {
  const start = performance.now();
  const { rows } = await db.query(
    "SELECT id, 1 - (code <=> $1) AS score FROM items ORDER BY code <=> $1, id LIMIT $2",
    [sparsevec(query), found[row].ids.length],
  );
  times.push(performance.now() - start);
  same += JSON.stringify(rows.map((hit) => hit.id)) === JSON.stringify(found[row].ids);
  apart = Math.max(apart, ...found[row].scores.map((score, rank) => Math.abs(score - rows[rank]?.score)));
}
times.sort((a, b) => a - b);
console.log(`${items.length} items, ${Math.round(bytes / items.length)} bytes each; ${queries.length} queries`);
console.log(`median time of a query: ${times[times.length >> 1].toFixed(1)} ms`);
console.log(`same ids: ${same} of ${queries.length}; scores differ by at most ${apart.toExponential(0)}`);
await db.close();
process.exitCode = apart <= ROUNDING ? 0 : 1;
