// E4 and E5: the codes of unit rows, with the bits of the specification, at the speed of a plain matrix product.
// Weights are { numbers, scales }: number (c, j) or (j, c) times the scale of latent j, rounded, is the weight (E64).
import { dot, entriesAt, largest, requireK } from "./rows.mjs";

const ROWS = 8; // of W_enc that are added at once, so that the sums are loaded and stored less often

export class Encoder {
  constructor({ numbers, scales }, b_enc, d) {
    const h = b_enc.length;
    Object.assign(this, { numbers, scales, b_enc, d, h, sums: new Float64Array(h) });
    [this.column, this.terms] = [new b_enc.constructor(d), new b_enc.constructor(d)];
    Object.assign(this, this.#bounds());
  }

  // By E4 the difference between a pre-activation of the specification and one of `#approximate` is at most
  //   beta = 2 γ (max ‖w_j‖ + max |b_j|) + (d + 9) tiny,   γ = m u / (1 − m u) with m = d + 9.
  // Both are sums of the same d products and a bias, in two orders, and each operation has a relative error of at most
  // u, the unit roundoff of the model's format: the sums here are in float64, which is at least as precise. m has one
  // operation more than in E4, for the product with the scale, which is rounded there and not rounded here. `tiny` is
  // the least positive number: products that underflow have an absolute error of half of it. ‖x̄‖ is 1 within rounding.
  #bounds() {
    const [isSingle, m] = [this.b_enc instanceof Float32Array, this.d + 9];
    const [u, tiny, most] = isSingle ? [2 ** -24, 2 ** -149, 2 ** 126] : [2 ** -53, 2 ** -1074, 2 ** 1022];
    const largestBias = this.b_enc.reduce((most_b, b) => Math.max(most_b, Math.abs(b)), 0);
    // squares below 2^-1022 vanish: their numbers add at most √d 2^-511 to a norm. 1 + 2^-20 is for rounding here
    const total = (this.#largestNorm() + Math.sqrt(this.d) * 2 ** -511 + largestBias) * (1 + 2 ** -20);
    const beta = 2 * ((m * u) / (1 - m * u)) * total + m * tiny;
    return { beta, mayOverflow: !(total < most) }; // then all pre-activations are computed as specified
  }

  #largestNorm() {
    const [{ numbers, scales, d, h }, squares] = [this, new Float64Array(this.h)];
    for (let c = 0, at = 0; c < d; c++) {
      for (let j = 0; j < h; j++, at++) squares[j] += (numbers[at] * scales[j]) ** 2;
    }
    return Math.sqrt(squares.reduce((most, square) => Math.max(most, square), 0));
  }

  encode(x_unit, k, i) { // i is the row's number in errors
    requireK(k, this.h);
    const indices = this.mayOverflow ? Int32Array.from(this.b_enc.keys()) : this.#candidates(x_unit, k);
    const code = { indices, values: this.b_enc.constructor.from(indices, (j) => this.exact(x_unit, j)) };
    return entriesAt(code, largest(code.values, k, i));
  }

  exact(x_unit, j) { // one pre-activation, as specified
    const { numbers, scales, column, h } = this;
    for (let c = 0, at = j; c < column.length; c++, at += h) column[c] = numbers[at] * scales[j];
    return dot(x_unit, column, this.terms) + this.b_enc[j];
  }

  // A latent whose magnitude is more than 2 beta below the k-th largest cannot be selected: with the errors of both,
  // at least k others are above it.
  #candidates(x_unit, k) {
    const magnitudes = this.#approximate(x_unit);
    const least = magnitudes.slice().sort()[this.h - k] - 2 * this.beta;
    const found = [];
    for (let j = 0; j < this.h; j++) if (magnitudes[j] >= least) found.push(j);
    return Int32Array.from(found);
  }

  #approximate(x_unit) { // the magnitudes of all pre-activations
    const { numbers, scales, sums, b_enc, d, h } = this;
    sums.fill(0);
    let c = 0;
    for (; c + ROWS <= d; c += ROWS) addRows(sums, numbers, c * h, x_unit, c);
    for (; c < d; c++) for (let j = 0, at = c * h; j < h; j++, at++) sums[j] += x_unit[c] * numbers[at];
    for (let j = 0; j < h; j++) sums[j] = Math.abs(sums[j] * scales[j] + b_enc[j]);
    return sums;
  }
}

function addRows(sums, w, at, x, c) {
  const h = sums.length;
  const x0 = x[c], x1 = x[c + 1], x2 = x[c + 2], x3 = x[c + 3];
  const x4 = x[c + 4], x5 = x[c + 5], x6 = x[c + 6], x7 = x[c + 7];
  for (let j = 0, a = at; j < h; j++, a++) {
    sums[j] += x0 * w[a] + x1 * w[a + h] + (x2 * w[a + 2 * h] + x3 * w[a + 3 * h])
      + (x4 * w[a + 4 * h] + x5 * w[a + 5 * h] + (x6 * w[a + 6 * h] + x7 * w[a + 7 * h]));
  }
}
