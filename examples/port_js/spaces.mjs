// Sparse and reconstructed space, whose queries are codes: E15, E16, R13. They are here for the conformance levels, and
// compute the norms of all items in every search; `PackedIndex` does so once.
import { DomainError, demand } from "./errors.mjs";
import { clampedNorm, dot, roundingOf } from "./rows.mjs";
import { best, itemNorm, lengthWithoutMean } from "./search.mjs";

export function searchWithCode(codes, query, top, model) { // without a model in sparse space
  demand(Number.isInteger(top) && top >= 1, DomainError, `top: expected an integer of at least 1, got ${top}`); // R10
  const [Type, round] = [query.values.constructor, roundingOf(query.values.constructor)];
  const { u, length, added } = model ? overAtoms(query, model) : overCode(query, codes.nLatents);
  const itemLength = (code) => itemNorm(model.decode(code), model.mean, new Type(model.d));
  const lengthOf = (code) => (model ? itemLength(code) : codeNorm(code.values));
  const scores = Type.from({ length: codes.length }, (_, i) => {
    const code = codes.row(i);
    const total = code.indices.reduce((sum, j, t) => round(sum + round(u[j] * code.values[t])), 0);
    return total / round(length * lengthOf(code));
  });
  const ids = best(scores, top);
  return { ids, scores: Type.from(ids, (i) => scores[i] + added) };
}

function overAtoms(query, model) { // E16; E27 and E28 with a mean
  const [x_hat, terms] = [model.decode(query), new model.Type(model.d)];
  if (!model.mean) return { u: model.products(x_hat), length: clampedNorm(x_hat, terms), added: 0 };
  const [round, scale] = [roundingOf(model.Type), new model.Type(1)];
  scale[0] = lengthWithoutMean(x_hat, model.mean, terms) / clampedNorm(x_hat, terms);
  const z = x_hat.map((value, c) => round(scale[0] * value) + model.mean[c]);
  return { u: model.products(z), length: 1, added: dot(z, model.mean, terms) };
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
