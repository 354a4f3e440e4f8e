// Sparse and reconstructed space, whose queries are codes: E15, E16, R13. They are here for the conformance levels, and
// compute the norms of all items in every search; `PackedIndex` does so once.
import { itemNorm } from "./mean.mjs";
import { clampedNorm, dot, roundingOf } from "./rows.mjs";
import { best, requireTop } from "./search.mjs";

export function searchWithCode(codes, query, top, model) { // without a model in sparse space
  requireTop(top);
  const [Type, round] = [query.values.constructor, roundingOf(query.values.constructor)];
  const { u, length, added } = model ? overAtoms(query, model) : overCode(query, codes.nLatents);
  const lengthOf = (code) => (model ? reconstructedNorm(code, model) : codeNorm(code.values));
  const scores = Type.from({ length: codes.length }, (_, i) => {
    const code = codes.row(i);
    const total = code.indices.reduce((sum, j, t) => round(sum + round(u[j] * code.values[t])), 0);
    return total / round(length * lengthOf(code));
  });
  const ids = best(scores, top);
  return { ids, scores: Type.from(ids, (i) => scores[i] + added) };
}

function overAtoms(query, model) { // E16; E28 with a mean
  const [x, terms] = [model.decode(query), new model.Type(model.d)];
  const [length, added] = model.mean ? [1, dot(x, model.mean, terms)] : [clampedNorm(x, terms), 0];
  return { u: model.products(x), length, added };
}

function reconstructedNorm({ indices, values }, model) {
  const x_hat = new model.Type(model.d);
  model.decodeInto(x_hat, indices, values);
  return itemNorm(x_hat, model.mean, x_hat.slice());
}

function overCode({ indices, values }, h) { // E15
  const u = new values.constructor(h);
  indices.forEach((j, t) => (u[j] = values[t]));
  return { u, length: codeNorm(values), added: 0 };
}

function codeNorm(values) { // a sum in stored order, unlike `clampedNorm`
  const round = roundingOf(values.constructor);
  const square = values.reduce((sum, value) => round(sum + round(value * value)), 0);
  return Math.max(round(Math.sqrt(square)), round(1e-8)); // R6
}
