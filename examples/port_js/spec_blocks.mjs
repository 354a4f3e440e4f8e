// CompresSAE in JavaScript: specification 1.0, levels L0 to L3, to the bit. Node 20.15 or later and nothing else.
// Sections and names are the specification's, its blocks are functions here. A matrix is an array of rows, a code a
// pair [indices, values]. `r` follows every single +, −, ×, ÷ and √: it rounds to float32, or does nothing in float64.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { crc32 } from "node:zlib";

const ROUNDING = { "<f4": Math.fround, "<f8": (value) => value };
const range = (n) => Array.from({ length: n }, (_, i) => i);
const descending = (keys) => range(keys.length).sort((i, j) => keys[j] - keys[i] || i - j); // ties: the lower i first
const zerosLike = (array) => (Array.isArray(array) ? array.map(zerosLike) : 0);
const transpose = (matrix) => matrix[0].map((_, j) => matrix.map((row) => row[j]));
const stack = (rows, ...names) => Object.fromEntries(names.map((name, c) => [name, rows.map((row) => row[c])]));
const mapValues = (object, f) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, f(value, key)]));
const fail = (message, error, row) => { throw Object.assign(new Error(message), { error, row }); };
const demand = (condition, ...problem) => condition || fail(...problem); // without an `error` it is a FormatError
const map2 = (a, b, f) => (a.length === b?.length ? a : fail("arrays that do not fit together", "ShapeError"))
  .map((value, i) => f(value, b[i], i));

// ---- 1. Sums: E1, E2
const add = (a, b, r) => map2(a, b, (x, y) => r(x + y));
const addScaled = (a, weight, b, r) => map2(a, b, (x, y) => r(x + r(weight * y)));
const dot = (a, b, r) => foldSum(map2(a, b, (x, y) => r(x * y)), r);
const norm = (a, r) => r(Math.sqrt(dot(a, a, r)));
const divideByNorm = (a, r, length = norm(a, r)) => a.map((value) => r(value / length));
const foldSum = (terms, r, half = terms.length / 2) => (half > 8 && Number.isInteger(half)
  ? foldSum(add(terms.slice(0, half), terms.slice(half), r), r)
  : terms.reduce((total, term) => r(total + term)));

// ---- 2. Unit rows: E3, R3, R4. `wide` rounds to the rows' own format, where that is wider than the model's
const demandFinite = (x, i) => demand(x.every(Number.isFinite), "R3: a row is not finite", "DomainError", i);
const unitRows = (x, r, wide) => x.map((row, i) => unitRow(row, i, wide).map(r));
function unitRow(x, i, r) {
  demandFinite(x, i);
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  demand(largest > 0, "R4: a zero row", "DomainError", i);
  let exponent = Math.floor(Math.log2(largest)); // the logarithm may be a little off
  while (2 ** exponent <= largest) exponent += 1; // now it is that of frexp
  return divideByNorm(x.map((value) => r(exponent > 0 ? value * 2 ** -exponent : value / 2 ** exponent)), r); // ldexp
}

// ---- 3 and 4. Encoding and decoding: E4, E5, E6, E7, R1, R2, R4. W_enc comes as its columns
const preActivations = (x_unit, columns, b_enc, r) => map2(columns, b_enc, (w, b) => r(dot(x_unit, w, r) + b));
const absTopk = (pre, k, i) => splitCode(range(pre.length), pre.map((a) => a + 0), k, i)[0]; // −0 + 0 is +0
const encode = (x_unit, columns, b_enc, k, r) => absTopk(preActivations(x_unit, columns, b_enc, r), k);
function splitCode(indices, values, k, i) { // E6: the code for k, and the rest; i is the row's number
  demand(Number.isInteger(k) && 1 <= k && k <= values.length, `R2: k = ${k} of ${values.length}`, "DomainError");
  demandFinite(values, i);
  const order = descending(values.map(Math.abs)); // R1
  const parts = [order.slice(0, k), order.slice(k)].map((part) => part.sort((s, t) => s - t));
  return parts.map((part) => [part.map((t) => indices[t]), part.map((t) => values[t])]);
}
const splitRows = ({ indices, values, k }) => map2(indices, values, (j, v, i) => splitCode(j, v, k, i).flat());
function encodeRows({ x, W_enc, b_enc, k, zero_rows }, r, wide) {
  const [columns, emptyCode] = [transpose(W_enc), absTopk(zerosLike(b_enc), k)]; // R4; and R2 comes first
  const isEmpty = (row) => zero_rows === "empty" && row.every((value) => value === 0);
  const encodeRow = (row, i) => encode(unitRow(row, i, wide).map(r), columns, b_enc, k, r);
  return stack(x.map((row, i) => (isEmpty(row) ? emptyCode : encodeRow(row, i))), "indices", "values");
}
const decode = (indices, values, W_dec, r) => // E7
  indices.reduce((x_hat, j, t) => addScaled(x_hat, values[t], W_dec[j], r), zerosLike(W_dec[0]));

// ---- 5 and 6. The loss and its gradients: E9, E13, E9', E13', E7', E5', E8, E7'', E4', R5, R6, R7
const clampedNorm = (a, r) => Math.max(norm(a, r), r(1e-8)); // R6
const cosine = (x_unit, x_hat, r) => r(dot(x_unit, x_hat, r) / r(clampedNorm(x_unit, r) * clampedNorm(x_hat, r)));
function forward(x_unit, columns, b_enc, W_dec, k, r) { // E13
  const codes = splitCode(...encode(x_unit, columns, b_enc, Math.min(4 * k, b_enc.length), r), k); // R5
  const [x_hat_k, x_hat_rest] = codes.map((code) => decode(...code, W_dec, r));
  return [codes, x_hat_k, add(x_hat_k, x_hat_rest, r)];
}
function cosineBackward(grad_cos, x_unit, x_hat, r) { // E9'
  const length = clampedNorm(x_hat, r);
  const toward = r(grad_cos / r(clampedNorm(x_unit, r) * length));
  const along = length > r(1e-8) ? r(r(grad_cos * cosine(x_unit, x_hat, r)) / r(length * length)) : 0;
  return map2(x_unit, x_hat, (x, y) => r(r(toward * x) - r(along * y)));
}
function lossBackward(x_unit, x_hat_k, x_hat_aux, n, r) { // E13'
  const grad_aux = cosineBackward(r(r(-1 / n) * 0.125), x_unit, x_hat_aux, r);
  return [add(cosineBackward(r(-1 / n), x_unit, x_hat_k, r), grad_aux, r), grad_aux];
}
const addOuter = (weights, indices, y, out, r) => // E8
  indices.forEach((j, t) => (out[j] = addScaled(out[j], weights[t], y, r)));
function gradients({ x, W_enc, b_enc, W_dec, k }, r, wide) { // b_enc is one more row of W_enc, with the input 1
  const [columns, grad_W_dec] = [transpose(W_enc), zerosLike(W_dec)];
  const grad_columns = zerosLike(transpose([...W_enc, b_enc]));
  const cosines = unitRows(x, r, wide).map((x_unit) => { // in row order
    const [codes, x_hat_k, x_hat_aux] = forward(x_unit, columns, b_enc, W_dec, k, r);
    map2(codes, lossBackward(x_unit, x_hat_k, x_hat_aux, x.length, r), ([indices, values], grad_x_hat) => {
      const grad_values = indices.map((j) => dot(grad_x_hat, W_dec[j], r)); // E7', E5'
      addOuter(values, indices, grad_x_hat, grad_W_dec, r); // E7''
      addOuter(grad_values, indices, [...x_unit, 1], grad_columns, r); // E4'
    });
    return [cosine(x_unit, x_hat_k, r), cosine(x_unit, x_hat_aux, r)];
  });
  const [loss_k, loss_aux] = transpose(cosines).map((cos) => cos.reduce((sum, c) => sum + (1 - c), 0) / x.length);
  const grad_W_enc = transpose(grad_columns);
  return { loss_k, loss_aux, loss: loss_k + loss_aux / 8, grad_b_enc: grad_W_enc.pop(), grad_W_enc, grad_W_dec };
}

// ---- 7. The step: E11, E12, E12', R8, R9
const renormalize = (W_dec, r) => W_dec.map((atom) => divideByNorm(atom, r)); // E12
const project = (grad_W_dec, W_dec, r) => map2(grad_W_dec, W_dec, (g, atom) => addScaled(g, -dot(g, atom, r), atom, r));
const power = (base, exponent, result = 1) => // by repeated squaring
  exponent === 0 ? result : power(base * base, Math.floor(exponent / 2), exponent % 2 === 1 ? result * base : result);
function adam(p, g, m, v, t, lr, r) { // E11; of arrays element by element
  if (Array.isArray(p)) return transpose(p.map((row, i) => adam(row, g[i], m[i], v[i], t, lr, r)));
  const constants = [lr, 0.9, 0.999, 1 - 0.9, 1 - 0.999, 1e-8, 1 - power(0.9, t), 1 - power(0.999, t)];
  const [alpha, beta1, beta2, rest1, rest2, eps, correction1, correction2] = constants.map(r);
  const flush = (moment) => (Math.abs(moment) < (r === Math.fround ? 2 ** -126 : 2 ** -1022) ? 0 : moment);
  const new_m = flush(r(r(beta1 * m) + r(rest1 * g)));
  const new_v = flush(r(r(beta2 * v) + r(rest2 * r(g * g))));
  const step = r(r(alpha * r(new_m / correction1)) / r(r(Math.sqrt(r(new_v / correction2))) + eps)); // R8
  return [r(p - step), new_m, new_v];
}
function trainSteps({ batches, k, lr, renormalize: order, W_enc, b_enc, W_dec }, r, wide) { // R8
  let state = mapValues({ W_enc, b_enc, W_dec }, (param) => [param, zerosLike(param), zerosLike(param)]);
  const params = () => mapValues(state, ([param]) => param);
  const makeUnit = () => (state.W_dec[0] = renormalize(state.W_dec[0], r));
  return Object.fromEntries(batches.flatMap((x, i) => { // step i + 1
    const outputs = gradients({ x, k, ...params() }, r, wide);
    if (order === "before_step") outputs.grad_W_dec = project(outputs.grad_W_dec, makeUnit(), r); // May 2025
    state = mapValues(state, ([p, m, v], name) => adam(p, outputs[`grad_${name}`], m, v, i + 1, lr, r));
    if (order !== "before_step") makeUnit();
    return Object.entries({ ...outputs, ...params() }).map(([name, value]) => [`${i + 1}.${name}`, value]);
  }));
}
function initial({ u_enc, u_dec, init }) { // R9: in float64, rounded when it is answered
  const uniform = (u, fan) => u.map((row) => row.map((value) => (2 * value - 1) * Math.sqrt(6 / fan)));
  const W_dec = renormalize(uniform(u_dec, u_enc.length), ROUNDING["<f8"]);
  return { W_enc: init === "tied" ? transpose(W_dec) : uniform(u_enc, u_dec.length), b_enc: u_dec.map(() => 0), W_dec };
}

// ---- 8. Similarity and search: E10, R6, R10, R13; E15 sparse, E16 reconstructed, E17 asymmetric (isDense)
const gather = (u, indices, values, r) => indices.reduce((total, j, t) => r(total + r((u[j] ?? 0) * values[t])), 0);
const codeNorm = (values, r) => Math.max(r(Math.sqrt(values.reduce((sum, v) => r(sum + r(v * v)), 0))), r(1e-8));
const overLatents = (x, W_dec, r) => W_dec.map((atom) => dot(x, atom, r));
function search({ space, top, W_dec, model, query_model, ...rows }, r, wide) {
  demand(top >= 1, "R10: top is below 1", "DomainError");
  demand(!model || !query_model || model === query_model, "R13: codes of another model", "DomainError");
  const [isSparse, isDense] = [space === "sparse", space === "asymmetric"];
  const x_hatOf = (query) => (isDense ? query : decode(...query, W_dec, r));
  const uOf = (query) => (isSparse ? Object.fromEntries(transpose(query)) : overLatents(x_hatOf(query), W_dec, r));
  const lengthOf = (code) => (isSparse ? codeNorm(code[1], r) : clampedNorm(decode(...code, W_dec, r), r));
  const queries = isDense ? unitRows(rows.queries, r, wide) : transpose([rows.query_indices, rows.query_values]);
  const items = transpose([rows.indices, rows.values]).map((code) => [code, lengthOf(code)]);
  return stack(queries.map((query) => {
    const [u, length] = [uOf(query), isDense ? 1 : lengthOf(query)];
    const scores = items.map(([code, itemLength]) => r(gather(u, ...code, r) / r(length * itemLength)));
    const ids = descending(scores).slice(0, top); // R10
    return [ids, ids.map((id) => scores[id])];
  }), "ids", "scores");
}

// ---- Files, 1 and 2. The archive and its arrays, { descr, shape, raw }: R11, R12. The machine is little-endian
function* members(data) {
  const [u16, u32] = [(at) => data.readUInt16LE(at), (at) => data.readUInt32LE(at)];
  const [end, utf8] = [data.lastIndexOf("PK\x05\x06"), new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })];
  demand(end >= 0, "cut off, or no archive");
  let [at, unclaimed] = [u32(end + 16), data.length];
  for (let count = u16(end + 10); count > 0; count--) {
    demand(data.toString("latin1", at, at + 4) === "PK\x01\x02" && u16(at + 10) === 0, "no member, or compressed");
    const [size, local, nameEnd] = [u32(at + 24), u32(at + 42), at + 46 + u16(at + 28)];
    const start = local + 30 + u16(local + 26) + u16(local + 28);
    const content = data.subarray(start, start + size);
    unclaimed -= size; // no byte belongs to two members
    demand(unclaimed >= 0 && crc32(content) === u32(at + 16), "altered");
    yield [utf8.decode(data.subarray(at + 46, nameEnd)).replace(/\.npy$/, ""), content];
    at = nameEnd + u16(at + 30) + u16(at + 32); demand(count > 1 || at === end, "not one archive");
  }
}
const TYPES = { "<f4": Float32Array, "<f8": Float64Array, "<i4": Int32Array, "<i8": BigInt64Array, "|u1": Uint8Array };
const numbersOf = (descr, raw) => Array.from(new (TYPES[descr] ?? Int32Array)(new Uint8Array(raw).buffer), Number);
const bytesOf = (Type, numbers) => Buffer.from(Type.from(numbers, Type === BigInt64Array ? BigInt : Number).buffer);
const shapeOf = (rows) => (Array.isArray(rows) ? [rows.length, ...shapeOf(rows[0])] : []);
const chunk = (rows, size) => range(rows.length / size).map((i) => rows.slice(i * size, (i + 1) * size));
const tuple = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
const arrayOf = (descr, rows, shape = shapeOf(rows)) =>
  ({ descr, shape, raw: bytesOf(TYPES[descr], [rows].flat(Infinity)) });
function array(content, kind, shape) { // which must be of this kind and shape
  const start = 10 + content.readUInt16LE(8);
  const [header, raw] = [content.toString("latin1", 0, start), content.subarray(start)];
  const [descr, sizes] = [/'descr': '([^']*)'/, /'shape': \(([\d, ]*)\)/].map((entry) => header.match(entry)[1]);
  const given = sizes.split(",").filter((size) => size.trim()).map(Number);
  const length = given.reduce((total, size) => total * size, Number(descr.match(/^<U(\d+)$/)?.[1] ?? 1));
  const numbers = numbersOf(descr, raw); // of a text, <U, one for each character
  demand(header.startsWith("\x93NUMPY\x01\x00") && header.includes("'fortran_order': False"), "no array in C order");
  demand(kind.test(descr) && tuple(given) === tuple(shape), "an array of another kind or shape");
  demand(numbers.length === length && numbers.every(Number.isFinite), "numbers that lack, or that are not finite");
  return { descr, shape, raw, numbers };
}
function open(file, format) { // the meta, and what reads the other members
  const found = new Map(members(file));
  const points = array(found.get("meta"), /^<U\d+$/, []).numbers;
  demand(points.every((point) => point < 0xd800 || point > 0xdfff), "half a pair of UTF-16 is no text");
  const meta = JSON.parse(points.map((point) => String.fromCodePoint(point)).join(""));
  demand(meta.format === format && meta.version === 1, "another format or version");
  return [meta, (name, kind, shape) => array(found.get(name), kind, shape)];
}

// ---- 3 and 4. The model file and the codes file: E18, R2, R12, R13
const digestOf = (arrays) => createHash("sha256").update(concat(...Object.entries(arrays).flatMap( // in their order
  ([name, { descr, shape, raw }]) => [`${name} ${descr} ${tuple(shape)}\n`, raw]))).digest("hex");
function readModel({ file }) {
  const [{ d, n_latents: h, k, dtype, training, digest }, read] = open(file, "compressae-model");
  demand([d, h, k].every(Number.isSafeInteger) && 1 <= d && 1 <= k && k <= h, "d, n_latents or k");
  const kind = { float32: /^<f4$/, float64: /^<f8$/ }[dtype];
  const arrays = mapValues({ W_enc: [d, h], b_enc: [h], W_dec: [h, d] }, (shape, name) => read(name, kind, shape));
  const isUnit = (atom) => Math.abs(norm(atom, ROUNDING["<f8"]) - 1) <= 1e-3;
  demand(chunk(arrays.W_dec.numbers, d).every(isUnit), "an atom is not a unit row");
  demand(Object(training) === training && !Array.isArray(training) && digest === digestOf(arrays), "training, digest");
  return { ...arrays, k, digest };
}
function readCodes({ file }) {
  const [{ k, n_latents, model }, read] = open(file, "compressae-codes");
  const [n, h] = read("shape", /^<i8$/, [2]).numbers;
  demand(Number.isInteger(k) && 1 <= k && k <= h && n_latents === h, "k or n_latents");
  demand(model === null || typeof model === "string", "the model is no text");
  const [data, { numbers: indices }] = [read("data", /^<f[48]$/, [n * k]), read("indices", /^<i4$/, [n * k])];
  demand(indices.every((j, t) => 0 <= j && j < h && (t % k === 0 || indices[t - 1] < j)), "indices");
  demand(read("indptr", /^<i[48]$/, [n + 1]).numbers.every((start, i) => start === i * k), "a row without k entries");
  const values = data.numbers.map((value) => value + 0); // R2
  return { indices: arrayOf("<i4", indices, [n, k]), values: arrayOf(data.descr, values, [n, k]), n_latents, model };
}

// ---- 5. The bytes that a writer makes
const concat = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part, "latin1")));
const [uint16, uint32] = [Uint16Array, Uint32Array].map((Type) => (...numbers) => bytesOf(Type, numbers));
const npy = ({ descr, shape, raw }) => concat("\x93NUMPY\x01\x00", uint16(118), // a header that all of ours fit in
  `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple(shape)}, }`.padEnd(117), "\n", raw);
function archive(arrays, meta) {
  const points = Array.from(JSON.stringify(meta), (character) => character.codePointAt(0));
  const text = { descr: `<U${points.length}`, shape: [], raw: uint32(...points) };
  const files = Object.entries({ ...arrays, meta: text }).map(([name, array]) => [`${name}.npy`, npy(array)]);
  let [body, directory] = [concat(), concat()];
  for (const [name, data] of files) {
    const both = concat(uint16(20, 0, 0, 0, 33), uint32(crc32(data), data.length, data.length), uint16(name.length, 0));
    directory = concat(directory, "PK\x01\x02\x14\x00", both, uint16(0, 0, 0, 0, 0), uint32(body.length), name);
    body = concat(body, "PK\x03\x04", both, name, data);
  }
  const end = [uint16(0, 0, files.length, files.length), uint32(directory.length, body.length), uint16(0)];
  const raw = concat(body, directory, "PK\x05\x06", ...end);
  return { file: { descr: "|u1", shape: [raw.length], raw } };
}
function writeModel({ W_enc, b_enc, W_dec, k }, r, wide, format) {
  const arrays = mapValues({ W_enc, b_enc, W_dec }, (rows) => arrayOf(format, rows));
  const sizes = { d: W_enc.length, n_latents: b_enc.length, k, dtype: format === "<f4" ? "float32" : "float64" };
  return archive(arrays, { format: "compressae-model", version: 1, ...sizes, digest: digestOf(arrays), training: {} });
}
function writeCodes({ indices, values, n_latents, model }, r, wide, format) {
  const [n, k] = shapeOf(indices);
  const [data, indptr] = [values.flat().map((value) => value + 0), range(n + 1).map((i) => i * k)]; // R2
  const csr = { data: arrayOf(format, data), indices: arrayOf("<i4", indices.flat()), indptr: arrayOf("<i4", indptr) };
  const tags = { format: { descr: "|S3", shape: [], raw: "csr" }, _is_array: { descr: "|b1", shape: [], raw: "\x01" } };
  const arrays = { ...csr, shape: arrayOf("<i8", [n, n_latents]), ...tags };
  return archive(arrays, { format: "compressae-codes", version: 1, k, n_latents, model });
}

// ---- The protocol of vectors/README.md: an operation takes nested arrays, and the request's rounding and format
const DESCRS = { F32: "<f4", F64: "<f8", I32: "<i4", I64: "<i8", U8: "|u1" };
const DTYPES = Object.fromEntries(Object.entries(DESCRS).map((pair) => pair.reverse()));
const OPERATIONS = {
  abs_topk: ({ pre, k }) => stack(pre.map((row, i) => absTopk(row, k, i)), "indices", "values"),
  truncate: (inputs) => stack(splitRows(inputs), "indices", "values"), // the first part only
  split_codes: (inputs) => stack(splitRows(inputs), "indices_k", "values_k", "indices_rest", "values_rest"),
  normalize_rows: ({ x }, r, wide) => ({ x_unit: unitRows(x, r, wide) }),
  decode: ({ indices, values, W_dec }, r) => ({ x_hat: map2(indices, values, (j, v) => decode(j, v, W_dec, r)) }),
  cosine: ({ x_unit, x_hat, grad_cos }, r) => stack(map2(x_unit, x_hat, (x, y, i) =>
    [cosine(x, y, r), cosineBackward(grad_cos[i], x, y, r)]), "cos", "grad_x_hat"),
  renormalize: ({ W_dec }, r) => ({ W_dec: renormalize(W_dec, r) }),
  project: ({ grad_W_dec, W_dec }, r) => ({ grad_W_dec: project(grad_W_dec, W_dec, r) }),
  encode: encodeRows, search, gradients, train_steps: trainSteps, init_params: initial,
  read_model: readModel, read_codes: readCodes, write_model: writeModel, write_codes: writeCodes,
  adam: ({ param: p, grad: g, m, v, step: t, lr }, r) => stack(transpose(adam(p, g, m, v, t, lr, r)), "param", "m", "v")
};
function unpack(value) { // an array as nested rows, a file as its bytes
  if (value?.hex === undefined) return value;
  const [descr, raw] = [DESCRS[value.dtype] ?? fail("an unknown type", "DTypeError"), Buffer.from(value.hex, "hex")];
  const numbers = descr === "|u1" ? raw : numbersOf(descr, raw);
  return value.shape.length === 0 ? numbers[0] : value.shape.slice(1).reduceRight(chunk, numbers);
}
function pack(value, name, format) { // rows, a loss, or what is ready: arrays of a file, and what is no array
  const descr = name === "ids" ? "<i8" : name.includes("loss") ? "<f8" : name.includes("indices") ? "<i4" : format;
  const array = Array.isArray(value) || name.includes("loss") ? arrayOf(descr, value) : value;
  return array?.raw ? { dtype: DTYPES[array.descr], shape: array.shape, hex: array.raw.toString("hex") } : array;
}
function answer({ id, operation, inputs }) {
  if (!Object.hasOwn(OPERATIONS, operation)) return { id, unsupported: true };
  const descrOf = (...names) => names.map((name) => DESCRS[inputs[name]?.dtype]).find(Boolean);
  const format = descrOf("W_enc", "W_dec", "values", "pre", "x_unit", "param", "x") ?? "<f4";
  const wide = descrOf("x", "queries", "batches") === "<f8" ? "<f8" : format;
  try {
    const outputs = OPERATIONS[operation](mapValues(inputs, unpack), ROUNDING[format], ROUNDING[wide], format);
    return { id, outputs: mapValues(outputs, (value, name) => pack(value, name, format)) };
  } catch ({ error = "FormatError", row, message }) { // R12: whatever breaks without a demand
    return { id, error, row, message };
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(answer(JSON.parse(line))));
}
