// The protocol of spec/vectors/README.md, for `compressae-ref verify --program`: a request on each line of standard
// input, an answer on each line of standard output. The modules that a page uses compute the answers.
import { createInterface } from "node:readline";
import { Codes, PackedCodes, openCodes, openPackedCodes, pack } from "./codes.mjs";
import { CompressaeError, DTypeError, DomainError, FormatError, ShapeError, demand } from "./errors.mjs";
import { Model } from "./model.mjs";
import { decodedRows, openModel } from "./model_file.mjs";
import { centerRow } from "./mean.mjs";
import { refined } from "./refine.mjs";
import { emptyCode, entriesAt, largest, requireK, rowsOf, truncate, unitRow } from "./rows.mjs";
import { roundAtom, roundColumn } from "./rounding.mjs";
import { PackedIndex } from "./search.mjs";
import { searchWithCode } from "./spaces.mjs";
import * as training from "./training.mjs";
import { codesFile, modelFile } from "./writer.mjs";

// ---- Arrays are { numbers, shape }: typed numbers, row after row. Operations have lists of rows and of codes inside
const TYPES = { F32: Float32Array, F64: Float64Array, I32: Int32Array, I64: BigInt64Array, U8: Uint8Array };
const array = (numbers, ...shape) => ({ numbers, shape });
const scalar = (number) => array(Float64Array.of(number));
const mapValues = (object, f) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, f(value, key)]));
const widthOf = ({ shape }) => shape.at(-1);
const rows = ({ numbers, shape: [n, width] }) =>
  Array.from({ length: n }, (_, i) => numbers.subarray(i * width, (i + 1) * width));
const stacked = (list) =>
  array(list[0].constructor.from(list.flatMap((row) => Array.from(row))), list.length, list[0].length);
const codeRows = (indices, values) => rows(indices).map((own, i) => ({ indices: own, values: rows(values)[i] }));
const codesOf = (codes, suffix = "") => ({
  [`indices${suffix}`]: stacked(codes.map(({ indices }) => indices)),
  [`values${suffix}`]: stacked(codes.map(({ values }) => values)),
});
const flat = ({ indices, values, length: n, k }) => ({ indices: array(indices, n, k), values: array(values, n, k) });
const fileOf = (bytes) => ({ file: array(bytes, bytes.length) });

function requireWidth(x, width) {
  demand(widthOf(x) === width, ShapeError, `expected rows of ${width} numbers, got ${widthOf(x)}`);
}
function unitRows(x, d, Type) { // of a matrix, or of batches, whose rows are numbered from 0 in each
  requireWidth(x, d);
  return rowsOf(x.numbers, d).map((row, i) => unitRow(row, Type, i % x.shape.at(-2)));
}
function modelOf({ W_enc, b_enc, W_dec, mean, k = 1 }) {
  const [nLatents, d] = W_enc ? W_enc.shape.toReversed() : W_dec.shape;
  const weights = (matrix) => matrix && { numbers: matrix.numbers, scales: new Float32Array(nLatents).fill(1) };
  const params = { W_enc: weights(W_enc), W_dec: weights(W_dec), b_enc: b_enc?.numbers, mean: mean?.numbers };
  return new Model({ ...params, d, nLatents, k, Type: (W_enc ?? W_dec).numbers.constructor });
}
const codesIn = ({ indices, values, n_latents: nLatents, model = null }) =>
  new Codes({ indices: indices.numbers, values: values.numbers, k: widthOf(indices), nLatents, model });
function packedIn({ packed, n_latents: nLatents, k, bits }) {
  const codes = new PackedCodes({ data: packed.numbers, nLatents, k, bits });
  requireWidth(packed, codes.layout.rowBytes);
  return codes;
}

// ---- L0 to L2, and the extensions "refine", "packed" and "center"
function splitCodes({ indices, values, k }) {
  const parts = codeRows(indices, values).map((code, i) => training.splitCode(code, k, i));
  return { ...codesOf(parts.map(([kept]) => kept), "_k"), ...codesOf(parts.map(([, rest]) => rest), "_rest") };
}

function encode({ x, k, zero_rows: zeroRows, ...params }) {
  const model = modelOf({ ...params, k });
  requireWidth(x, model.d);
  return flat(model.encode(x.numbers, { zeroRows }));
}

function decode({ indices, values, W_dec }) {
  const x_hat = modelOf({ W_dec }).decode({ indices: indices.numbers, values: values.numbers, k: widthOf(indices) });
  return { x_hat: array(x_hat, indices.shape[0], widthOf(W_dec)) };
}

function refine({ x, indices, W_dec, k, zero_rows }) { // with candidates that are given
  const [model, candidates, atoms] = [modelOf({ W_dec }), rows(indices), rows(W_dec)];
  requireK(k, widthOf(indices)); // R17
  requireWidth(x, model.d);
  return codesOf(rows(x).map((row, i) => {
    const x_unit = unitRow(row, model.Type, i, zero_rows);
    if (!x_unit) return emptyCode(k, model.Type);
    return refined(x_unit, candidates[i], Array.from(candidates[i], (j) => atoms[j]), k);
  }));
}

function search({ space, top, queries, query_indices, query_values, query_model, ...items }) {
  const [codes, model] = [codesIn(items), space === "sparse" ? null : modelOf(items)];
  const areOfOne = !codes.model || !query_model || codes.model === query_model;
  demand(areOfOne, DomainError, "R13: expected queries and items of one model");
  const found = queries ? searchDense(queries, top, codes, model)
    : codeRows(query_indices, query_values).map((query) => searchWithCode(codes, query, top, model));
  const ids = found.map((hits) => BigInt64Array.from(hits.ids, BigInt));
  return { ids: stacked(ids), scores: stacked(found.map(({ scores }) => scores)) };
}
function searchDense(queries, top, codes, model) {
  unitRows(queries, model.d, model.Type); // for errors, which name the first row that is bad
  const index = new PackedIndex(codes, model);
  return rows(queries).map((query) => index.search(query, top));
}

function centerRows({ x, mean }) {
  const [Type, d] = [mean.numbers.constructor, widthOf(x)];
  const model = new Model({ d, nLatents: 1, k: 1, Type, mean: mean.numbers }); // R21
  return { x_unit: stacked(unitRows(x, d, Type).map((x_unit, i) => centerRow(x_unit, model.mean, i))) };
}

// ---- L3
const paramsOf = ({ W_enc, b_enc, W_dec }) => mapValues({ W_enc, b_enc, W_dec }, ({ numbers }) => numbers);
const withShapes = (outputs, params) => mapValues(outputs, (value, name) => // of parameters and their gradients
  (typeof value === "number" ? scalar(value) : array(value, ...params[name.match(/[Wb]_\w+$/)[0]].shape)));

function gradients({ x, k, ...params }) {
  const units = unitRows(x, params.W_enc.shape[0], params.W_enc.numbers.constructor);
  return withShapes(training.gradients(units, paramsOf(params), k), params);
}
function trainSteps({ batches, k, lr, renormalize: order, ...params }) {
  const [steps, n, d] = batches.shape;
  const units = unitRows(batches, d, params.W_enc.numbers.constructor);
  const inBatches = Array.from({ length: steps }, (_, i) => units.slice(i * n, (i + 1) * n));
  return withShapes(training.trainSteps(inBatches, paramsOf(params), { k, lr, order }), params);
}
function cosine({ x_unit, x_hat, grad_cos }) {
  const pairs = rows(x_unit).map((x, i) => [x, rows(x_hat)[i], grad_cos.numbers[i]]);
  const cos = x_hat.numbers.constructor.from(pairs, ([x, y]) => training.cosine(x, y));
  const grad_x_hat = stacked(pairs.map(([x, y, grad]) => training.cosineBackward(grad, x, y)));
  return { cos: array(cos, cos.length), grad_x_hat };
}
function adam({ param, grad, m, v, step, lr }) {
  const numbers = mapValues({ param, grad, m, v }, (value) => value.numbers);
  return mapValues(training.adam(numbers, step, lr), (value) => array(value, ...param.shape));
}
const onAtoms = (f) => ({ W_dec, grad_W_dec }) => {
  const [name, operands] = grad_W_dec ? ["grad_W_dec", [grad_W_dec, W_dec]] : ["W_dec", [W_dec]];
  return { [name]: array(f(...operands.map(({ numbers }) => numbers), widthOf(W_dec)), ...W_dec.shape) };
};
function initParams({ u_enc, u_dec, init }) {
  const [d, h] = u_enc.shape;
  const shapes = { W_enc: [d, h], b_enc: [h], W_dec: [h, d] };
  const params = training.initial(u_enc.numbers, u_dec.numbers, d, h, init);
  return mapValues(params, (numbers, name) => array(Float32Array.from(numbers), ...shapes[name]));
}

// ---- Files
const decoded = (matrix, shape, isDecoder) =>
  array(stacked(Array.from(decodedRows(matrix, shape[1], isDecoder), (row) => row.slice())).numbers, ...shape);
async function readModel({ file }) {
  const { W_enc, b_enc, W_dec, d, nLatents: h, k, digest } = await openModel(file.numbers);
  demand(W_dec, FormatError, "expected a whole model, got an encoder only");
  return { W_enc: decoded(W_enc, [d, h]), b_enc: array(b_enc, h), W_dec: decoded(W_dec, [h, d], true), k, digest };
}
async function readEncoder({ file }) {
  const { W_enc, b_enc, d, nLatents: h, k, digest } = await openModel(file.numbers, { only: "encoder" });
  return { W_enc: decoded(W_enc, [d, h]), b_enc: array(b_enc, h), k, digest };
}
function roundWeights({ W_enc, W_dec }) {
  const [d, h] = W_enc.shape;
  const columnOf = (j) => Float32Array.from({ length: d }, (_, c) => W_enc.numbers[c * h + j]);
  const [columns, atoms] = [Array.from({ length: h }, (_, j) => roundColumn(columnOf(j))), rows(W_dec).map(roundAtom)];
  const W_enc_q = Int32Array.from({ length: d * h }, (_, at) => columns[at % h].q[Math.floor(at / h)]);
  const scalesOf = (latents) => array(Float32Array.from(latents, ({ scale }) => scale), h);
  return {
    W_enc_q: array(W_enc_q, d, h), W_enc_scales: scalesOf(columns),
    W_dec_q: stacked(atoms.map(({ q }) => q)), W_dec_scales: scalesOf(atoms),
  };
}
function decodeWeights({ W_enc_q, W_enc_scales, W_dec_q, W_dec_scales }) {
  const weights = (q, scales) => ({ numbers: Int8Array.from(q.numbers), scales: scales.numbers });
  return {
    W_enc: decoded(weights(W_enc_q, W_enc_scales), W_enc_q.shape),
    W_dec: decoded(weights(W_dec_q, W_dec_scales), W_dec_q.shape, true),
  };
}
async function readCodes({ file }) {
  const codes = await openCodes(file.numbers);
  return { ...flat(codes), n_latents: codes.nLatents, model: codes.model };
}
const packedRows = ({ data, length, layout }) => ({ packed: array(data, length, layout.rowBytes) });
async function readPacked({ file }) {
  const codes = await openPackedCodes(file.numbers);
  return { ...packedRows(codes), n_latents: codes.nLatents, k: codes.k, bits: codes.bits, model: codes.model };
}

const OPERATIONS = {
  abs_topk: ({ pre, k }) => codesOf(rows(pre).map((values, i) =>
    entriesAt({ indices: Int32Array.from(values.keys()), values }, largest(values, k, i)))),
  truncate: ({ indices, values, k }) => codesOf(codeRows(indices, values).map((code, i) => truncate(code, k, i))),
  normalize_rows: ({ x }) => ({ x_unit: stacked(unitRows(x, widthOf(x), x.numbers.constructor)) }),
  pack: ({ bits, ...inputs }) => packedRows(pack(codesIn(inputs), bits)),
  unpack: (inputs) => flat(packedIn(inputs).unpack()),
  write_model: (inputs) => fileOf(modelFile(modelOf(inputs))),
  write_codes: (inputs) => fileOf(codesFile(codesIn(inputs))),
  renormalize: onAtoms(training.renormalize), project: onAtoms(training.project),
  split_codes: splitCodes, encode, decode, refine, search, center_search: search, center_rows: centerRows,
  gradients, train_steps: trainSteps, cosine, adam, init_params: initParams,
  read_small_model: readModel, read_encoder: readEncoder, decode_weights: decodeWeights, round_weights: roundWeights,
  read_model: readModel, read_codes: readCodes, read_packed: readPacked,
};

// ---- Lines
function read(value) { // an array with its numbers, a scalar as a number
  if (value?.hex === undefined) return value;
  const [Type, bytes] = [TYPES[value.dtype], Uint8Array.from(Buffer.from(value.hex, "hex"))];
  demand(Type, DTypeError, `expected one of ${Object.keys(TYPES)}, got ${value.dtype}`);
  const numbers = new Type(bytes.buffer);
  return value.shape.length === 0 ? numbers[0] : array(numbers, ...value.shape);
}
function written(value) {
  if (!value?.numbers) return value;
  const { numbers, shape } = value;
  const dtype = Object.keys(TYPES).find((name) => numbers instanceof TYPES[name]);
  return { dtype, shape, hex: Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("hex") };
}

async function answer({ id, operation, inputs }) {
  if (!Object.hasOwn(OPERATIONS, operation)) return { id, unsupported: true };
  try {
    return { id, outputs: mapValues(await OPERATIONS[operation](mapValues(inputs, read)), written) };
  } catch (error) {
    if (!(error instanceof CompressaeError)) throw error; // a mistake here, which must not look like an answer
    return { id, error: error.name, row: error.row, message: error.message };
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
