// E65 of small.md: weights of a latent as integers and a scale, for the conformance levels. The Python package writes
// small models.
const halfEven = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

export function roundColumn(weights) { // → { q, scale }
  const scale = Math.fround(weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) / 127);
  if (scale < 2 ** -126) return { q: new Int32Array(weights.length), scale: 1 };
  return { q: Int32Array.from(weights, (weight) => halfEven(weight / scale)), scale };
}

export function roundAtom(weights) {
  const { q } = roundColumn(weights);
  const squares = q.reduce((sum, number) => sum + number * number, 0);
  return { q, scale: Math.fround(1 / Math.sqrt(Math.max(1, squares))) };
}
