// The equations that the page names: a formula of one line and what it means. Links to them are made from `data-eq`.
import { $, element } from "../../browser/dom.js";

const EQUATIONS = {
  "E2": ["⟨a, b⟩ = Σ_c a[c] · b[c],  ‖a‖ = √⟨a, a⟩", "The dot product and the norm. Their sums have a stated order, so every program gets the same bits."],
  "E3": ["x̄ = x / ‖x‖", "The unit row: the embedding without its length."],
  "E4": ["a = x̄ W_enc + b_enc", "The pre-activations: one number for each of the h latents."],
  "E5": ["the k entries of a with the largest |a[j]|", "The code. Of equal magnitudes the lower latent is stored (R1). Values keep their sign."],
  "E7": ["x̂ = Σ_t v[t] · W_dec[j[t]]", "The reconstruction: the sum of the stored atoms, each times its value."],
  "E9": ["c = ⟨x̄, x̂⟩ / (‖x̄‖ ‖x̂‖)", "The cosine of the unit row and its reconstruction."],
  "E13": ["L = mean(1 − c_k) + ⅛ · mean(1 − c_aux)", "The loss. c_aux is the cosine of the reconstruction from 4k entries: it gives gradients to latents that the code leaves out."],
  "E9'": ["∂c/∂x̂ = x̄ / (‖x̄‖ ‖x̂‖) − c · x̂ / ‖x̂‖²", "How the cosine changes with the reconstruction. It is orthogonal to x̂: the length of x̂ does not matter."],
  "E13'": ["∂L/∂x̂_k = −1/n · ∂c_k/∂x̂_k + ∂L/∂x̂_aux", "The gradient of the loss by the reconstruction, of n rows. Here n = 1 for a word, and 60 for the toy."],
  "E7'": ["∂L/∂v[t] = ⟨∂L/∂x̂, W_dec[j[t]]⟩", "The gradient of a stored value: how well its atom lies along the gradient of x̂."],
  "E7''": ["∂L/∂W_dec[j] = Σᵢ v[i, j] · ∂L/∂x̂ᵢ", "The gradient of an atom. Atoms that the row does not store get none from it."],
  "E4'": ["∂L/∂W_enc = x̄ᵀ ∂L/∂a,  ∂L/∂b_enc = Σᵢ ∂L/∂aᵢ", "The gradients of the encoder. ∂L/∂a is ∂L/∂v at the stored latents and 0 elsewhere (E5')."],
  "E11": ["p ← p − α · m̂ / (√v̂ + ε)", "Adam: every parameter moves by a running mean of its gradient, divided by the root of a running mean of the square."],
  "E12": ["W_dec[j] ← W_dec[j] / ‖W_dec[j]‖", "After each step the atoms are made unit rows again: in the picture, arrows that end on the circle."],
  "E15": ["s_qᵀ s / (‖s_q‖ ‖s‖)", "The sparse cosine: both sides are codes."],
  "E17": ["x̄_qᵀ x̂ / ‖x̂‖", "The query stays dense, and the items are codes."],
};

const idOf = (name) => name.replaceAll("'", "p");
const titleOf = (name) => `${name}: ${EQUATIONS[name][0]}`;

export function equationLink(name) {
  return element("a", name, { "class": "eq", "href": `#${idOf(name)}`, "title": titleOf(name) });
}

export function showEquations() {
  for (const place of document.querySelectorAll("[data-eq]")) {
    const links = place.dataset.eq.split(" ").flatMap((name) => [equationLink(name), " "]);
    place.replaceChildren(...links.slice(0, -1));
  }
  $("equations").replaceChildren(...Object.entries(EQUATIONS).flatMap(([name, [formula, meaning]]) => {
    const term = element("dt", "", { id: idOf(name), tabindex: "-1" });
    term.append(element("b", name), " ", element("code", formula));
    return [term, element("dd", meaning)];
  }));
}

let hasAllDigits = false;
const textOf = (value) => (hasAllDigits ? allDigits(value).replaceAll("-", "−") : written(value));

// The fewest digits that name a float32, as Python prints it; all digits of other numbers, which are float64
export function allDigits(value) {
  if (Math.fround(value) !== value) return String(value);
  let digits = 1;
  while (Math.fround(Number(value.toPrecision(digits))) !== value) digits += 1;
  return String(Number(value.toPrecision(digits)));
}

// A number with few digits, or all of them. All digits and the equation are in the title, and the number in `value`.
export function shown(value, name) {
  return element("data", textOf(value), { value: String(value), title: `${name}, exactly ${allDigits(value)}` });
}

export function showAllDigits(isWanted) {
  hasAllDigits = isWanted;
  for (const each of document.querySelectorAll("data")) each.textContent = textOf(Number(each.value));
}

export function written(value) { // four decimals, or three digits of a small number
  const size = Math.abs(value);
  const text = size >= 0.1 || value === 0 ? value.toFixed(4) : size >= 1e-3 ? value.toPrecision(3) : value.toExponential(2);
  return text.replaceAll("-", "−");
}
