// The second window: the notes to the slide that is shown, the title of the next one, and two clocks. It has the slides'
// own origin, so it works from a file. Its arrow keys up and down scroll; all other keys move the slides.
const LOOK = `
  body { font: 20px/1.45 system-ui, "DejaVu Sans", sans-serif; margin: 1rem 1.5rem; color: #14181d; background: #fff; overflow-wrap: break-word; }
  h1 { font-size: 1.2em; margin: 0.4em 0; color: #0060a0; }
  p { margin: 0.5em 0; }
  #clock { display: flex; flex-wrap: wrap; gap: 0 1.5rem; align-items: baseline; }
  #clock b { font-size: 1.6em; font-variant-numeric: tabular-nums; }
  #next { border-top: 1px solid #c8ccd0; padding-top: 0.5em; }
  button { font: inherit; padding: 0.1em 0.6em; }
`;
const FRAME = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Notes</title><style>${LOOK}</style>
  <p id="clock"><b id="time"></b><span><b id="passed"></b> minutes passed, <span id="until"></span></span>
    <button type="button" id="restart">Start again at 0</button></p>
  <h1 id="title"></h1><div id="notes" aria-live="polite"></div><p id="waits"></p><p id="next"></p></html>`;

let notes = null;
let began = 0;

const titleOf = (slide) => slide.querySelector("h1, h2").textContent;

function openNotes() {
  notes = window.open("", "notes", "width=900,height=640");
  if (!notes) {
    alert("The browser blocked the window with the notes. Allow pop-up windows for this page, and press n again.");
    return;
  }
  notes.document.open(); // also takes away what a window that was open before listened to
  notes.document.write(FRAME);
  notes.document.close();
  began = Date.now();
  notes.document.getElementById("restart").addEventListener("click", () => { began = Date.now(); tick(); });
  notes.document.addEventListener("keydown", (event) => {
    if (!["ArrowUp", "ArrowDown", "n"].includes(event.key) && event.target.tagName !== "BUTTON") pressed(event);
  });
  notes.setInterval(tick, 1000);
  notes.focus();
  tick();
  changed();
}

function tick() {
  const now = new Date();
  put("time", [now.getHours(), now.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":"));
  put("passed", String(Math.floor((now - began) / 60000)));
}

function put(id, text) {
  notes.document.getElementById(id).textContent = text;
}

changed = () => {
  if (!notes || notes.closed || !notes.document.getElementById("notes")) return;
  const slide = slides[current];
  const next = slides[current + 1];
  put("title", `${slide.id} of ${slides.length}: ${titleOf(slide)}`);
  notes.document.getElementById("notes").innerHTML = slide.querySelector("aside")?.innerHTML ?? "<p>No notes.</p>";
  put("until", `this slide ends at ${slide.dataset.until}`);
  put("waits", waiting(slide).length ? "The answer on this slide is hidden: the next key shows it." : "");
  put("next", next ? `Next: ${titleOf(next)}` : "This is the last slide.");
  notes.scrollTo(0, 0);
};
