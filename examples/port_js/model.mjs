// A model: encode, refine, decode, and queries over the latents. Weights are { numbers, scales }: see encoder.mjs.
import { Codes } from "./codes.mjs";
import { Encoder } from "./encoder.mjs";
import { DTypeError, DomainError, ShapeError, demand } from "./errors.mjs";
import { refined } from "./refine.mjs";
import { centerRow, requireMean, restored } from "./mean.mjs";
import { dot, emptyCode, isFloats, requireK, rowsOf, unitRow } from "./rows.mjs";

export class Model {
  #encoder = null;

  // W_enc (d, h) and b_enc (h) or W_dec (h, d), or all of them; `Type` is Float32Array or Float64Array
  constructor({ d, nLatents, k, Type, W_enc, b_enc, W_dec, mean = null, digest = null, checked = null }) {
    Object.assign(this, { d, nLatents, k, Type, W_enc, b_enc, W_dec, mean, digest, checked });
    requireK(k, nLatents);
    if (mean) requireMean(mean, d);
    if (W_enc) this.#encoder = new Encoder(W_enc, b_enc, d);
    [this.atom, this.terms] = [new Type(d), new Type(d)];
  }

  // n rows of d numbers, one after the other → Codes, whose indices and values have k entries for each row
  encode(rows, { k = this.k, zeroRows = "error" } = {}) {
    const encoder = this.#need("encoder", this.#encoder);
    requireK(k, this.nLatents);
    return this.#coded(rows, { k, zeroRows, isRefined: false }, (x_unit, i) => encoder.encode(x_unit, k, i));
  }

  // Codes for dense queries (refine.md): k of the `candidates` latents that the encoder ranks first. It takes longer.
  refine(rows, { k = this.k, candidates = Math.min(4 * k, this.nLatents), zeroRows = "error" } = {}) {
    const [encoder] = [this.#need("encoder", this.#encoder), this.#need("decoder", this.W_dec)];
    requireK(candidates, this.nLatents, "candidates");
    requireK(k, candidates); // R17
    return this.#coded(rows, { k, zeroRows, isRefined: true }, (x_unit, i) => {
      const { indices } = encoder.encode(x_unit, candidates, i);
      return refined(x_unit, indices, Array.from(indices, (j) => this.#atom(j, new this.Type(this.d))), k);
    });
  }

  #coded(rows, { k, zeroRows, isRefined }, code) {
    const isKnown = ["error", "empty"].includes(zeroRows);
    demand(isKnown, DomainError, `zeroRows: expected "error" or "empty", got ${zeroRows}`);
    const codes = rowsOf(rows, this.d).map((row, i) => {
      const x_unit = centerRow(unitRow(row, this.Type, i, zeroRows), this.mean, i);
      return x_unit ? code(x_unit, i) : emptyCode(k, this.Type);
    });
    const [indices, values] = [new Int32Array(codes.length * k), new this.Type(codes.length * k)];
    codes.forEach((own, i) => {
      indices.set(own.indices, i * k);
      values.set(own.values, i * k);
    });
    return new Codes({ indices, values, k, nLatents: this.nLatents, model: this.digest, refined: isRefined });
  }

  // One code { indices, values }, or n codes of k entries each → n reconstructions of d numbers. A centred model adds
  // its mean (E27).
  decode(code) {
    this.#need("decoder", this.W_dec);
    const { indices, values, k = indices?.length } = code ?? {};
    const isCode = isFloats(values) && values.length === indices?.length;
    const expected = "expected indices, and a Float32Array or Float64Array of as many values";
    demand(isCode, DTypeError, `code: ${expected}; unpack packed codes first`);
    demand(indices.length % k === 0, ShapeError, `code: expected rows of ${k} entries, got ${indices.length} entries`);
    const isLatent = (j) => Number.isInteger(j) && j >= 0 && j < this.nLatents;
    demand(indices.every(isLatent), DomainError, `code: expected latents from 0 to ${this.nLatents - 1}`);
    const [rows, x_hat] = [new this.Type((indices.length / k) * this.d), new this.Type(this.d)];
    const own = this.Type.from(values);
    for (let start = 0; start < indices.length; start += k) {
      this.decodeInto(x_hat, indices.subarray(start, start + k), own.subarray(start, start + k));
      rows.set(restored(x_hat, this.mean), (start / k) * this.d);
    }
    return rows;
  }

  decodeInto(x_hat, indices, values) { // E7, without checks
    const [{ numbers, scales }, d] = [this.W_dec, this.d];
    x_hat.fill(0);
    for (let t = 0; t < indices.length; t++) addAtom(x_hat, values[t], numbers, indices[t] * d, scales[indices[t]]);
  }

  overLatents(query) { // u = W_dec x̄ of a dense query at any scale
    return this.products(this.unitQuery(query));
  }

  products(x) { // W_dec x of a row in the model's format
    this.#need("decoder", this.W_dec);
    const u = new this.Type(this.nLatents);
    for (let j = 0; j < u.length; j++) u[j] = dot(x, this.#atom(j, this.atom), this.terms);
    return u;
  }

  unitQuery(query) { // a query keeps the mean: E28
    const rows = rowsOf(query, this.d, "query");
    demand(rows.length === 1, ShapeError, `query: expected ${this.d} numbers, got ${query.length}`);
    return unitRow(rows[0], this.Type);
  }

  #atom(j, atom) {
    const { numbers, scales } = this.W_dec;
    for (let c = 0, at = j * atom.length; c < atom.length; c++, at++) atom[c] = numbers[at] * scales[j];
    return atom;
  }

  #need(part, found) {
    const hint = `this model was opened without its ${part}; use a file that has it, without only`;
    demand(found, DomainError, `expected a model with its ${part}: ${hint}`);
    return found;
  }
}

function addAtom(x_hat, value, numbers, at, scale) {
  if (x_hat instanceof Float32Array) {
    for (let c = 0; c < x_hat.length; c++) x_hat[c] += Math.fround(value * Math.fround(numbers[at + c] * scale));
  } else {
    for (let c = 0; c < x_hat.length; c++) x_hat[c] += value * (numbers[at + c] * scale);
  }
}
