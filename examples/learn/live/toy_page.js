// Part 1: the controls, the picture and the curve of the toy.
import { $, element } from "../../browser/dom.js";
import { drawn } from "./charts.js";
import { shown, written } from "./equations.js";
import { Toy } from "./toy.js";

const AUX = 1 / 8, MOST_STEPS = 5000, AT_ONCE = 100; // steps at once where motion is not wanted
const RATES = [0.001, 0.003, 0.01, 0.03, 0.1];

const SETTINGS = ["clusters", "h", "toy-k", "init", "lr", "toy-aux"]; // in the order of the values below
const EXAMPLES = { // of points; `pause` is the step after which the toy pauses once
  clusters: { values: [5, 8, 2, "original", 2, true], seed: 0, pause: MOST_STEPS },
  bunches: { values: [4, 4, 1, "original", 3, false], seed: 15, pause: 120 },
};

let toy, timer = null, kind = "clusters";

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const isRunning = () => timer !== null;

function settings() {
  const init = $("init").value;
  const [clusters, h, k, seed] = ["clusters", "h", "toy-k", "seed"].map((id) => Number($(id).value));
  return { kind, clusters, h, init, k, seed, lr: RATES[$("lr").value], auxWeight: $("toy-aux").checked ? AUX : 0 };
}

// ---- The picture

const at = (length, angle) => `${(100 * length * Math.cos(angle)).toFixed(2)} ${(-100 * length * Math.sin(angle)).toFixed(2)}`;

function arrow(angle, className) { // an atom, which a negative value uses backwards
  const made = drawn("g", { class: className });
  made.append(drawn("path", { class: "back", d: `M0 0L${at(1, angle + Math.PI)}` }), drawn("path", { d: `M0 0L${at(0.93, angle)}` }));
  made.append(drawn("path", { class: "head", d: `M${at(1, angle)}L${at(0.9, angle + 0.05)}L${at(0.9, angle - 0.05)}Z` }));
  return made;
}

// How far out each number stands: numbers of atoms that are close to each other stand behind each other
function levels(angles) {
  const found = [];
  for (const angle of angles) {
    const near = found.filter((other) => Math.cos(angle - other.angle) > 0.985).map(({ level }) => level);
    let level = 0;
    while (near.includes(level)) level += 1;
    found.push({ angle, level });
  }
  return found.map(({ level }) => 1.1 + 0.12 * level);
}

function numbered(j, angle, isDead, far) {
  const [x, y] = at(far, angle).split(" ");
  const text = drawn("text", { x, y });
  text.textContent = isDead ? `(${j})` : String(j);
  return text;
}

function drawAtoms({ uses }) {
  const { W_dec } = toy.params;
  const made = [drawn("circle", { r: 100 })];
  for (const [x, y] of toy.rows) made.push(drawn("circle", { class: "point", cx: 100 * x, cy: -100 * y, r: 2.6 }));
  const angles = Array.from(uses, (_, j) => Math.atan2(W_dec[2 * j + 1], W_dec[2 * j]));
  const far = levels(angles);
  uses.forEach((count, j) => {
    made.push(arrow(angles[j], count ? "atom" : "atom dead"), numbered(j, angles[j], !count, far[j]));
  });
  $("atoms").replaceChildren(...made);
}

function drawCurve({ curve }) {
  const [width, height] = [300, 120];
  const lastStep = Math.max(10, toy.step);
  const most = curve.reduce((m, { loss_k, loss_aux }) => Math.max(m, loss_k, loss_aux), 1e-3);
  const path = (name) => curve.map((each, i) =>
    `${i ? "L" : "M"}${((width * each.step) / lastStep).toFixed(1)} ${(height - (height * each[name]) / most).toFixed(1)}`).join("");
  const label = (text, x, y, anchor = "start") => {
    const made = drawn("text", { x, y, "text-anchor": anchor });
    made.textContent = text;
    return made;
  };
  $("curve").replaceChildren(drawn("path", { class: "zero", d: `M0 0V${height}H${width}` }),
    drawn("path", { class: "aux", d: path("loss_aux") }), drawn("path", { class: "loss", d: path("loss_k") }),
    label(most.toFixed(2), -4, 4, "end"), label("0", -4, height, "end"), label("step 0", 0, height + 16),
    label(String(lastStep), width, height + 16, "end"));
}

// ---- The numbers

function tableRow(j, count) {
  const { W_dec, b_enc } = toy.params;
  const angle = (Math.atan2(W_dec[2 * j + 1], W_dec[2 * j]) * 180) / Math.PI;
  const made = element("tr", "");
  const bias = element("td", "");
  bias.append(shown(b_enc[j], "b_enc of E4"));
  made.append(element("th", `${j}${count ? "" : " (dead)"}`, { scope: "row" }), element("td", `${angle.toFixed(0)}°`),
    element("td", `${count} of ${toy.rows.length}`), bias);
  return made;
}

const deadText = ({ dead }) => (dead.length ? `${dead.length} of ${toy.h}: ${dead.join(", ")}` : `none of ${toy.h}`);

function summary({ loss, loss_k, dead }) {
  const found = `loss ${written(loss)}, 1 − c ${written(loss_k)}, dead latents: ${dead.length}`;
  return `Step ${toy.step}: ${found}.`;
}

function draw() {
  const now = toy.look();
  drawAtoms(now);
  drawCurve(now);
  $("toy-step").textContent = toy.step;
  for (const name of ["loss", "loss_k", "loss_aux"]) $(`toy-${name}`).replaceChildren(shown(now[name], "E13"));
  $("toy-dead").textContent = deadText(now);
  $("latents").replaceChildren(...Array.from(now.uses, (count, j) => tableRow(j, count)));
  const about = `${toy.rows.length} points on the unit circle and ${toy.h} atoms as numbered arrows. Dead latents: ${deadText(now)}.`;
  $("atoms").setAttribute("aria-label", about);
  $("curve").setAttribute("aria-label", `Losses by step. ${summary(now)}`);
  $("train").dataset.step = toy.step;
  return now;
}

const say = (now, before = "") => { $("toy-status").textContent = before + summary(now); };

// ---- Running

function stop(before = "Paused. ") {
  cancelAnimationFrame(timer);
  timer = null;
  $("run").textContent = isStill() ? `Run ${AT_ONCE} steps` : "Start";
  say(draw(), before);
}

function stepsLeft() { // until the next pause
  const { pause } = EXAMPLES[kind];
  return (toy.step < pause ? pause : MOST_STEPS) - toy.step;
}

function frame() {
  const left = stepsLeft();
  toy.train(Math.min(left, Number($("speed").value)));
  if (left <= Number($("speed").value)) return stop(`Stopped after ${toy.step} steps. `);
  draw();
  timer = requestAnimationFrame(frame);
}

function toggle() {
  if (isRunning()) return stop();
  if (toy.step >= MOST_STEPS) return say(draw(), `The toy stops after ${MOST_STEPS} steps: reset it. `);
  if (isStill()) {
    toy.train(Math.min(AT_ONCE, stepsLeft()));
    return say(draw());
  }
  $("run").textContent = "Pause";
  $("toy-status").textContent = "Running.";
  timer = requestAnimationFrame(frame);
}

function oneStep() {
  if (isRunning()) stop();
  toy.train();
  say(draw());
}

function reset() {
  cancelAnimationFrame(timer);
  Object.assign(toy, settings());
  toy.reset();
  stop("Reset. ");
}

// ---- Controls

const valueOf = (id) => ($(id).type === "checkbox" ? $(id).checked : $(id).value);

function showSettings() {
  const { clusters, h, k, lr } = settings();
  const shownValues = { "clusters": clusters, "h": h, "toy-k": k, "lr": lr, "speed": $("speed").value };
  for (const [id, value] of Object.entries(shownValues)) $(`${id}-value`).textContent = value;
  $("lr").setAttribute("aria-valuetext", String(lr));
  for (const [name, { values }] of Object.entries(EXAMPLES)) {
    const isThis = name === kind && SETTINGS.every((id, i) => String(valueOf(id)) === String(values[i]));
    $(`example-${name}`).setAttribute("aria-pressed", String(isThis));
  }
  $("clusters").disabled = kind === "bunches"; // there are four
  $("about-bunches").hidden = kind !== "bunches";
}

function takeExample(name) {
  const { values, seed } = EXAMPLES[name];
  kind = name;
  SETTINGS.forEach((id, i) => { $(id)[$(id).type === "checkbox" ? "checked" : "value"] = values[i]; });
  $("seed").value = seed;
  showSettings();
  seedIsValid();
  reset();
}

function seedIsValid() {
  const isValid = /^\d{1,6}$/.test($("seed").value.trim());
  $("seed-error").textContent = isValid ? "" : `Seed: expected an integer from 0 to 999999, got “${$("seed").value}”.`;
  $("seed").setAttribute("aria-invalid", String(!isValid));
  return isValid;
}

function changed({ target: { id } }) {
  showSettings();
  if (!seedIsValid()) return;
  if (["clusters", "h", "init", "seed"].includes(id)) reset();
  else Object.assign(toy, settings());
  if (!isRunning()) draw();
}

export function startToy() {
  toy = new Toy(settings());
  showSettings();
  $("toy-form").addEventListener("input", changed);
  for (const name of Object.keys(EXAMPLES)) $(`example-${name}`).addEventListener("click", () => takeExample(name));
  $("toy-form").addEventListener("submit", (event) => event.preventDefault());
  for (const [id, act] of [["run", toggle], ["one-step", oneStep], ["reset", () => seedIsValid() && reset()]]) {
    $(id).addEventListener("click", act);
    $(id).disabled = false;
  }
  stop("");
  return toy;
}
