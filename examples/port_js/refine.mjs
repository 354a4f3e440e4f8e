// Refined codes: refine.md. Orthogonal matching pursuit among candidates, and the values of least squares.
import { dot, entriesAt, roundingOf } from "./rows.mjs";

export function refined(x_unit, indices, atoms, k) { // → { indices, values }
  const round = roundingOf(x_unit.constructor);
  const [values, { chosen, p, y }] = [new x_unit.constructor(atoms.length), pursue(x_unit, atoms, k, round)];
  for (let t = chosen.length - 1; t >= 0; t--) { // E22
    let total = y[t];
    for (let s = t + 1; s < chosen.length; s++) total = round(total - round(p[t][chosen[s]] * values[chosen[s]]));
    values[chosen[t]] = total / p[t][chosen[t]];
  }
  const others = Array.from(atoms.keys()).filter((i) => !chosen.includes(i)).slice(0, k - chosen.length); // R16
  return entriesAt({ indices, values }, Int32Array.from([...chosen, ...others]).sort());
}

function pursue(x_unit, atoms, k, round) {
  const [Type, terms] = [x_unit.constructor, new x_unit.constructor(x_unit.length)];
  const products = (a) => Type.from(atoms, (atom) => dot(atom, a, terms));
  const [r, left] = [products(x_unit), new Set(atoms.keys())]; // E19
  const [chosen, p, y] = [[], [], []];
  while (left.size > 0 && chosen.length < k) {
    const c = strongest(r, left);
    left.delete(c);
    const remainder = products(atoms[c]); // E20
    const square = remainder[c];
    for (const old of p) subtract(remainder, old[c], old, round);
    if (!(remainder[c] > round(square * (Type === Float32Array ? 2 ** -11 : 2 ** -26)))) continue; // R15
    const root = round(Math.sqrt(remainder[c]));
    chosen.push(c);
    p.push(remainder.map((value) => value / root));
    y.push(round(r[c] / root));
    subtract(r, y.at(-1), p.at(-1), round); // E21
  }
  return { chosen, p, y };
}

function strongest(r, left) { // R14: of equal magnitudes the first, since `left` ascends
  let best = -1;
  for (const i of left) if (best < 0 || Math.abs(r[i]) > Math.abs(r[best])) best = i;
  return best;
}

function subtract(a, factor, b, round) {
  for (let i = 0; i < a.length; i++) a[i] -= round(factor * b[i]);
}
