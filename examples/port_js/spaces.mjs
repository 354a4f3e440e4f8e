// Sparse and reconstructed space, whose queries are codes: E15, E16, R13. They are here for the conformance levels, and
// compute the norms of all items in every search; `PackedIndex` does so once.
import { DomainError, demand } from "./errors.mjs";
import { clampedNorm, roundingOf } from "./rows.mjs";
import { best } from "./search.mjs";

export function searchWithCode(codes, query, top, model) { // without a model in sparse space
  demand(Number.isInteger(top) && top >= 1, DomainError, `top: expected an integer of at least 1, got ${top}`); // R10
  const [Type, round] = [query.values.constructor, roundingOf(query.values.constructor)];
  const reconstruct = (code) => model.decode(code);
  const lengthOf = (code) => (model ? clampedNorm(reconstruct(code), new Type(model.d)) : codeNorm(code.values));
  const [u, length] = [model ? model.products(reconstruct(query)) : scattered(query, codes.nLatents), lengthOf(query)];
  const scores = Type.from({ length: codes.length }, (_, i) => {
    const code = codes.row(i);
    const total = code.indices.reduce((sum, j, t) => round(sum + round(u[j] * code.values[t])), 0);
    return total / round(length * lengthOf(code));
  });
  const ids = best(scores, top);
  return { ids, scores: Type.from(ids, (i) => scores[i]) };
}

function scattered({ indices, values }, h) {
  const u = new values.constructor(h);
  indices.forEach((j, t) => (u[j] = values[t]));
  return u;
}

function codeNorm(values) { // a sum in stored order, unlike `normOf`
  const round = roundingOf(values.constructor);
  return Math.max(round(Math.sqrt(values.reduce((sum, value) => round(sum + round(value * value)), 0))), round(1e-8)); // R6
}
