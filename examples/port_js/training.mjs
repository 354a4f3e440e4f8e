// Sections 5 to 7 of compressae.md: the loss, its gradients, and the step, for the conformance levels and for pages
// that explain training. It is slow. A matrix is a flat array, row after row; `params` are { W_enc, b_enc, W_dec }.
import { Encoder } from "./encoder.mjs";
import { DomainError, demand } from "./errors.mjs";
import { clampedNorm, dot, entriesAt, largest, normOf, requireK, roundingOf } from "./rows.mjs";

export function splitCode(code, k, i) { // E6: the code for k, and the rest
  const kept = largest(code.values, k, i);
  const rest = Array.from(code.indices.keys()).filter((t) => !kept.includes(t));
  return [kept, rest].map((places) => entriesAt(code, places));
}

// ---- 5. The loss: E9, E13, R5
export function cosine(x_unit, x_hat) {
  const [round, terms] = [roundingOf(x_hat.constructor), x_hat.slice()];
  return round(dot(x_unit, x_hat, terms) / round(clampedNorm(x_unit, terms) * clampedNorm(x_hat, terms)));
}
const atomOf = (W_dec, j, d) => W_dec.subarray(j * d, (j + 1) * d);
function addScaled(out, weight, y) { // out += weight · y
  const round = roundingOf(out.constructor);
  for (let c = 0; c < out.length; c++) out[c] += round(weight * y[c]);
}
function decode({ indices, values }, W_dec, d) {
  const x_hat = new W_dec.constructor(d);
  indices.forEach((j, t) => addScaled(x_hat, values[t], atomOf(W_dec, j, d)));
  return x_hat;
}
export function forward(x_unit, encoder, W_dec, k, i) { // → the code and the rest, and x̂_k and x̂_aux
  const codes = splitCode(encoder.encode(x_unit, Math.min(4 * k, encoder.h), i), k, i); // R5
  const [x_hat_k, x_hat_rest] = codes.map((code) => decode(code, W_dec, x_unit.length));
  return { codes, x_hats: [x_hat_k, x_hat_k.map((value, c) => value + x_hat_rest[c])] };
}

// ---- 6. Gradients: E9', E13', E7', E5', E8, E7'', E4', R7
export function cosineBackward(grad_cos, x_unit, x_hat) {
  const [round, terms] = [roundingOf(x_hat.constructor), x_hat.slice()];
  const length = clampedNorm(x_hat, terms);
  const toward = round(grad_cos / round(clampedNorm(x_unit, terms) * length));
  const scaled = round(round(grad_cos * cosine(x_unit, x_hat)) / round(length * length));
  const along = length > round(1e-8) ? scaled : 0;
  return x_hat.map((value, c) => round(toward * x_unit[c]) - round(along * value));
}
function lossBackward(x_unit, [x_hat_k, x_hat_aux], n, auxWeight) {
  const round = roundingOf(x_hat_k.constructor);
  const grad_aux = cosineBackward(round(round(-1 / n) * round(auxWeight)), x_unit, x_hat_aux);
  const grad_k = cosineBackward(round(-1 / n), x_unit, x_hat_k).map((value, c) => value + grad_aux[c]);
  return [grad_k, grad_aux];
}
// What `forward` found for one of n rows → the gradients of its reconstructions and values, for the code and the rest
export function backward(x_unit, { codes, x_hats }, W_dec, n, auxWeight = 1 / 8) {
  return lossBackward(x_unit, x_hats, n, auxWeight).map((grad_x_hat, part) => {
    const { indices, values } = codes[part];
    const gradOf = (j) => dot(grad_x_hat, atomOf(W_dec, j, x_unit.length), x_unit.slice()); // E7', E5'
    return { grad_x_hat, grad_values: values.constructor.from(indices, gradOf) };
  });
}
export function gradients(x, { W_enc, b_enc, W_dec }, k, auxWeight = 1 / 8) { // x are unit rows
  const [d, h, zeros] = [x[0].length, b_enc.length, (array) => new array.constructor(array.length)];
  requireK(k, h);
  const encoder = new Encoder({ numbers: W_enc, scales: new Float32Array(h).fill(1) }, b_enc, d);
  const [grad_W_enc, grad_b_enc, grad_W_dec] = [zeros(W_enc), zeros(b_enc), zeros(W_dec)];
  const losses = [0, 0];
  x.forEach((x_unit, i) => { // in row order
    const found = forward(x_unit, encoder, W_dec, k, i);
    found.x_hats.forEach((x_hat, part) => (losses[part] += (1 - cosine(x_unit, x_hat)) / x.length));
    backward(x_unit, found, W_dec, x.length, auxWeight).forEach(({ grad_x_hat, grad_values }, part) => {
      const { indices, values } = found.codes[part];
      indices.forEach((j, t) => {
        addScaled(atomOf(grad_W_dec, j, d), values[t], grad_x_hat); // E7''
        addToColumn(grad_W_enc, j, h, grad_values[t], x_unit); // E4'
        grad_b_enc[j] += grad_values[t];
      });
    });
  });
  const [loss_k, loss_aux] = losses;
  return { loss_k, loss_aux, loss: loss_k + auxWeight * loss_aux, grad_W_enc, grad_b_enc, grad_W_dec };
}
function addToColumn(W, j, h, weight, y) {
  const round = roundingOf(W.constructor);
  for (let c = 0; c < y.length; c++) W[c * h + j] += round(weight * y[c]);
}

// ---- 7. The step: E11, E12, E12', R8, R9
const eachRow = (W, d, f) => {
  for (let start = 0; start < W.length; start += d) f(W.subarray(start, start + d), start);
  return W;
};
export const renormalize = (W_dec, d) => eachRow(W_dec.slice(), d, (atom) => {
  const length = normOf(atom, atom.slice());
  for (let c = 0; c < d; c++) atom[c] /= length;
});
export const project = (grad_W_dec, W_dec, d) => eachRow(grad_W_dec.slice(), d, (grad, start) => {
  const atom = W_dec.subarray(start, start + d);
  addScaled(grad, -dot(grad, atom, atom.slice()), atom);
});
const power = (base, exponent, result = 1) => // by repeated squaring
  exponent === 0 ? result : power(base * base, Math.floor(exponent / 2), exponent % 2 === 1 ? result * base : result);
export function adam({ param, grad, m, v }, step, lr) { // E11; new arrays
  const round = roundingOf(param.constructor);
  const constants = [lr, 0.9, 0.999, 1 - 0.9, 1 - 0.999, 1e-8, 1 - power(0.9, step), 1 - power(0.999, step)];
  const [alpha, beta1, beta2, rest1, rest2, eps, correction1, correction2] = constants.map(round);
  const smallest = param instanceof Float32Array ? 2 ** -126 : 2 ** -1022;
  const flush = (moment) => (Math.abs(moment) < smallest ? 0 : moment);
  const new_m = m.map((value, i) => flush(round(round(beta1 * value) + round(rest1 * grad[i]))));
  const new_v = v.map((value, i) => flush(round(round(beta2 * value) + round(rest2 * round(grad[i] * grad[i])))));
  const denominator = new_v.map((value) => round(Math.sqrt(round(value / correction2))) + eps); // R8
  const moved = param.map((value, i) => value - round(round(alpha * round(new_m[i] / correction1)) / denominator[i]));
  return { param: moved, m: new_m, v: new_v };
}
export const moments = (params) => // before the first step
  Object.fromEntries(Object.entries(params).map(([name, { length, constructor: Type }]) =>
    [name, { m: new Type(length), v: new Type(length) }]));

// Step 1, 2, … on a batch of unit rows → new params and moments, and the losses and gradients of the params before
export function trainStep(x, params, state, step, { k, lr, order, auxWeight }) { // R8
  const [found, d] = [gradients(x, params, k, auxWeight), params.W_enc.length / params.b_enc.length];
  params = { ...params };
  if (order === "before_step") { // May 2025
    params.W_dec = renormalize(params.W_dec, d);
    found.grad_W_dec = project(found.grad_W_dec, params.W_dec, d);
  }
  const moved = {};
  for (const name of Object.keys(params)) {
    const { param, m, v } = adam({ ...state[name], param: params[name], grad: found[`grad_${name}`] }, step, lr);
    [params[name], moved[name]] = [param, { m, v }];
  }
  if (order !== "before_step") params.W_dec = renormalize(params.W_dec, d);
  return { params, state: moved, found };
}
export function trainSteps(batches, params, { k, lr, order }) {
  let state = moments(params);
  const outputs = {};
  batches.forEach((x, i) => { // step i + 1
    let found;
    ({ params, state, found } = trainStep(x, params, state, i + 1, { k, lr, order }));
    for (const [name, value] of Object.entries({ ...found, ...params })) outputs[`${i + 1}.${name}`] = value;
  });
  return outputs;
}
export function initial(u_enc, u_dec, d, h, init) { // R9: in float64, rounded when it is answered
  const uniform = (u, fan) => u.map((value) => (2 * value - 1) * Math.sqrt(6 / fan));
  const W_dec = renormalize(uniform(u_dec, d), d);
  demand(["tied", "original"].includes(init), DomainError, `init: expected "tied" or "original", got ${init}`);
  const tied = Float64Array.from({ length: d * h }, (_, at) => W_dec[(at % h) * d + Math.floor(at / h)]);
  return { W_enc: init === "tied" ? tied : uniform(u_enc, h), b_enc: new Float64Array(h), W_dec };
}
