// Sections 1 to 4 of compressae.md on typed arrays: sums, unit rows, selection, and the fast exact encoder.
// A store into a Float32Array rounds, so every operation whose result is stored has the bits of float32 (or float64).
import { DTypeError, DomainError, ShapeError, demand } from "./errors.mjs";

// ---- 1. Sums: E1, E2
export function foldSum(terms, n = terms.length) { // overwrites the terms
  while (n > 16 && n % 2 === 0) {
    n /= 2;
    for (let c = 0; c < n; c++) terms[c] += terms[n + c];
  }
  for (let c = 1; c < n; c++) terms[0] += terms[c];
  return terms[0];
}
export function dot(a, b, terms) { // `terms` is room for as many numbers, in the format of the result
  for (let c = 0; c < terms.length; c++) terms[c] = a[c] * b[c];
  return foldSum(terms);
}
export const roundingOf = (Type) => (Type === Float32Array ? Math.fround : (value) => value);
export const normOf = (a, terms) => roundingOf(a.constructor)(Math.sqrt(dot(a, a, terms)));
export const clampedNorm = (a, terms) => Math.max(normOf(a, terms), roundingOf(a.constructor)(1e-8)); // R6

// ---- 2. Unit rows: E3, R3, R4
export const isFloats = (array) => array instanceof Float32Array || array instanceof Float64Array;
export function rowsOf(rows, d, name = "rows") { // → the single rows
  demand(isFloats(rows), DTypeError, `${name}: expected a Float32Array or Float64Array, row after row`);
  demand(rows.length % d === 0, ShapeError, `${name}: expected rows of ${d} numbers each, got ${rows.length} numbers`);
  return Array.from({ length: rows.length / d }, (_, i) => rows.subarray(i * d, (i + 1) * d));
}
const isZero = (row) => row.every((value) => value === 0);

// The unit row in the format Type, and null for a zero row if `zeroRows` is "empty". A row that is wider than Type is
// divided in its own format first.
export function unitRow(row, Type, i, zeroRows = "error") {
  const unit = new (row instanceof Float64Array ? Float64Array : Type)(row.length);
  let largest = 0;
  for (const value of row) {
    demand(Number.isFinite(value), DomainError, "expected finite numbers, got NaN or infinity", i);
    largest = Math.max(largest, Math.abs(value));
  }
  if (largest === 0 && zeroRows === "empty") return null;
  demand(largest > 0, DomainError, "expected a row with a direction, got zeros; zeroRows: \"empty\" allows them", i);
  scaleInto(unit, row, largest);
  const length = normOf(unit, new unit.constructor(unit.length));
  for (let c = 0; c < unit.length; c++) unit[c] /= length;
  return unit instanceof Type ? unit : Type.from(unit);
}
function scaleInto(scaled, row, largest) { // by the power of two of frexp
  let exponent = Math.floor(Math.log2(largest)); // the logarithm may be a little off
  while (2 ** exponent <= largest) exponent += 1;
  const [factor, divisor] = exponent > 0 ? [2 ** -exponent, 1] : [1, 2 ** exponent]; // both are representable
  for (let c = 0; c < row.length; c++) scaled[c] = (row[c] * factor) / divisor;
}
// ---- 3. Selection: R1, R2
// The places of the k values of largest magnitude, ascending; among equal magnitudes the lower place is kept.
export function largest(values, k, i) {
  requireK(k, values.length);
  demand(values.every(Number.isFinite), DomainError, "expected finite values, got NaN or infinity", i); // R3
  const order = Array.from(values.keys()).sort((s, t) => Math.abs(values[t]) - Math.abs(values[s]) || s - t); // R1
  return Int32Array.from(order.slice(0, k)).sort(); // R2
}
export function requireK(k, most, name = "k") {
  const isValid = Number.isInteger(k) && k >= 1 && k <= most;
  demand(isValid, DomainError, `${name}: expected an integer from 1 to ${most}, got ${k}`);
}
// The entries at these places. A code is { indices, values }.
export const entriesAt = ({ indices, values }, places) => ({
  indices: indices.constructor.from(places, (t) => indices[t]),
  values: values.constructor.from(places, (t) => values[t] + 0), // −0 + 0 is +0
});
export const truncate = (code, k, i) => entriesAt(code, largest(code.values, k, i));
export const emptyCode = (k, Type) => // R4
  ({ indices: Int32Array.from({ length: k }, (_, t) => t), values: new Type(k) });
