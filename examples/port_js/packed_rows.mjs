// E24 and E25 of packed.md: the bytes of one code. Bit i is bit i mod 8 of byte i div 8; the lowest bit comes first.
import { DomainError, FormatError, demand } from "./errors.mjs";

export class Layout {
  constructor(h, k, bits) {
    demand([4, 5, 6, 8].includes(bits), DomainError, `bits: expected 4, 5, 6 or 8, got ${bits}`); // R18
    const total = (low) => k * low + k + Math.floor((h - 1) / 2 ** low);
    let low = 0;
    for (let wider = 1; wider < 32; wider++) if (total(wider) < total(low)) low = wider;
    const levels = 2 ** (bits - 1);
    Object.assign(this, { h, k, bits, low, levels, highStart: k * low, valueStart: total(low) });
    this.rowBits = this.valueStart + k * bits;
    this.rowBytes = Math.ceil(this.rowBits / 8);
    // the value that each stored number stands for: ±(q + ½) / levels
    const valueOf = (_, number) => (((number % levels) + 0.5) / levels) * (number >= levels ? -1 : 1);
    this.values = Float32Array.from({ length: 2 * levels }, valueOf);
  }

  // Write the indices of row i of `data` and the numbers that stand for its values. → false for a zero row (R19)
  read(data, i, indices, numbers) {
    const { k, low, bits, valueStart } = this;
    const start = i * this.rowBytes;
    const ones = this.#readHighs(data, start, indices);
    if (ones === 0 && this.#isZero(data, start)) return zeroRow(indices, numbers);
    readNumbers(data, start, 0, low, k, numbers);
    for (let t = 0; t < k; t++) indices[t] = (indices[t] << low) | numbers[t];
    readNumbers(data, start, valueStart, bits, k, numbers);
    const fault = ones !== k ? `${ones} entries` : this.#fault(data, start, indices, numbers);
    demand(!fault, FormatError, () => `packed: expected bytes that packing produces, got ${fault}`, i); // R20
    return true;
  }

  #readHighs(data, start, indices) { // the t-th one of the string stands at (index >> low) + t. → their number
    const { highStart, valueStart } = this;
    let t = 0;
    for (let byte = highStart >> 3; byte * 8 < valueStart; byte++) {
      let ones = data[start + byte];
      if (byte * 8 < highStart) ones &= 255 << (highStart & 7);
      if (byte * 8 + 8 > valueStart) ones &= (1 << (valueStart & 7)) - 1;
      for (; ones !== 0; ones &= ones - 1) {
        indices[t] = byte * 8 - highStart + 31 - Math.clz32(ones & -ones) - t;
        t += 1;
      }
    }
    return t;
  }

  largest(numbers, k) { // the places of the k numbers whose values have the largest magnitude (R2)
    const order = Array.from(numbers.keys(), (t) => t);
    order.sort((s, t) => (numbers[t] % this.levels) - (numbers[s] % this.levels) || s - t);
    return order.slice(0, k).sort((s, t) => s - t);
  }

  #isZero(data, start) {
    return data.subarray(start, start + this.rowBytes).every((byte) => byte === 0);
  }

  #fault(data, start, indices, numbers) {
    const { k, h, levels, rowBits, rowBytes } = this;
    let largest = 0;
    for (let t = 0; t < k; t++) {
      if (!(indices[t] < (t + 1 < k ? indices[t + 1] : h))) return "indices that do not ascend below n_latents";
      largest = Math.max(largest, numbers[t] % levels);
    }
    if (largest !== levels - 1) return "no value of the largest magnitude";
    return rowBits % 8 && data[start + rowBytes - 1] >> rowBits % 8 ? "bits behind the last value" : null;
  }

  // Write row i. Values of any float format, whose quotients are rounded to it
  write(data, i, { indices, values }) {
    const { k, low, bits, levels, highStart, valueStart } = this;
    const quotient = new values.constructor(1);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest === 0) return; // R19
    for (let t = 0, start = i * this.rowBytes; t < k; t++) {
      quotient[0] = Math.abs(values[t]) / largest;
      const q = Math.min(levels - 1, Math.floor(quotient[0] * levels)); // a product with a power of two is exact
      putBits(data, start, t * low, low, indices[t]);
      putBits(data, start, highStart + Math.floor(indices[t] / 2 ** low) + t, 1, 1);
      putBits(data, start, valueStart + t * bits, bits, q + (values[t] < 0 ? levels : 0));
    }
  }
}

function zeroRow(indices, numbers) {
  for (let t = 0; t < indices.length; t++) [indices[t], numbers[t]] = [t, 0];
  return false;
}

function readNumbers(data, start, at, width, count, numbers) { // what lies behind the data reads as 0
  const mask = (1 << width) - 1;
  for (let t = 0; t < count; t++, at += width) {
    const byte = start + (at >> 3);
    const window = data[byte] | (data[byte + 1] << 8) | (data[byte + 2] << 16);
    numbers[t] = (width <= 17 ? window >> (at & 7) : wideWindow(data, byte, at & 7)) & mask;
  }
}
function wideWindow(data, byte, shift) { // JavaScript takes a shift modulo 32, so it must be below
  let bits = data[byte] >> shift;
  for (let i = 1; 8 * i - shift < 32; i++) bits |= data[byte + i] << (8 * i - shift);
  return bits;
}

function putBits(data, start, at, width, number) {
  for (let i = 0; i < width; i++) data[start + ((at + i) >> 3)] |= ((number >> i) & 1) << ((at + i) & 7);
}
