// node javascript.mjs MODEL [PACKED]: encode and search the float32 rows on standard input, and print what it took.
import { open, readFile, stat } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { PackedIndex, openModel, openPackedCodes } from "../../port_js/compressae.mjs";

const [modelPath, packedPath] = process.argv.slice(2);
const elapsed = async (work) => {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
};
const median = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)];

async function fileSource(path) { // reads the parts that are asked for
  const [file, { size }] = [await open(path), await stat(path)];
  const read = async (start, end) => {
    const bytes = new Uint8Array(end - start);
    await file.read(bytes, 0, bytes.length, start);
    return bytes;
  };
  return { size, read };
}

const input = await buffer(process.stdin);
const numbers = new Float32Array(input.buffer.slice(input.byteOffset, input.byteOffset + input.length));
const [openMs, model] = await elapsed(async () => openModel(await fileSource(modelPath)));
const rows = Array.from({ length: numbers.length / model.d }, (_, i) => numbers.subarray(i * model.d, (i + 1) * model.d));
const times = async (work) => {
  const all = [];
  for (const row of rows) all.push((await elapsed(() => work(row)))[0]);
  return { first: all[0], median: median(all.slice(1)), least: Math.min(...all.slice(1)) };
};

const result = { openMs, encode: await times((row) => model.encode(row)) };
if (packedPath) {
  result.refine = await times((row) => model.refine(row));
  const codes = await openPackedCodes(await fileSource(packedPath), { ids: false });
  const [indexMs, index] = await elapsed(() => new PackedIndex(codes, model));
  Object.assign(result, { items: index.length, indexMs, search: await times((row) => index.search(row, 10)) });
}
const status = await readFile("/proc/self/status", "utf8"); // maxRSS counts the process that started this one, too
const peakMb = Number(status.match(/VmHWM:\s*(\d+) kB/)[1]) * 1.024e-3;
console.log(JSON.stringify({ ...result, peakMb, version: process.version }));
