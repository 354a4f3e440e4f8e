// CRC-32 of bytes, and SHA-256 of bytes that come in parts.

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});
export function crc32(bytes) {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// The constants of SHA-256 are the first 32 bits behind the point of roots of the first primes.
const PRIMES = [];
for (let n = 2; PRIMES.length < 64; n++) if (PRIMES.every((prime) => n % prime)) PRIMES.push(n);
const fractions = (roots) => Int32Array.from(roots, (root) => Math.floor((root % 1) * 2 ** 32) | 0);
const K = fractions(PRIMES.map(Math.cbrt));
const START = fractions(PRIMES.slice(0, 8).map(Math.sqrt));


// crypto.subtle takes 12 ms for a model of 12 MB, and this takes 60. But that needs a second copy of all weights in one
// piece, decoded, and pages without HTTPS do not have it.
export class Sha256 {
  #state = START.slice();
  #schedule = new Int32Array(64);
  #rest = new Uint8Array(64); // bytes that do not fill a block yet
  #length = 0;

  update(bytes) {
    const filled = this.#length % 64;
    this.#length += bytes.length;
    let at = Math.min(bytes.length, (64 - filled) % 64);
    this.#rest.set(bytes.subarray(0, at), filled);
    if (filled && filled + at === 64) this.#compress(this.#rest, 0);
    for (; at + 64 <= bytes.length; at += 64) this.#compress(bytes, at);
    if (at < bytes.length) this.#rest.set(bytes.subarray(at));
    return this;
  }

  copy() { // what was hashed so far
    const other = new Sha256();
    other.#state.set(this.#state);
    other.#rest.set(this.#rest);
    other.#length = this.#length;
    return other;
  }

  digest() { // → lower-case hex
    const [bits, padding] = [this.#length * 8, new Uint8Array(9 + ((119 - (this.#length % 64)) % 64))];
    padding[0] = 0x80;
    const tail = new DataView(padding.buffer, 0, padding.length);
    tail.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    tail.setUint32(padding.length - 4, bits % 2 ** 32);
    this.update(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #compress(bytes, at) {
    const [w, state] = [this.#schedule, this.#state];
    for (let t = 0, i = at; t < 16; t++, i += 4) {
      w[t] = (bytes[i] << 24) | (bytes[i + 1] << 16) | (bytes[i + 2] << 8) | bytes[i + 3];
    }
    for (let t = 16; t < 64; t++) {
      const early = w[t - 15], late = w[t - 2];
      const s0 = ((early >>> 7) | (early << 25)) ^ ((early >>> 18) | (early << 14)) ^ (early >>> 3);
      const s1 = ((late >>> 17) | (late << 15)) ^ ((late >>> 19) | (late << 13)) ^ (late >>> 10);
      w[t] = (w[t - 16] + s0 + w[t - 7] + s1) | 0;
    }
    let a = state[0], b = state[1], c = state[2], d = state[3];
    let e = state[4], f = state[5], g = state[6], h = state[7];
    for (let t = 0; t < 64; t++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const first = (h + s1 + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const second = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + first) | 0;
      d = c; c = b; b = a; a = (first + second) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d;
    state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }
}
