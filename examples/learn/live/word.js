// All that the page shows about one row: the forward pass, the loss of this row alone, and its gradients. Every number
// has the bits of reference.py. No part of the document is touched here.
import { Encoder } from "../../port_js/encoder.mjs";
import { decodedRows } from "../../port_js/model_file.mjs";
import { dot, normOf, unitRow } from "../../port_js/rows.mjs";
import { backward, cosine, forward } from "../../port_js/training.mjs";

// The model's arrays as the functions of training take them: the decoder with float32 weights (E64)
export function unpackedModel(model) {
  const W_dec = new Float32Array(model.nLatents * model.d);
  let at = 0;
  for (const row of decodedRows(model.W_dec, model.d, true)) {
    W_dec.set(row, at);
    at += row.length;
  }
  return { encoder: new Encoder(model.W_enc, model.b_enc, model.d), W_dec };
}

export function stepsOf({ encoder, W_dec }, x, k, auxWeight) {
  const start = performance.now();
  const x_unit = unitRow(x, Float32Array); // E3
  const { indices, values } = encoder.encode(x_unit, k); // E4, E5
  const ms = performance.now() - start;
  const found = forward(x_unit, encoder, W_dec, k); // E6, E7
  const [cos, cosAux] = found.x_hats.map((x_hat) => cosine(x_unit, x_hat)); // E9
  const [x_hat] = found.x_hats;
  return {
    k, auxWeight, ms, x_unit, indices, values, x_hat, cos,
    pre: Float32Array.from({ length: encoder.h }, (_, j) => encoder.exact(x_unit, j)), // E4
    loss_k: 1 - cos, loss_aux: 1 - cosAux, loss: 1 - cos + auxWeight * (1 - cosAux), // E13
    ...gradientsOf(x_unit, found, backward(x_unit, found, W_dec, 1, auxWeight)),
  };
}

const scaled = (y, weight) => y.map((value) => weight * value);
const lengthOf = (y) => normOf(y, y.slice());
const total = (norms) => Math.sqrt(norms.reduce((sum, norm) => sum + norm * norm, 0)); // of all rows of a matrix

// A row stores every latent once, so each gradient of a weight is one product (E8)
function gradientsOf(x_unit, { codes, x_hats }, parts) {
  const ofAtoms = parts.map(({ grad_x_hat }, part) =>
    Array.from(codes[part].values, (value) => lengthOf(scaled(grad_x_hat, value)))); // E7''
  const ofColumns = parts.map(({ grad_values }) =>
    Array.from(grad_values, (grad) => lengthOf(scaled(x_unit, grad)))); // E4'
  const [{ grad_x_hat, grad_values }, rest] = parts;
  return {
    grad_x_hat, grad_values, // of the code: ∂L/∂x̂_k (E9', E13') and ∂L/∂v (E7')
    norm_x_hat: lengthOf(x_hats[0]), norm_grad_x_hat: lengthOf(grad_x_hat), // E2
    along: dot(grad_x_hat, x_hats[0], grad_x_hat.slice()),
    norms_W_dec: ofAtoms[0], norms_W_enc: ofColumns[0],
    norm_W_dec: total(ofAtoms.flat()), norm_W_enc: total(ofColumns.flat()),
    norm_b_enc: total([...grad_values, ...rest.grad_values]),
  };
}
