// Model files of versions 1, 2 (centred) and 3 (small): file-format.md, section 3; center.md; small.md.
import { numbersOf, openArchive, readMeta, requireArray, tuple } from "./archive.mjs";
import { CompressaeError, DomainError, FormatError, demand } from "./errors.mjs";
import { Sha256 } from "./hashes.mjs";
import { Model } from "./model.mjs";
import { openSource } from "./sources.mjs";
import { archiveOf, arrayOf } from "./writer.mjs";

const TYPES = { float32: Float32Array, float64: Float64Array };
const DESCRS = { float32: "<f4", float64: "<f8", float16: "<f2", int8: "|i1" };
const require = (condition, message) => demand(condition, FormatError, message);

// `only` reads a part of the file: "encoder" to encode, "decoder" to decode and search. `checked` of the model says
// which digest was computed: that of the whole model, that of the encoder (files of version 3), or none ("crc").
export async function openModel(source, { only } = {}) {
  demand([undefined, "encoder", "decoder"].includes(only), DomainError, `only: expected "encoder" or "decoder", got ${only}`);
  const archive = await openArchive(await openSource(source));
  const meta = await readMeta(archive, ["compressae-model"], [1, 2, 3]);
  const format = formatOf(meta);
  const hasDecoder = meta.version !== 3 || meta.only !== "encoder";
  require(hasDecoder || only !== "decoder", "expected a file with the decoder W_dec, got one with the encoder only");
  const parts = { encoder: only !== "decoder", decoder: hasDecoder && only !== "encoder" };
  const params = paramsOf(await archive.load(memberNames(format, parts)), format, parts);
  const checked = checkDigests(params, meta, format, parts);
  try {
    return new Model({ ...format, ...params, digest: meta.digest, checked });
  } catch (error) { // what is not allowed, in a file, is an error of the file
    throw error instanceof CompressaeError ? new FormatError(error.message, { cause: error }) : error;
  }
}

function formatOf(meta) {
  const { d, n_latents: nLatents, k, dtype, training, digest, version } = meta;
  const areCounts = [d, nLatents, k].every(Number.isSafeInteger) && d >= 1 && k >= 1 && k <= nLatents && nLatents < 2 ** 31;
  require(areCounts, `meta: expected integers d ≥ 1 and 1 ≤ k ≤ n_latents, got ${d}, ${k} and ${nLatents}`);
  require(Object.hasOwn(TYPES, dtype ?? ""), `meta: expected dtype float32 or float64, got ${dtype}`);
  require(Object(training) === training && !Array.isArray(training), "meta: expected training as an object");
  require(typeof digest === "string", "meta: expected the digest of the model");
  const weights = version === 3 ? meta.weights : dtype;
  const isKnown = Object.hasOwn(DESCRS, weights ?? "") && (weights === "float64") === (dtype === "float64");
  require(isKnown, `meta: expected weights of ${dtype} or fewer bits, got ${weights}`);
  const isCentered = version === 2 || (version === 3 && meta.centered === true);
  return { d, nLatents, k, Type: TYPES[dtype], descr: DESCRS[dtype], weights: DESCRS[weights], isCentered };
}

// A model with float weights → the bytes of its file, of version 1 (or 2, if it is centred)
export function writtenModel({ d, nLatents: h, k, Type, W_enc, b_enc, W_dec, mean, training = {} }) {
  const dtype = Type === Float32Array ? "float32" : "float64";
  const members = { W_enc: arrayOf(W_enc.numbers, [d, h]), b_enc: arrayOf(b_enc), W_dec: arrayOf(W_dec.numbers, [h, d]) };
  if (mean) members.mean = arrayOf(mean);
  const heads = Object.entries(members).map(([name, { descr, shape, raw }]) => ({ head: `${name} ${descr} ${tuple(shape)}\n`, bytes: [raw] }));
  const meta = { format: "compressae-model", version: mean ? 2 : 1, d, n_latents: h, k, dtype, training };
  return archiveOf(members, { ...meta, digest: digestOf(heads) });
}

const memberNames = ({ weights, isCentered }, { encoder, decoder }) => [
  ...(encoder ? ["W_enc", ...(weights === "|i1" ? ["W_enc_scales"] : []), "b_enc"] : []),
  ...(decoder ? ["W_dec", ...(weights === "|i1" ? ["W_dec_scales"] : [])] : []),
  ...(isCentered ? ["mean"] : []),
];

function paramsOf(arrays, { d, nLatents: h, descr, weights, isCentered }, { encoder, decoder }) {
  const read = (name, kind, shape) => {
    requireArray(arrays[name], [kind], shape);
    return numbersOf(arrays[name]);
  };
  const scales = (name) => (weights === "|i1" ? read(`${name}_scales`, "<f4", [h]) : new Float32Array(h).fill(1));
  const matrix = (name, shape) => ({ numbers: read(name, weights, shape), scales: scales(name) });
  const params = { mean: isCentered ? read("mean", descr, [d]) : null };
  if (encoder) Object.assign(params, { W_enc: matrix("W_enc", [d, h]), b_enc: read("b_enc", descr, [h]) });
  if (decoder) params.W_dec = requireUnitAtoms(matrix("W_dec", [h, d]), d);
  return params;
}

function requireUnitAtoms(W_dec, d) {
  W_dec.scales.forEach((scale, j) => {
    let square = 0;
    for (let at = j * d; at < (j + 1) * d; at++) square += (W_dec.numbers[at] * scale) ** 2;
    require(Math.abs(Math.sqrt(square) - 1) <= 1e-3, () => `W_dec: expected atoms of norm 1, got ${Math.sqrt(square)} (atom ${j})`);
  });
  return W_dec;
}

function checkDigests({ W_enc, b_enc, W_dec, mean }, { version, digest, encoder }, { d, nLatents: h, descr }, parts) {
  const array = (name, shape, bytes) => ({ name, head: `${name} ${descr} ${tuple(shape)}\n`, bytes });
  const ofEncoder = () => [array("W_enc", [d, h], decodedRows(W_enc, h, (j) => j)), array("b_enc", [h], [b_enc])];
  const ofDecoder = () => [array("W_dec", [h, d], decodedRows(W_dec, d, (_, row) => row))];
  const ofMean = () => (mean ? [array("mean", [d], [mean])] : []);
  const check = (arrays, expected, what) => require(digestOf(arrays) === expected,
    `expected the digest of the ${what} to match meta; the file was altered, or made by another program`);
  if (version === 3 && parts.encoder) check([...ofEncoder(), ...ofMean()], encoder, "encoder");
  if (parts.encoder && parts.decoder) check([...ofEncoder(), ...ofDecoder(), ...ofMean()], digest, "model");
  return !parts.encoder ? "crc" : parts.decoder ? "digest" : version === 3 ? "encoder" : "crc";
}

function digestOf(arrays) { // E18
  const sha = new Sha256();
  for (const { head, bytes } of arrays) {
    sha.update(new TextEncoder().encode(head));
    for (const part of bytes) sha.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
  return sha.digest();
}

// Decoded weights (E64): all at once if they are stored so, else row after row
function* decodedRows({ numbers, scales }, width, latentOf) {
  if (!(numbers instanceof Int8Array)) yield numbers;
  else {
    const row = new Float32Array(width);
    for (let start = 0; start < numbers.length; start += width) {
      for (let c = 0; c < width; c++) row[c] = numbers[start + c] * scales[latentOf(c, start / width)];
      yield row;
    }
  }
}
