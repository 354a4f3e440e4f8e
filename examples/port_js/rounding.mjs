// E65 of small.md: weights of a latent as integers and a scale, for the conformance levels. The Python package writes
// small models.
const halfEven = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

export function roundColumn(weights) { // → { q, scale }
  const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0);
  const scale = Math.fround(roundTo17Bits(largest / 127)) || 1;
  return { q: Int32Array.from(weights, (weight) => Math.max(-127, Math.min(127, halfEven(weight / scale)))), scale };
}

export function roundAtom(weights) {
  const { q } = roundColumn(weights);
  const squares = q.reduce((sum, number) => sum + number * number, 0);
  return { q, scale: Math.fround(1 / Math.sqrt(Math.max(1, squares))) };
}

function roundTo17Bits(value) {
  if (value === 0) return 0;
  let exponent = Math.floor(Math.log2(value)); // the logarithm may be a little off
  while (2 ** exponent <= value) exponent += 1;
  while (2 ** (exponent - 1) > value) exponent -= 1;
  return halfEven(value * 2 ** (17 - exponent)) * 2 ** (exponent - 17);
}
