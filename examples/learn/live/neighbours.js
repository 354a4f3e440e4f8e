// The neighbours of a word in four ways, side by side.
import { $, TOP, element } from "../../browser/dom.js";
import { shown } from "./equations.js";

const LISTS = [["dense", "E2"], ["sparse", "E15"], ["asymmetric", "E17"], ["restored", "E9"]];

function entry({ row, score }, [list, equation], isDense, labels) {
  const made = element("li", "", { "data-row": row });
  const name = labels.names[row];
  made.append(element("a", name, { href: `#w${row}`, title: name }), shown(score, equation));
  if (list !== "dense" && isDense) {
    made.append(element("span", "✓", { "class": "mark", "aria-hidden": "true" }),
      element("span", "also a dense neighbour", { class: "hidden" }));
    made.className = "both";
  }
  made.append(element("span", labels.texts[row], { "class": "text quiet", "title": labels.texts[row] }));
  return made;
}

// `x_hat` is the reconstruction of the row → { dense, restored, sparse, asymmetric }: lists of { row, score }; the last two
// are missing until all entries are encoded
export function showNeighbours(items, row, k, x_hat, labels) {
  const found = { dense: items.byDense(row, TOP), restored: items.byReconstruction(row, x_hat, TOP) };
  if (items.codes) Object.assign(found, { sparse: items.bySparse(row, k, TOP), asymmetric: items.byDenseQuery(row, k, TOP) });
  const dense = new Set(found.dense.map((each) => each.row));
  for (const list of LISTS) {
    const own = found[list[0]];
    $(list[0]).replaceChildren(...(own ?? []).map((each) => entry(each, list, dense.has(each.row), labels)));
  }
  $("shared").textContent = items.codes ? sharedText(found, dense, k) : "The neighbours by codes follow when all entries are encoded.";
  $("bar-found").textContent = items.codes ? foundText(found, dense) : "Encoding all entries …";
  return found;
}

const common = (list, dense) => list.filter(({ row }) => dense.has(row)).length;

function sharedText(found, dense, k) {
  const [sparse, asymmetric, restored] = ["sparse", "asymmetric", "restored"].map((list) => common(found[list], dense));
  return `At k = ${k}, the codes alone find ${sparse} of the ${TOP} dense neighbours, the dense query finds ${asymmetric}, and x̂ finds ${restored}.`;
}

function foundText({ sparse, asymmetric, restored }, dense) { // the same in few words
  return `Neighbours, of ${TOP}: codes ${common(sparse, dense)}, dense query ${common(asymmetric, dense)}, x̂ ${common(restored, dense)}`;
}
