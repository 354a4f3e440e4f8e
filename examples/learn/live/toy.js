// Training in two dimensions: points on the unit circle, and the steps of the port's training, which have the bits of
// reference.py. No part of the document is touched here.
import { Encoder } from "../../port_js/encoder.mjs";
import { unitRow } from "../../port_js/rows.mjs";
import { forward, gradients, initial, moments, trainStep } from "../../port_js/training.mjs";

const POINTS = 60, IN_A_BUNCH = 20;
const DIRECTIONS = [[17, 0], [-17, 0], [8, 15], [-8, 15]]; // of chapter 4, times 17; the first two are opposite
const NOISE = 0.2; // of chapter 4, to both sides in x and y
const KEPT = 600; // losses that are kept for the curve
const SPREAD = 0.35; // radians, of the points of one cluster

function generator(seed) { // of uniform numbers in [0, 1)
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < 8; i++) next(); // seeds that are close to each other start alike
  return next;
}

// Float32Array of (x, y), row after row: `toy_rows` of chapter 4
function bunches(uniform) {
  const points = DIRECTIONS.flatMap((direction) => Array.from({ length: IN_A_BUNCH }, () =>
    direction.map((value) => value / 17 + NOISE * (2 * uniform() - 1))));
  return Float32Array.from(points.flat());
}

function clustersOf(uniform, clusters) { // Float32Array of (x, y), row after row; the clusters have equally many points
  const centres = Array.from({ length: clusters }, (_, i) => ((i + 0.7 * uniform()) / clusters) * 2 * Math.PI);
  const angles = Array.from({ length: POINTS }, (_, i) =>
    centres[i % clusters] + SPREAD * (uniform() + uniform() + uniform() - 1.5));
  return Float32Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
}

const single = (params) => Object.fromEntries(Object.entries(params).map(([name, own]) => [name, Float32Array.from(own)]));

// `settings` are { kind, clusters, h, init, seed, k, lr, auxWeight }. `kind` are the points: "clusters" or "bunches". The
// first five count from the next reset; the others may change between steps.
export class Toy {
  constructor(settings) {
    Object.assign(this, settings);
    this.reset();
  }

  reset() {
    const uniform = generator(this.seed);
    this.points = this.kind === "bunches" ? bunches(uniform) : clustersOf(uniform, this.clusters);
    this.rows = Array.from({ length: this.points.length / 2 }, (_, i) => unitRow(this.points.subarray(2 * i, 2 * i + 2), Float32Array)); // E3
    [this.u_enc, this.u_dec] = [0, 1].map(() => Float64Array.from({ length: 2 * this.h }, uniform));
    this.params = single(initial(this.u_enc, this.u_dec, 2, this.h, this.init)); // R9
    this.start = this.params;
    this.state = moments(this.params);
    [this.step, this.history, this.stride] = [0, [], 1];
  }

  train(steps = 1) {
    for (let i = 0; i < steps; i++) {
      const { params, state, found } = trainStep(this.rows, this.params, this.state, this.step + 1, this);
      this.#remember(found);
      [this.params, this.state, this.step] = [params, state, this.step + 1];
    }
  }

  #remember({ loss_k, loss_aux }) { // of the parameters before the step
    if (this.step % this.stride === 0) this.history.push({ step: this.step, loss_k, loss_aux });
    if (this.history.length < KEPT) return;
    this.history = this.history.filter((_, i) => i % 2 === 0);
    this.stride *= 2;
  }

  // What the present parameters give: losses, and for each latent the number of points whose code has it
  look() {
    const { W_enc, b_enc, W_dec } = this.params;
    const { loss, loss_k, loss_aux } = gradients(this.rows, this.params, this.k, this.auxWeight);
    const encoder = new Encoder({ numbers: W_enc, scales: new Float32Array(this.h).fill(1) }, b_enc, 2);
    const uses = new Int32Array(this.h);
    for (const row of this.rows) {
      for (const j of forward(row, encoder, W_dec, this.k).codes[0].indices) uses[j] += 1;
    }
    const dead = Array.from(uses.keys()).filter((j) => uses[j] === 0);
    const now = { step: this.step, loss_k, loss_aux };
    return { loss, loss_k, loss_aux, uses, dead, curve: [...this.history, now] };
  }
}
