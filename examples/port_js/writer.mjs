// Files as bytes, the same ones that the package writes: file-format.md, section 5.
import { tuple } from "./archive.mjs";
import { PackedCodes, requireCodes } from "./codes.mjs";
import { DTypeError, DomainError, ShapeError, demand } from "./errors.mjs";
import { crc32 } from "./hashes.mjs";
import { hashed } from "./model_file.mjs";
import { isFloats } from "./rows.mjs";

// Codes or packed codes → the bytes of their file, with their ids
export function codesFile(codes) {
  requireCodes(codes);
  const { length: n, k, nLatents: n_latents, model, refined, bits } = codes;
  const meta = { k, n_latents, model: model ?? null, version: 1, ...(refined ? { refined } : {}) };
  if (codes instanceof PackedCodes) {
    const packed = { descr: "|u1", shape: [n, codes.layout.rowBytes], raw: codes.data };
    return archiveOf({ packed }, { ...meta, format: "compressae-packed", bits }, idMembers(codes));
  }
  const starts = Int32Array.from({ length: n + 1 }, (_, i) => i * k);
  return archiveOf({
    data: arrayOf(codes.values.map((value) => value + 0)), // R2
    indices: arrayOf(codes.indices),
    indptr: arrayOf(starts),
    shape: arrayOf(BigInt64Array.of(BigInt(n), BigInt(n_latents))),
    format: { descr: "|S3", shape: [], raw: latin1("csr") },
    _is_array: { descr: "|b1", shape: [], raw: Uint8Array.of(1) },
  }, { ...meta, format: "compressae-codes" }, idMembers(codes));
}

function idMembers({ ids, length }) { // integers in one member, strings as their UTF-8 bytes and lengths
  if (!ids) return {};
  demand(ids.length === length, ShapeError, `ids: expected ${length}, one for each row, got ${ids.length}`);
  if (ids.every((id) => typeof id === "bigint" || Number.isSafeInteger(id))) {
    return { ids: arrayOf(BigInt64Array.from(ids, BigInt)) };
  }
  demand(ids.every((id) => typeof id === "string"), DTypeError, "ids: expected all integers or all strings");
  const texts = ids.map((id) => new TextEncoder().encode(id));
  const [raw, lengths] = [joined(texts), Int32Array.from(texts, (text) => text.length)];
  return { ids: { descr: "|u1", shape: [raw.length], raw }, ids_lengths: arrayOf(lengths) };
}

// A model with float weights → the bytes of its file, of version 1, or 2 if it is centred
export function modelFile(model) {
  const isWhole = [model?.W_enc, model?.W_dec].every((weights) => weights && isFloats(weights.numbers));
  const hint = "the Python package writes other files";
  demand(isWhole, DomainError, `model: expected a whole model with float weights; ${hint}`);
  const { d, nLatents: h, k, Type, W_enc, b_enc, W_dec, mean } = model;
  const dtype = Type === Float32Array ? "float32" : "float64";
  const names = ["W_enc", "b_enc", "W_dec", ...(mean ? ["mean"] : [])];
  const digest = hashed(names, model, { d, nLatents: h, descr: DESCRS[Type.name] }).digest();
  const meta = { format: "compressae-model", version: mean ? 2 : 1, d, n_latents: h, k, dtype, training: {}, digest };
  const [ofEncoder, ofDecoder] = [arrayOf(W_enc.numbers, [d, h]), arrayOf(W_dec.numbers, [h, d])];
  const more = mean ? { mean: arrayOf(mean) } : {};
  return archiveOf({ W_enc: ofEncoder, b_enc: arrayOf(b_enc), W_dec: ofDecoder, ...more }, meta);
}

function archiveOf(arrays, meta, more = {}) { // arrays { descr, shape, raw } by name
  const text = json(meta);
  const raw = new Uint8Array(Uint32Array.from(text, (character) => character.codePointAt(0)).buffer);
  const all = { ...arrays, meta: { descr: `<U${text.length}`, shape: [], raw }, ...more };
  const [body, directory] = [[], []];
  let at = 0;
  for (const [name, array] of Object.entries(all)) {
    const [content, file] = [npy(array), latin1(`${name}.npy`)];
    const record = [...uints([20, 2], [0, 2], [0, 2], [0, 2], [33, 2], [crc32(content), 4]),
      ...uints([content.length, 4], [content.length, 4], [file.length, 2], [0, 2])];
    const more = uints([0, 2], [0, 2], [0, 2], [0o600 * 65536, 4], [at, 4]);
    directory.push(...latin1("PK\x01\x02"), 20, 3, ...record, ...more, ...file);
    body.push(latin1("PK\x03\x04"), record, file, content);
    at += 4 + record.length + file.length + content.length;
  }
  const count = Object.keys(all).length;
  const end = uints([0, 2], [0, 2], [count, 2], [count, 2], [directory.length, 4], [at, 4], [0, 2]);
  return joined([...body, directory, latin1("PK\x05\x06"), end]);
}

function npy({ descr, shape, raw }) {
  let header = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple(shape)}, }`;
  if (shape.length) header += " ".repeat(21 - String(shape[0]).length);
  header += `${" ".repeat((64 - ((header.length + 11) % 64)) % 64)}\n`;
  return joined([[0x93], latin1("NUMPY\x01\x00"), uints([header.length, 2]), latin1(header), raw]);
}

const DESCRS = { Float32Array: "<f4", Float64Array: "<f8", Int32Array: "<i4", BigInt64Array: "<i8" };
const arrayOf = (numbers, shape = [numbers.length]) => ({
  descr: DESCRS[numbers.constructor.name],
  shape, raw: new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength),
});

// As Python writes it: names in alphabetical order, and characters outside ASCII as escapes
function json(value) {
  if (Array.isArray(value)) return `[${value.map(json).join(", ")}]`;
  if (Object(value) !== value) return JSON.stringify(value).replace(/[^\x20-\x7e]/g, escaped);
  return `{${Object.keys(value).sort().map((name) => `${json(name)}: ${json(value[name])}`).join(", ")}}`;
}
const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

const latin1 = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const uints = (...fields) => fields.flatMap(([value, size]) =>
  Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256));
function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}
