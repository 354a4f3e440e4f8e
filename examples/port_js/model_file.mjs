// Model files of versions 1, 2 (centred) and 3 (small): file-format.md, section 3; center.md; small.md.
import { numbersOf, openArchive, readMeta, requireArray, tuple } from "./archive.mjs";
import { CompressaeError, DomainError, FormatError, demand } from "./errors.mjs";
import { Sha256 } from "./hashes.mjs";
import { Model } from "./model.mjs";
import { openSource } from "./sources.mjs";

const TYPES = { float32: Float32Array, float64: Float64Array };
const DESCRS = { float32: "<f4", float64: "<f8", float16: "<f2", int8: "|i1" };
const require = (condition, message) => demand(condition, FormatError, message);

// `only` reads a part of the file: "encoder" to encode, "decoder" to decode and search. `checked` of the model says
// which digest was computed: that of the whole model, that of the encoder (files of version 3), or none ("crc").
export async function openModel(source, { only } = {}) {
  const isPart = [undefined, "encoder", "decoder"].includes(only);
  demand(isPart, DomainError, `only: expected "encoder" or "decoder", got ${only}`);
  const archive = await openArchive(await openSource(source));
  const meta = await readMeta(archive, "compressae-model", [1, 2, 3]);
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
  const areIntegers = [d, nLatents, k].every(Number.isSafeInteger);
  const areCounts = areIntegers && d >= 1 && k >= 1 && k <= nLatents && nLatents < 2 ** 31;
  require(areCounts, `meta: expected integers d ≥ 1 and 1 ≤ k ≤ n_latents, got ${d}, ${k} and ${nLatents}`);
  require(Object.hasOwn(TYPES, dtype ?? ""), `meta: expected dtype float32 or float64, got ${dtype}`);
  require(Object(training) === training && !Array.isArray(training), "meta: expected training as an object");
  require(/^[0-9a-f]{64}$/.test(digest), "meta: expected the digest of the model, 64 hex digits");
  const { weights, isCentered } = version === 3 ? smallFormatOf(meta) : { weights: dtype, isCentered: version === 2 };
  return { d, nLatents, k, Type: TYPES[dtype], descr: DESCRS[dtype], weights: DESCRS[weights], isCentered };
}

function smallFormatOf({ dtype, weights, only, centered }) { // R44
  const isKnown = Object.hasOwn(DESCRS, weights ?? "") && (weights === "float64") === (dtype === "float64");
  require(isKnown, `meta: expected weights for dtype ${dtype}, such as float32 for float32, got ${weights}`);
  require([undefined, null, "encoder"].includes(only), `meta: expected only as "encoder" or null, got ${only}`);
  const isFlag = [undefined, null, true, false].includes(centered);
  require(isFlag, `meta: expected centered as true or false, got ${centered}`);
  return { weights, isCentered: centered === true };
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
  const matrix = (name, shape) => {
    const numbers = read(name, weights, shape);
    const scales = weights === "|i1" ? read(`${name}_scales`, "<f4", [h]) : new Float32Array(h).fill(1);
    const areValid = weights !== "|i1" || (!numbers.includes(-128) && scales.every((scale) => scale > 0)); // R45
    require(areValid, `${name}: expected integers from -127 to 127 and scales above 0`);
    return { numbers, scales };
  };
  const params = { mean: isCentered ? read("mean", descr, [d]) : null };
  if (encoder) Object.assign(params, { W_enc: matrix("W_enc", [d, h]), b_enc: read("b_enc", descr, [h]) });
  if (decoder) params.W_dec = requireUnitAtoms(matrix("W_dec", [h, d]), d);
  return params;
}

function requireUnitAtoms(W_dec, d) {
  W_dec.scales.forEach((scale, j) => {
    let square = 0;
    for (let at = j * d; at < (j + 1) * d; at++) square += (W_dec.numbers[at] * scale) ** 2;
    const norm = Math.sqrt(square);
    require(Math.abs(norm - 1) <= 1e-3, () => `W_dec: expected atoms of norm 1, got ${norm} for latent ${j}`);
  });
  return W_dec;
}

function checkDigests(params, { version, digest, encoder }, format, parts) { // E18 and R46. → what was checked
  if (!parts.encoder || (!parts.decoder && version !== 3)) return "crc";
  const check = (sha, expected, what) => require(sha.digest() === expected,
    `meta: expected the digest of the ${what}, got another one: the file was altered, or written wrongly`);
  const mean = format.isCentered ? ["mean"] : [];
  const ofEncoder = hashed(["W_enc", "b_enc"], params, format);
  if (version === 3) check(hashed(mean, params, format, ofEncoder.copy()), encoder, "encoder");
  if (!parts.decoder) return "encoder";
  check(hashed(["W_dec", ...mean], params, format, ofEncoder), digest, "model");
  return "digest";
}

export function hashed(names, params, { d, nLatents: h, descr }, sha = new Sha256()) { // arrays by name, after others
  const shapes = { W_enc: [d, h], b_enc: [h], W_dec: [h, d], mean: [d] };
  for (const name of names) {
    sha.update(new TextEncoder().encode(`${name} ${descr} ${tuple(shapes[name])}\n`));
    const own = params[name];
    for (const part of own.numbers ? decodedRows(own, shapes[name][1], name === "W_dec") : [own]) {
      sha.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    }
  }
  return sha;
}

// Decoded weights (E64): all at once if they are stored so, else row after row
export function* decodedRows({ numbers, scales }, width, isRowOfLatent) {
  const isStored = !(numbers instanceof Int8Array);
  if (isStored) yield numbers;
  const row = new Float32Array(width);
  for (let start = 0; start < numbers.length && !isStored; start += width) {
    for (let c = 0; c < width; c++) row[c] = numbers[start + c] * scales[isRowOfLatent ? start / width : c];
    yield row;
  }
}
