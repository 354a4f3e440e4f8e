// Models that subtract a mean: center.md. `mean` is null for all other models.
import { DomainError, ShapeError, demand } from "./errors.mjs";
import { clampedNorm, dot, roundingOf, unitRow } from "./rows.mjs";

export function requireMean(mean, d) { // R21
  demand(mean.length === d, ShapeError, `mean: expected ${d} numbers, got ${mean.length}`);
  const square = dot(mean, mean, mean.slice());
  demand(square <= 1 - 2 ** -16, DomainError, `mean: expected a norm below 1 (R21), got ${Math.sqrt(square)}`);
}
export function centerRow(unit, mean, i) { // E26
  if (!mean || !unit) return unit;
  return unitRow(unit.map((value, c) => value - mean[c]), unit.constructor, i);
}
export function itemNorm(x_hat, mean, terms) { // ‖x̂‖, or ‖x̂‖ / r with a mean (E28)
  const length = clampedNorm(x_hat, terms);
  return mean ? roundingOf(x_hat.constructor)(length / lengthWithoutMean(x_hat, mean, terms)) : length;
}
export function lengthWithoutMean(x_hat, mean, terms) { // E27
  const round = roundingOf(x_hat.constructor);
  const t = round(dot(x_hat, mean, terms) / clampedNorm(x_hat, terms.slice()));
  const room = round(1 - dot(mean, mean, terms));
  const w = round(round(Math.sqrt(round(round(t * t) + room))) + Math.abs(t));
  return t < 0 ? w : round(room / w);
}
export function restored(x_hat, mean) { // z (E27)
  const [round, terms] = [roundingOf(x_hat.constructor), x_hat.slice()];
  if (!mean) return x_hat;
  const scale = round(lengthWithoutMean(x_hat, mean, terms) / clampedNorm(x_hat, terms));
  return x_hat.map((value, c) => round(scale * value) + mean[c]);
}
