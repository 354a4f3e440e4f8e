// The protocol of spec/vectors/README.md, for `compressae-ref verify --program`: a request on each line of standard
// input, an answer on each line of standard output. Every operation is computed by the modules that a page uses.
import { createInterface } from "node:readline";
import { Codes, PackedCodes, openCodes, openPackedCodes, pack } from "./codes.mjs";
import { CompressaeError, DTypeError, DomainError, ShapeError, demand } from "./errors.mjs";
import { Model } from "./model.mjs";
import { openModel, writtenModel } from "./model_file.mjs";
import { refined } from "./refine.mjs";
import { centerRow, emptyCode, entriesAt, largest, requireK, rowsOf, truncate, unitRow } from "./rows.mjs";
import { PackedIndex } from "./search.mjs";
import { searchWithCode } from "./spaces.mjs";
import { adam, cosine, cosineBackward, gradients, initial, project, renormalize, splitCode, trainSteps } from "./training.mjs";
import { codesFile } from "./writer.mjs";

// Arrays are { numbers, shape }, with typed numbers, row after row
const TYPES = { F32: Float32Array, F64: Float64Array, I32: Int32Array, I64: BigInt64Array, U8: Uint8Array };
const array = (numbers, ...shape) => ({ numbers, shape });
const scalar = (number) => array(Float64Array.of(number));
const widthOf = ({ shape }) => shape.at(-1);
const rows = ({ numbers, shape }) => Array.from({ length: shape[0] }, (_, i) => numbers.subarray(i * widthOf({ shape }), (i + 1) * widthOf({ shape })));
const stacked = (list, Type = list[0].constructor) => array(Type.from(list.flatMap((row) => Array.from(row))), list.length, list[0].length);
const codeRows = (indices, values) => rows(indices).map((own, i) => ({ indices: own, values: rows(values)[i] }));
const codesOf = (codes, i = "indices", v = "values") => ({ [i]: stacked(codes.map((code) => code.indices)), [v]: stacked(codes.map((code) => code.values)) });
const flat = ({ indices, values, length, k }) => ({ indices: array(indices, length, k), values: array(values, length, k) });
const codesIn = ({ indices, values, n_latents: nLatents, model }) =>
  new Codes({ indices: indices.numbers, values: values.numbers, k: widthOf(indices), nLatents, model });

function modelOf({ W_enc, b_enc, W_dec, mean, k = 1 }) {
  const [nLatents, d] = W_enc ? W_enc.shape.toReversed() : W_dec.shape;
  const weights = (matrix) => matrix && { numbers: matrix.numbers, scales: new Float32Array(nLatents).fill(1) };
  const params = { W_enc: weights(W_enc), W_dec: weights(W_dec), b_enc: b_enc?.numbers, mean: mean?.numbers };
  return new Model({ ...params, d, nLatents, k, Type: (W_enc ?? W_dec).numbers.constructor });
}
function requireWidth(x, d) {
  demand(widthOf(x) === d, ShapeError, `expected rows of ${d} numbers, got ${widthOf(x)}`);
}
const unitRows = (x, d, Type) => {
  requireWidth(x, d);
  return rowsOf(x.numbers, d).map((row, i) => unitRow(row, Type, i % x.shape.at(-2)));
};
const paramsOf = ({ W_enc, b_enc, W_dec }) => ({ W_enc: W_enc.numbers, b_enc: b_enc.numbers, W_dec: W_dec.numbers });
function withShapes(outputs, { W_enc, b_enc, W_dec }) { // gradients and parameters, by name
  const shapes = { W_enc: W_enc.shape, b_enc: b_enc.shape, W_dec: W_dec.shape };
  const shaped = ([name, value]) => [name, typeof value === "number" ? scalar(value) : array(value, ...shapes[name.match(/[Wb]_\w+$/)[0]])];
  return Object.fromEntries(Object.entries(outputs).map(shaped));
}

function search({ space, top, W_dec, queries, query_indices, query_values, query_model, n_latents, ...items }) {
  const isKnown = items.model && query_model;
  demand(!isKnown || items.model === query_model, DomainError, "expected codes of one model (R13)");
  const [codes, model] = [codesIn({ ...items, n_latents }), space === "sparse" ? null : modelOf({ W_dec })];
  if (queries) unitRows(queries, model.d, model.Type); // the error names the first row that is bad
  const index = queries && new PackedIndex({ ...codes, model: null, row: (i) => codes.row(i) }, model);
  const found = queries ? rows(queries).map((query) => index.search(query, top))
    : codeRows(query_indices, query_values).map((query) => searchWithCode(codes, query, top, model));
  const ids = found.map((hits) => BigInt64Array.from(hits.ids, BigInt));
  return { ids: stacked(ids), scores: stacked(found.map((hits) => hits.scores)) };
}

function refine({ x, indices, W_dec, k, zero_rows }) {
  const [model, own] = [modelOf({ W_dec }), rows(indices)];
  requireK(k, widthOf(indices)); // R17
  requireWidth(x, model.d);
  const atoms = rows(W_dec);
  return codesOf(rows(x).map((row, i) => {
    const x_unit = unitRow(row, model.Type, i, zero_rows);
    return x_unit ? refined(x_unit, own[i], Array.from(own[i], (j) => atoms[j]), k) : emptyCode(k, model.Type);
  }));
}

const packedIn = ({ packed, n_latents: nLatents, k, bits }) => {
  const codes = new PackedCodes({ data: packed.numbers, nLatents, k, bits });
  requireWidth(packed, codes.layout.rowBytes);
  return codes;
};

const OPERATIONS = {
  abs_topk: ({ pre, k }) => codesOf(rows(pre).map((values, i) =>
    entriesAt({ indices: Int32Array.from(values.keys()), values }, largest(values, k, i)))),
  truncate: ({ indices, values, k }) => codesOf(codeRows(indices, values).map((code, i) => truncate(code, k, i))),
  split_codes: ({ indices, values, k }) => {
    const parts = codeRows(indices, values).map((code, i) => splitCode(code, k, i));
    return { ...codesOf(parts.map(([kept]) => kept), "indices_k", "values_k"), ...codesOf(parts.map(([, rest]) => rest), "indices_rest", "values_rest") };
  },
  normalize_rows: ({ x }) => ({ x_unit: stacked(unitRows(x, widthOf(x), x.numbers.constructor)) }),
  encode: ({ x, k, zero_rows, ...params }) => {
    const model = modelOf({ ...params, k });
    requireWidth(x, model.d);
    return flat(model.encode(x.numbers, { zeroRows: zero_rows }));
  },
  decode: ({ indices, values, W_dec }) => ({ x_hat: array(
    modelOf({ W_dec }).decode({ indices: indices.numbers, values: values.numbers, k: widthOf(indices) }), indices.shape[0], widthOf(W_dec)) }),
  search, refine,
  cosine: ({ x_unit, x_hat, grad_cos }) => {
    const pairs = rows(x_unit).map((x, i) => [x, rows(x_hat)[i], grad_cos.numbers[i]]);
    const cos = x_hat.numbers.constructor.from(pairs, ([x, y]) => cosine(x, y));
    return { cos: array(cos, cos.length), grad_x_hat: stacked(pairs.map(([x, y, grad]) => cosineBackward(grad, x, y))) };
  },
  gradients: ({ x, k, ...params }) => {
    const units = unitRows(x, params.W_enc.shape[0], params.W_enc.numbers.constructor);
    return withShapes(gradients(units, paramsOf(params), k), params);
  },
  adam: ({ param, grad, m, v, step, lr }) => {
    const moved = adam({ param: param.numbers, grad: grad.numbers, m: m.numbers, v: v.numbers }, step, lr);
    return Object.fromEntries(Object.entries(moved).map(([name, numbers]) => [name, array(numbers, ...param.shape)]));
  },
  renormalize: ({ W_dec }) => ({ W_dec: array(renormalize(W_dec.numbers, widthOf(W_dec)), ...W_dec.shape) }),
  project: ({ grad_W_dec, W_dec }) => ({ grad_W_dec: array(project(grad_W_dec.numbers, W_dec.numbers, widthOf(W_dec)), ...W_dec.shape) }),
  init_params: ({ u_enc, u_dec, init }) => {
    const [d, h] = u_enc.shape;
    const { W_enc, b_enc, W_dec } = initial(u_enc.numbers, u_dec.numbers, d, h, init);
    const single = (numbers, ...shape) => array(Float32Array.from(numbers), ...shape);
    return { W_enc: single(W_enc, d, h), b_enc: single(b_enc, h), W_dec: single(W_dec, h, d) };
  },
  train_steps: ({ batches, k, lr, renormalize: order, ...params }) => {
    const [, n, d] = batches.shape;
    const units = unitRows(batches, d, params.W_enc.numbers.constructor);
    const inBatches = Array.from({ length: batches.shape[0] }, (_, i) => units.slice(i * n, (i + 1) * n));
    return withShapes(trainSteps(inBatches, paramsOf(params), { k, lr, order }), params);
  },
  read_model: async ({ file }) => {
    const { W_enc, b_enc, W_dec, d, nLatents: h, k, digest } = await openModel(file.numbers);
    return { W_enc: array(W_enc.numbers, d, h), b_enc: array(b_enc, h), W_dec: array(W_dec.numbers, h, d), k, digest };
  },
  read_codes: async ({ file }) => {
    const codes = await openCodes(file.numbers);
    return { ...flat(codes), n_latents: codes.nLatents, model: codes.model };
  },
  read_packed: async ({ file }) => {
    const { data, length, layout, nLatents, k, bits, model } = await openPackedCodes(file.numbers);
    return { packed: array(data, length, layout.rowBytes), n_latents: nLatents, k, bits, model };
  },
  write_model: (inputs) => fileOf(writtenModel(modelOf(inputs))),
  write_codes: (inputs) => fileOf(codesFile(codesIn({ ...inputs, model: inputs.model ?? null }))),
  pack: ({ bits, ...inputs }) => {
    const { data, length, layout } = pack(codesIn(inputs), bits);
    return { packed: array(data, length, layout.rowBytes) };
  },
  unpack: (inputs) => flat(packedIn(inputs).unpack()),
  center_rows: ({ x, mean }) => {
    const [Type, d] = [mean.numbers.constructor, widthOf(x)];
    const model = new Model({ d, nLatents: 1, k: 1, Type, mean: mean.numbers });
    return { x_unit: stacked(unitRows(x, d, Type).map((x_unit, i) => centerRow(x_unit, model.mean, i))) };
  },
};
const fileOf = (bytes) => ({ file: array(bytes, bytes.length) });

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
const mapValues = (object, f) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, f(value)]));

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
