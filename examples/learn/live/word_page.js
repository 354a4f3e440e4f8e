// Part 2: one word, step by step.
import { $, element, number } from "../../browser/dom.js";
import { signedBar, sticks } from "./charts.js";
import { allDigits, shown, written } from "./equations.js";
import { showNeighbours } from "./neighbours.js";
import { stepsOf } from "./word.js";

const AUX = 1 / 8, FIRST = 8, NAMED = 3, STRONGEST = 10, WIDTH = 96, WIDE = 512;

// `page` is { model, items, labels, arrays }, where arrays are what `unpackedModel` made; → the numbers that are shown
export function showWord(page, row, k, hasAux) {
  const steps = stepsOf(page.arrays, page.items.row(row), k, hasAux ? AUX : 0);
  const order = Array.from(steps.values.keys()).sort((s, t) => Math.abs(steps.values[t]) - Math.abs(steps.values[s]) || s - t);
  $("word").textContent = page.labels.names[row];
  $("gloss").textContent = `${page.labels.names[row]}: ${page.labels.texts[row]}`;
  showUnitRow(steps);
  showPre(steps, order);
  showCode(page, steps, order);
  showReconstruction(steps);
  showGradient(steps, order);
  const neighbours = showNeighbours(page.items, row, k, steps.x_hat, page.labels);
  const numbers = `cosine ${written(steps.cos)}, loss ${written(steps.loss)}`;
  $("word-status").textContent = `${page.labels.names[row]}, k = ${k}: ${numbers}. ${$("shared").textContent}`;
  return { row, order, neighbours, ...steps };
}

const put = (id, ...content) => $(id).replaceChildren(...content);
const extent = (values) => `from ${written(values.reduce((a, b) => Math.min(a, b)))} to ${written(values.reduce((a, b) => Math.max(a, b)))}`;

// ---- Exact values, which are written when they are asked for

function exactly(id, names, columns, rows = Array.from(columns[0].keys())) {
  const box = $(id);
  const fill = () => {
    if (!box.open) return;
    const head = element("tr", "");
    head.append(...names.map((name) => element("th", name, { scope: "col" })));
    const body = rows.map((i) => {
      const line = element("tr", "");
      line.append(element("th", i, { scope: "row" }), ...columns.map((values) => element("td", allDigits(values[i]))));
      return line;
    });
    const [table, top, main] = [element("table", ""), element("thead", ""), element("tbody", "")];
    top.append(head);
    main.append(...body);
    table.append(top, main);
    box.querySelector(".exact").replaceChildren(table);
  };
  box.ontoggle = fill;
  fill();
}

// ---- The steps

function showUnitRow({ x_unit, ms }) {
  const label = `The ${x_unit.length} numbers of x̄, ${extent(x_unit)}`;
  put("unit-chart", sticks({ layers: [{ values: x_unit, className: "own" }], width: WIDTH, label }));
  put("unit-first", ...firstNumbers(x_unit, "E3"));
  exactly("unit-exact", ["dimension", "x̄"], [x_unit]);
  put("ms", `E3 to E5 took ${ms.toFixed(1)} ms in this tab.`);
}

const firstNumbers = (values, name) =>
  Array.from(values.subarray(0, 4)).flatMap((value) => [shown(value, name), ", "]).concat("…");

function showPre({ pre, indices, k }, order) {
  const least = Math.abs(pre[indices[order.at(-1)]]);
  const at = Array.from(indices);
  const label = `The ${number(pre.length)} pre-activations, ${extent(pre)}. The ${k} selected ones have a magnitude of at least ${written(least)}`;
  const layers = [{ values: pre, className: "other" }, { values: pre, className: "chosen", at }];
  put("pre-chart", sticks({ layers, width: WIDE, label, lines: [least, -least] }));
  put("least", shown(least, "E4"));
  put("pre-count", number(pre.length));
  const largest = Array.from(pre.keys()).sort((i, j) => Math.abs(pre[j]) - Math.abs(pre[i]) || i - j).slice(0, 80);
  exactly("pre-exact", ["latent", "a"], [pre], largest);
}

function showCode({ items, labels }, { indices, values, k }, order) {
  const most = Math.abs(values[order[0]]);
  const before = { open: latentsAt(".code details[open]"), focused: latentsAt(".code details:focus-within") };
  const entries = order.map((t) => {
    const [j, sign] = [indices[t], Math.sign(values[t])];
    const summary = element("summary", "");
    const named = items.codes ? items.strongest(j, sign, NAMED).map(({ row }) => labels.names[row].split(",")[0]).join(" · ") : "…";
    summary.append(element("span", `latent ${j}`, { class: "latent" }), signedBar(values[t], most), shown(values[t], "E5"),
      element("span", named || "no entry has it on this side", { class: "named" }));
    const made = element("details", "", { "data-latent": j });
    made.append(summary);
    made.ontoggle = () => made.open && made.children.length === 1 && made.append(sides(items, labels, j));
    const item = element("li", "");
    item.append(made);
    return item;
  });
  put("code-first", ...entries.slice(0, FIRST));
  put("code-rest", ...entries.slice(FIRST));
  restore(before);
  $("code-more").hidden = k <= FIRST;
  put("code-count", `The other ${k - FIRST} entries`);
  put("code-k", `${k}`);
}

const latentsAt = (where) => Array.from(document.querySelectorAll(where), ({ dataset }) => dataset.latent);

function restore({ open, focused }) { // latents that are still there stay open, and keep the focus of the keyboard
  for (const each of document.querySelectorAll(".code > li > details")) {
    each.open = open.includes(each.dataset.latent);
    if (focused.includes(each.dataset.latent)) each.firstChild.focus({ preventScroll: true });
  }
}

function sides(items, labels, j) { // the strongest entries with a positive and a negative value
  const made = element("div", "", { class: "sides" });
  if (!items.codes) made.append(element("p", "The entries are still being encoded.", { class: "quiet" }));
  for (const [sign, title] of items.codes ? [[1, "Strongest, positive"], [-1, "Strongest, negative"]] : []) {
    const side = element("div", "");
    const list = element("ol", "");
    for (const { row, value } of items.strongest(j, sign, STRONGEST)) {
      const line = element("li", "");
      line.append(element("a", labels.names[row], { href: `#w${row}`, title: labels.texts[row] }), " ", shown(value, "E5"));
      list.append(line);
    }
    side.append(element("b", title), list.children.length ? list : element("p", "none", { class: "quiet" }));
    made.append(side);
  }
  return made;
}

function showReconstruction({ x_unit, x_hat, norm_x_hat, cos, k }) {
  const label = `x̄ and its reconstruction x̂ from ${k} entries: their cosine is ${written(cos)}`;
  const layers = [{ values: x_unit, className: "own" }, { values: x_hat.map((value) => value / norm_x_hat), className: "hat" }];
  put("hat-chart", sticks({ layers, width: WIDTH, label }));
  for (const id of ["cos", "bar-cos"]) put(id, shown(cos, "E9"));
  put("hat-norm", shown(norm_x_hat, "E2"));
  put("hat-first", ...firstNumbers(x_hat, "E7"));
  exactly("hat-exact", ["dimension", "x̄", "x̂"], [x_unit, x_hat]);
}

function showGradient(steps, order) {
  const { grad_x_hat, auxWeight, indices, values, grad_values, norms_W_dec, norms_W_enc, k } = steps;
  const label = `The ${grad_x_hat.length} numbers of the gradient of the loss by x̂, ${extent(grad_x_hat)}`;
  put("grad-chart", sticks({ layers: [{ values: grad_x_hat, className: "own" }], width: WIDTH, label }));
  exactly("grad-exact", ["dimension", "∂L/∂x̂"], [grad_x_hat]);
  for (const name of ["loss", "loss_k", "loss_aux"]) put(`word-${name}`, shown(steps[name], "E13"));
  put("formula", auxWeight ? "L = (1 − c_k) + ⅛ · (1 − c_aux)" : "L = 1 − c_k");
  $("aux-loss").hidden = !auxWeight;
  put("norm-hat", shown(steps.norm_grad_x_hat, "E13', E2"));
  put("along", shown(steps.along, "E2"));
  for (const name of ["W_dec", "W_enc", "b_enc"]) put(`norm-${name}`, shown(steps[`norm_${name}`], name === "W_dec" ? "E7''" : "E4'"));
  const rows = order.map((t) => {
    const line = element("tr", "");
    const cells = [[values[t], "E5"], [grad_values[t], "E7'"], [norms_W_dec[t], "E7''"], [norms_W_enc[t], "E4'"]];
    line.append(element("th", indices[t], { scope: "row" }), ...cells.map(([value, name]) => {
      const cell = element("td", "");
      cell.append(shown(value, name));
      return cell;
    }));
    return line;
  });
  put("grads", ...rows);
  put("grads-count", k === 1 ? "1 row." : `${k} rows.`);
  $("grads-box").setAttribute("aria-label", `Gradients of the ${k} stored entries`);
}
