// Keys: → ↓ PageDown space: next; ← ↑ PageUp: back; Home, End; n: notes in a second window. The address keeps the slide: #7.
const slides = Array.from(document.querySelectorAll("section"));
const progress = document.createElement("div");
progress.id = "progress";
progress.setAttribute("aria-hidden", "true");
progress.append(document.createElement("i"));
document.body.append(progress);

let current = 0;
let changed = () => {}; // what else follows the slides: the notes

function mark(number) {
  current = number;
  progress.firstChild.style.width = `${(100 * (number + 1)) / slides.length}%`;
  changed();
}

function show(number) {
  const slide = slides[Math.max(0, Math.min(slides.length - 1, number))];
  slide.scrollIntoView();
  slide.focus({ preventScroll: true }); // so that a screen reader reads from here
  mark(slides.indexOf(slide));
  history.replaceState(null, "", `#${slide.id}`);
}

// An answer waits for the next key. It is transparent and not absent: a screen reader reads it, and nothing moves when it
// appears. Without keys nothing waits: not for readers who scroll, and not on paper.
const waiting = (slide) => slide.querySelectorAll(".later.waits");

function forward() {
  const [answer] = waiting(slides[current]);
  if (answer) {
    answer.classList.remove("waits");
    changed();
  } else if (current + 1 < slides.length) {
    for (const each of slides[current + 1].querySelectorAll(".later")) each.classList.add("waits");
    show(current + 1);
  }
}

function back() {
  show(current - 1);
  reveal();
}

function reveal() {
  for (const each of document.querySelectorAll(".waits")) each.classList.remove("waits");
}

document.addEventListener("wheel", reveal, { passive: true });

const STEPS = {
  ArrowRight: forward, ArrowDown: forward, PageDown: forward, " ": forward,
  ArrowLeft: back, ArrowUp: back, PageUp: back,
};

// On a small screen a slide is longer than the screen: arrow keys scroll, as on any page
const wide = () => window.innerWidth > 700 && window.innerHeight > 500;

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = event.key === " " && event.shiftKey ? back : STEPS[event.key];
  if (event.key === "n") openNotes();
  else if (event.key === "Home") show(0);
  else if (event.key === "End") show(slides.length - 1);
  else if (step && wide()) step();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);

const seen = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => mark(slides.indexOf(entry.target))),
  { rootMargin: "-45% 0px -45% 0px" },
);
for (const slide of slides) {
  slide.tabIndex = -1;
  seen.observe(slide);
}
mark(Math.max(0, slides.findIndex((slide) => `#${slide.id}` === location.hash)));
