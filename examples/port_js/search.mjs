// Exact search in asymmetric space: E17, R10, and E27 and E28 for centred models.
import { PackedCodes, requireCodes } from "./codes.mjs";
import { DTypeError, DomainError, ShapeError, demand } from "./errors.mjs";
import { itemNorm } from "./mean.mjs";
import { dot, requireK, roundingOf, truncate } from "./rows.mjs";

// The entries of all items lie in two flat arrays. For packed codes they take 3 k bytes an item (5 k if h is above
// 65,536). To read the packed bytes in each search would need none of this, but takes about eight times as long.
export class PackedIndex {
  constructor(codes, model, { k = codes?.k, norms } = {}) {
    requireCodes(codes);
    const hint = "open the whole model, or with only: \"decoder\"";
    demand(model?.W_dec, DomainError, `model: expected a model with its decoder; ${hint}`);
    const [own, other] = [codes.model ?? null, model.digest ?? null];
    demand(own === null || other === null || own === other, DomainError, // R13
      `codes: expected codes of model ${String(other).slice(0, 12)}, got codes of model ${String(own).slice(0, 12)}`);
    const fitsModel = codes.nLatents === model.nLatents;
    demand(fitsModel, ShapeError, `codes: expected ${model.nLatents} latents, got ${codes.nLatents}`);
    requireK(k, codes.k);
    Object.assign(this, { model, k, length: codes.length, ids: codes.ids ?? null });
    Object.assign(this, codes instanceof PackedCodes ? packedEntries(codes, k) : plainEntries(codes, k, model.Type));
    this.norms = norms ?? this.#stored(codes) ?? this.#norms();
    const areNorms = this.norms instanceof model.Type && this.norms.length === codes.length;
    demand(areNorms, ShapeError, `norms: expected ${codes.length} numbers in a ${model.Type.name}`);
  }

  // The `top` best items for a dense query, best first: row numbers and scores. `exclude` is a row number or several.
  search(query, top = 10, { exclude = [] } = {}) {
    requireTop(top);
    const [x_unit, skipped] = [this.model.unitQuery(query), new Set(typeof exclude === "number" ? [exclude] : exclude)];
    const scores = this.#scores(this.model.overLatents(query));
    const ids = best(scores, top, skipped);
    const [{ mean, Type }, found] = [this.model, this.model.Type.from(ids, (i) => scores[i])];
    if (!mean) return { ids, scores: found };
    const added = dot(x_unit, mean, new Type(mean.length)); // E28
    return { ids, scores: found.map((score) => score + added) };
  }

  #scores(u) {
    const { indices, values, table, norms, k } = this;
    const scores = new u.constructor(this.length);
    if (table && u instanceof Float32Array) scorePacked(scores, u, indices, values, table, norms, k);
    else {
      const [round, valueAt] = [roundingOf(u.constructor), table ? (at) => table[values[at]] : (at) => values[at]];
      for (let i = 0, at = 0; i < scores.length; i++) {
        let total = 0;
        for (let t = 0; t < k; t++, at++) total = round(total + round(u[indices[at]] * valueAt(at)));
        scores[i] = total / norms[i];
      }
    }
    for (const i of this.zeroRows) scores[i] = 0;
    return scores;
  }

  #stored({ norms, k }) { // the norms of a file, if they are those of this model and of all entries
    const fits = norms && norms.model === this.model.digest && norms.values instanceof this.model.Type && k === this.k;
    if (!fits) return null;
    for (const i of this.zeroRows) norms.values[i] = 1; // their scores are 0
    return norms.values;
  }

  #norms() {
    const [{ model, k, indices, values, table }, norms] = [this, new this.model.Type(this.length)];
    const [x_hat, terms, own] = [new model.Type(model.d), new model.Type(model.d), new model.Type(k)];
    for (let i = 0; i < norms.length; i++) {
      for (let t = 0; t < k; t++) own[t] = table ? table[values[i * k + t]] : values[i * k + t];
      model.decodeInto(x_hat, indices.subarray(i * k, (i + 1) * k), own);
      norms[i] = itemNorm(x_hat, model.mean, terms);
      demand(Number.isFinite(norms[i]), DomainError, "codes: expected values whose sum of squares is finite", i);
    }
    for (const i of this.zeroRows) norms[i] = 1; // their scores are 0
    return norms;
  }
}

function packedEntries(codes, k) {
  const { length, layout, nLatents, data } = codes;
  const indices = new (nLatents <= 65536 ? Uint16Array : Int32Array)(length * k);
  const [values, zeroRows] = [new Uint8Array(length * k), []];
  const [own, numbers] = [new Int32Array(codes.k), new Int32Array(codes.k)];
  for (let i = 0; i < length; i++) {
    if (!layout.read(data, i, own, numbers)) zeroRows.push(i);
    const kept = k < codes.k ? layout.largest(numbers, k) : null;
    for (let t = 0, at = i * k; t < k; t++, at++) {
      indices[at] = own[kept ? kept[t] : t];
      values[at] = numbers[kept ? kept[t] : t];
    }
  }
  return { indices, values, zeroRows, table: layout.values };
}

function plainEntries(codes, k, Type) {
  const [indices, values] = [new Int32Array(codes.length * k), new Type(codes.length * k)];
  for (let i = 0; i < codes.length; i++) {
    const code = k < codes.k ? truncate(codes.row(i), k, i) : codes.row(i);
    indices.set(code.indices, i * k);
    values.set(code.values, i * k);
  }
  return { indices, values, zeroRows: [], table: null };
}

function scorePacked(scores, u, indices, values, table, norms, k) { // the same in float32, which compiles to less
  for (let i = 0, at = 0; i < scores.length; i++) {
    let total = 0;
    for (let t = 0; t < k; t++, at++) total = Math.fround(total + Math.fround(u[indices[at]] * table[values[at]]));
    scores[i] = total / norms[i];
  }
}

export function requireTop(top) { // R10
  demand(Number.isInteger(top) && top >= 1, DomainError, `top: expected an integer of at least 1, got ${top}`);
}

// R10: a heap whose root is the worst item that is kept; of equal scores the higher id is the worse
export function best(scores, top, skipped = new Set()) {
  const heap = [];
  const isWorse = (i, j) => scores[i] < scores[j] || (scores[i] === scores[j] && i > j);
  for (let i = 0; i < scores.length; i++) {
    if (heap.length === top && !(scores[i] > scores[heap[0]])) continue; // a later id does not replace an equal score
    if (skipped.size && skipped.has(i)) continue;
    if (heap.length < top) raise(heap, heap.push(i) - 1, isWorse);
    else lower(heap, i, isWorse);
  }
  return Int32Array.from(heap.sort((i, j) => (isWorse(i, j) ? 1 : -1)));
}
function raise(heap, at, isWorse) {
  const i = heap[at];
  for (let parent; at > 0 && isWorse(i, heap[(parent = (at - 1) >> 1)]); at = parent) heap[at] = heap[parent];
  heap[at] = i;
}
function lower(heap, i, isWorse) { // put i in the place of the root
  let at = 0;
  for (let child; (child = 2 * at + 1) < heap.length; at = child) {
    if (child + 1 < heap.length && isWorse(heap[child + 1], heap[child])) child += 1;
    if (!isWorse(heap[child], i)) break;
    heap[at] = heap[child];
  }
  heap[at] = i;
}
