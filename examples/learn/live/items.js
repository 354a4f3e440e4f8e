// All entries: their codes, which the tab computes, their neighbours in four ways, and the entries that name a latent.
// No part of the document is touched here.
import { Codes } from "../../port_js/codes.mjs";
import { dot, unitRow } from "../../port_js/rows.mjs";
import { PackedIndex, best } from "../../port_js/search.mjs";
import { searchWithCode } from "../../port_js/spaces.mjs";
import { cosine } from "../../port_js/training.mjs";

export const K_MAX = 64;
const SLICE = 12; // milliseconds of encoding between two pauses, in which the page answers
const SIZES = 4; // indexes that are kept, one for each k

export class Items {
  #indexes = new Map();

  constructor(model, x) { // x are the rows, one after the other
    const [d, length] = [model.d, x.length / model.d];
    const row = (i) => x.subarray(i * d, (i + 1) * d);
    Object.assign(this, { model, length, row, codes: null });
    this.units = Array.from({ length }, (_, i) => unitRow(row(i), Float32Array)); // E3
  }

  // Encode all rows with 64 entries: the code for a smaller k is a part of that code (R2)
  async encode(onProgress) {
    const { model, length, row } = this;
    const [indices, values] = [new Int32Array(length * K_MAX), new Float32Array(length * K_MAX)];
    let ms = 0;
    for (let i = 0; i < length;) {
      const start = performance.now();
      for (; i < length && performance.now() - start < SLICE; i++) {
        const code = model.encode(row(i), { k: K_MAX });
        indices.set(code.indices, i * K_MAX);
        values.set(code.values, i * K_MAX);
      }
      ms += performance.now() - start;
      onProgress(i / length);
      await new Promise((resolve) => setTimeout(resolve));
    }
    this.codes = new Codes({ indices, values, k: K_MAX, nLatents: model.nLatents, model: model.digest });
    this.msPerRow = ms / length;
    this.#collect();
  }

  #collect() { // the entries with each latent
    this.holders = Array.from({ length: this.codes.nLatents }, () => []);
    this.codes.indices.forEach((j, at) => {
      this.holders[j].push({ row: Math.floor(at / K_MAX), value: this.codes.values[at] });
    });
  }

  // The entries that store latent j with this sign, largest magnitude first
  strongest(j, sign, top) {
    const found = this.holders[j].filter(({ value }) => Math.sign(value) === sign);
    return found.sort((a, b) => Math.abs(b.value) - Math.abs(a.value) || a.row - b.row).slice(0, top);
  }

  byDense(row, top) { // cosines of unit rows are dot products (E2)
    const terms = new Float32Array(this.model.d);
    const scores = Float32Array.from(this.units, (unit) => dot(this.units[row], unit, terms));
    return others(row, scores, top);
  }

  byReconstruction(row, x_hat, top) { // E9 of each unit row and the reconstruction of this row
    return others(row, Float32Array.from(this.units, (unit) => cosine(unit, x_hat)), top);
  }

  bySparse(row, k, top) { // E15
    const { indices, values } = this.#index(k);
    const codes = new Codes({ indices, values, k, nLatents: this.model.nLatents });
    return without(row, searchWithCode(codes, codes.row(row), top + 1, null), top);
  }

  byDenseQuery(row, k, top) { // E17
    return without(row, this.#index(k).search(this.row(row), top + 1), top);
  }

  #index(k) {
    const index = this.#indexes.get(k) ?? new PackedIndex(this.codes, this.model, { k });
    this.#indexes.delete(k);
    this.#indexes.set(k, index); // the last of the map is the one used last
    if (this.#indexes.size > SIZES) this.#indexes.delete(this.#indexes.keys().next().value);
    return index;
  }
}

function others(row, scores, top) {
  return Array.from(best(scores, top, new Set([row])), (id) => ({ row: id, score: scores[id] }));
}

function without(row, { ids, scores }, top) {
  const found = Array.from(ids, (id, at) => ({ row: id, score: scores[at] }));
  return found.filter((each) => each.row !== row).slice(0, top);
}
