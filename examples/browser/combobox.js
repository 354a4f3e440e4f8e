// A text field that suggests items while one types. Arrow keys, Enter, Escape, the mouse and screen readers work.
import { element, number } from "./dom.js";
import { matching, plain } from "./names.js";

const SUGGESTED = 8;

// `input`, `list` and `status` are elements. `names` and `texts` belong to the items; `choose` gets the row of one.
export function combobox({ input, list, status, names, texts, choose }) {
  const plainNames = names.map(plain);
  const options = () => [...list.querySelectorAll("[role=option]")];
  let active = -1; // the suggestion that the arrow keys have reached

  function suggest() {
    const text = plain(input.value.trim());
    const found = matching(plainNames, text);
    list.replaceChildren(...found.slice(0, SUGGESTED).map(option));
    if (text && !found.length) list.replaceChildren(nothing());
    open(text !== "");
    if (text) status.textContent = `${number(found.length)} ${found.length === 1 ? "item matches" : "items match"}`;
  }

  function option(row, at) {
    const made = element("li", "", { id: `option${at}`, role: "option", "aria-selected": "false", "data-row": row });
    made.append(element("b", names[row]), element("span", texts[row], { class: "quiet" }));
    return made;
  }

  function open(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    status.textContent = "";
    activate(-1);
  }

  function activate(at) {
    const all = options();
    active = all.length ? at : -1;
    all.forEach((each, i) => each.setAttribute("aria-selected", String(i === active)));
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    all[active].scrollIntoView({ block: "nearest" });
    return input.setAttribute("aria-activedescendant", all[active].id);
  }

  function pressed(event) {
    const all = options();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.hidden) suggest();
    else if (step && all.length) activate(active < 0 && step < 0 ? all.length - 1 : (active + step + all.length) % all.length);
    else if (event.key === "Escape") open(false);
    else if (event.key === "Enter" && all.length && !list.hidden) chosen(all[Math.max(active, 0)]);
    else if (event.key !== "Enter") return;
    event.preventDefault();
  }

  function chosen(which) {
    open(false);
    input.value = "";
    choose(Number(which.dataset.row));
  }

  input.addEventListener("input", suggest);
  input.addEventListener("keydown", pressed);
  input.addEventListener("blur", () => open(false));
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
  list.addEventListener("click", (event) => {
    const which = event.target.closest("[role=option]");
    if (!which) return;
    chosen(which);
    if (event.pointerType === "touch") input.blur(); // the keyboard on the screen would cover the answer
  });
}

const nothing = () => element("li", "No item has this name", { class: "quiet none", role: "presentation" });
