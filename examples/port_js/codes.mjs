// Codes of n rows, packed or not, in memory and from their files: file-format.md, section 4, and packed.md.
import { numbersOf, openArchive, readMeta, requireArray } from "./archive.mjs";
import { DTypeError, FormatError, ShapeError, demand } from "./errors.mjs";
import { Layout } from "./packed_rows.mjs";
import { isFloats, requireK } from "./rows.mjs";
import { openSource } from "./sources.mjs";

const CODES = "compressae-codes", PACKED = "compressae-packed";

export class PackedCodes { // n rows of `layout.rowBytes` bytes, which are checked when they are read
  constructor({ data, nLatents, k, bits = 5, model = null, refined = false, ids = null, norms = null }) {
    requireK(k, nLatents);
    const layout = new Layout(nLatents, k, bits);
    demand(data instanceof Uint8Array, DTypeError, "packed: expected a Uint8Array, row after row");
    const length = data.length / layout.rowBytes;
    const rows = `rows of ${layout.rowBytes} bytes`;
    demand(Number.isInteger(length), ShapeError, `packed: expected ${rows}, got ${data.length} bytes`);
    Object.assign(this, { data, length, nLatents, k, bits, model, refined, ids, norms, layout });
  }

  row(i) { // → { indices, values }; the values are relative to the largest of the row
    const [indices, numbers] = [new Int32Array(this.k), new Int32Array(this.k)];
    const isZero = !this.layout.read(this.data, requireRow(this, i), indices, numbers);
    return { indices, values: Float32Array.from(numbers, (number) => (isZero ? 0 : this.layout.values[number])) };
  }

  unpack() { // → Codes
    const [indices, values] = [new Int32Array(this.length * this.k), new Float32Array(this.length * this.k)];
    for (let i = 0; i < this.length; i++) {
      const row = this.row(i);
      indices.set(row.indices, i * this.k);
      values.set(row.values, i * this.k);
    }
    return new Codes({ ...this, indices, values });
  }
}

export class Codes { // n · k indices and values, row after row
  constructor({ indices, values, k, nLatents, model = null, refined = false, ids = null }) {
    const isTyped = indices instanceof Int32Array && isFloats(values);
    demand(isTyped, DTypeError, "codes: expected an Int32Array of indices and a Float32Array of values");
    requireK(k, nLatents);
    const length = indices.length / k;
    demand(Number.isInteger(length) && values.length === indices.length, ShapeError,
      `codes: expected n · ${k} indices and values, got ${indices.length} and ${values.length}`);
    Object.assign(this, { indices, values, length, k, nLatents, model, refined, ids });
  }

  row(i) {
    const [start, end] = [requireRow(this, i) * this.k, (i + 1) * this.k];
    return { indices: this.indices.subarray(start, end), values: this.values.subarray(start, end) };
  }
}

export function requireCodes(codes) {
  const isKnown = codes instanceof Codes || codes instanceof PackedCodes;
  demand(isKnown, DTypeError, "codes: expected what encode, pack, openCodes or openPackedCodes returned");
}

function requireRow({ length }, i) {
  demand(Number.isInteger(i) && i >= 0 && i < length, ShapeError, `row: expected 0 to ${length - 1}, got ${i}`);
  return i;
}

export function pack(codes, bits = 5) { // Codes → PackedCodes
  demand(codes instanceof Codes, DTypeError, "codes: expected codes that are not packed yet");
  const { length, k, nLatents } = codes;
  const layout = new Layout(nLatents, k, bits);
  const data = new Uint8Array(length * layout.rowBytes);
  for (let i = 0; i < length; i++) layout.write(data, i, codes.row(i));
  return new PackedCodes({ ...codes, data, bits });
}

// ---- Files
export async function openPackedCodes(source, { ids = true } = {}) {
  const archive = await openArchive(await openSource(source));
  const meta = await readMeta(archive, PACKED, [1]);
  const fields = requireMeta(meta);
  const layout = readingMeta(() => new Layout(fields.nLatents, fields.k, meta.bits));
  const hasNorms = meta.index?.space !== "sparse" && archive.names.has("norms") && meta.index !== undefined;
  const arrays = await archive.load(["packed", ...(hasNorms ? ["norms"] : []), ...idMembers(archive, ids)]);
  requireArray(arrays.packed, ["|u1"], [null, layout.rowBytes]);
  const codes = new PackedCodes({ ...fields, bits: meta.bits, data: arrays.packed.raw });
  const [indices, numbers] = [new Int32Array(codes.k), new Int32Array(codes.k)];
  for (let i = 0; i < codes.length; i++) layout.read(codes.data, i, indices, numbers); // R20
  codes.ids = idsOf(arrays, codes.length);
  if (hasNorms) codes.norms = { values: normsOf(arrays.norms, codes.length), model: meta.index.model };
  return codes;
}

function normsOf(array, n) { // which PackedIndex.save of the Python package adds
  requireArray(array, ["<f4", "<f8"], [n]);
  const norms = numbersOf(array);
  const bad = norms.findIndex((norm) => !(norm > 0 && norm < Infinity));
  demand(bad < 0, FormatError, `norms: expected finite numbers above 0, got ${norms[bad]}`, bad);
  return norms;
}

export async function openCodes(source, { ids = true } = {}) {
  const archive = await openArchive(await openSource(source));
  const fields = requireMeta(await readMeta(archive, CODES, [1]));
  const arrays = await archive.load(["data", "indices", "indptr", "shape", ...idMembers(archive, ids)]);
  requireArray(arrays.shape, ["<i8"], [2]);
  const [n, h] = Array.from(numbersOf(arrays.shape), Number);
  const { k, nLatents } = fields;
  demand(h === nLatents && n >= 0, FormatError, `shape: expected ${nLatents} columns, got ${h}`);
  requireArray(arrays.data, ["<f4", "<f8"], [n * k]);
  requireArray(arrays.indices, ["<i4"], [n * k]);
  requireArray(arrays.indptr, ["<i4", "<i8"], [n + 1]);
  const [indices, values] = [numbersOf(arrays.indices), numbersOf(arrays.data)];
  const isRegular = numbersOf(arrays.indptr).every((start, i) => Number(start) === i * k);
  demand(isRegular, FormatError, `indptr: expected exactly k = ${k} entries in every row`);
  const ascending = `indices: expected latents from 0 to ${h - 1} that ascend in each row`;
  for (let t = 0; t < indices.length; t++) {
    const fits = indices[t] >= 0 && indices[t] < h && (t % k === 0 || indices[t - 1] < indices[t]);
    demand(fits, FormatError, ascending, Math.floor(t / k));
  }
  return new Codes({ ...fields, indices, values: values.map((value) => value + 0), ids: idsOf(arrays, n) }); // R2
}

const idMembers = ({ names }, wanted) => (wanted ? ["ids", "ids_lengths"].filter((name) => names.has(name)) : []);

function requireMeta({ k, n_latents: nLatents, model, refined }) {
  const isValid = [k, nLatents].every(Number.isSafeInteger) && k >= 1 && k <= nLatents && nLatents < 2 ** 31;
  demand(isValid, FormatError, `meta: expected integers 1 ≤ k ≤ n_latents, got ${k} and ${nLatents}`);
  demand(model === null || typeof model === "string", FormatError, "meta: expected the digest of a model or null");
  return { k, nLatents, model, refined: refined === true };
}

function readingMeta(make) { // a value that is not allowed, in a file, is an error of the file
  try {
    return make();
  } catch (cause) {
    throw new FormatError(`meta: ${cause.message}`, { cause });
  }
}

// ---- Ids
// → strings, or integers (BigInt above 2^53), or null if the file has no ids
function idsOf({ ids, ids_lengths: lengths }, n) {
  demand(ids || !lengths, FormatError, "expected a member ids.npy for ids_lengths.npy, got none");
  if (!ids) return null;
  const single = ids.descr.startsWith("<U") ? wideStringsOf : integersOf;
  const found = lengths ? stringsOf(ids, lengths, n) : single(ids, n);
  demand(new Set(found).size === n, FormatError, "ids: expected ids that are all different");
  return found;
}

function stringsOf(ids, lengths, n) {
  requireArray(ids, ["|u1"], [null]);
  requireArray(lengths, ["<i4"], [n]);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let end = 0;
  const found = Array.from(numbersOf(lengths), (size, row) => {
    demand(size >= 0 && end + size <= ids.raw.length, FormatError, "ids_lengths: expected lengths that fit ids", row);
    return decoded(decoder, ids.raw.subarray(end, (end += size)), row);
  });
  demand(end === ids.raw.length, FormatError, `ids_lengths: expected the sum ${ids.raw.length}, got ${end}`);
  return found;
}

function decoded(decoder, bytes, row) {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new FormatError("ids: expected UTF-8", { row, cause });
  }
}

function wideStringsOf(ids, n) { // of older files
  requireArray(ids, [ids.descr], [n]);
  const points = new Uint32Array(ids.raw.slice().buffer);
  const width = points.length / n;
  return Array.from({ length: n }, (_, row) => {
    const own = points.subarray(row * width, (row + 1) * width);
    const isText = own.every((point) => point <= 0x10ffff && (point < 0xd800 || point > 0xdfff));
    demand(isText, FormatError, "ids: expected characters", row);
    return Array.from(own, (point) => String.fromCodePoint(point)).join("").replace(/\0+$/, "");
  });
}

function integersOf(ids, n) {
  requireArray(ids, ["<i8"], [n]);
  return Array.from(numbersOf(ids), (id) => (Number.isSafeInteger(Number(id)) ? Number(id) : id));
}
