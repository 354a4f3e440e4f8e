"""Make a static page that searches your items by sparse codes, in the browser and without a server.

    python examples/browser/make_page.py embeddings.npy --labels labels.txt.gz -o site/
    python -m http.server -d site                            and open http://localhost:8000/

`embeddings.npy` has one embedding per row. `labels.txt.gz` has one line per row, in UTF-8, packed by gzip or not: a name,
or a name, a tab and a description. The script trains a model, unless --model gives one. It rounds the weights to int8,
encodes, refines and packs the items, and finds the dense neighbours of every item. It measures recall, too, so that the
page can state it. The folder is written as a whole or not at all.

Exit codes: 0 success, 1 wrong input (one line explains it), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from inputs import TOP, check, name_of, read_embeddings, read_labels, read_model, run, say

import compressae_ref as csae
from compressae_ref.retrieval.brute_force import nearest_dense

HERE = Path(__file__).parent
SCRIPTS = ("page", "combobox", "dom", "facts", "files", "names", "progress", "search")
PAGE = ("index.html", "style.css", *(f"{name}.js" for name in SCRIPTS))
MODULES = HERE.parent / "port_js"
QUERIES = 1000
"""Items, evenly spaced, whose neighbours recall is measured with."""


def main() -> None:
    options = arguments()
    sys.exit(run(lambda: make_page(options)))


def make_page(options: argparse.Namespace) -> None:
    x, labels = read_embeddings(options.embeddings), read_labels(options.labels)
    check(options, x, labels)
    model = None if options.model is None else read_model(options, x)
    build(options, x, labels, model)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, help=".npy file, one embedding per row")
    parser.add_argument(
        "--labels", type=Path, required=True, help="text file, one line per row: name, tab, description"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write; it must not exist")
    parser.add_argument("--model", type=Path, help="model file (.npz) to use; without it, one is trained")
    parser.add_argument("--n-latents", type=int, help="latents h of a trained model (default: as compressae-ref train)")
    parser.add_argument("--k", type=int, default=29, help="entries per code (default: 29)")
    parser.add_argument("--bits", type=int, choices=(4, 5, 6, 8), default=5, help="bits per value (default: 5)")
    parser.add_argument("--title", default="Nearest neighbours by sparse codes", help="heading of the page")
    parser.add_argument("--source", default="", help="where the items come from")
    parser.add_argument("--licence", type=Path, help="text file that the page links to, copied to data/LICENSE.txt")
    parser.add_argument("--start", help="name of the item that is shown first (default: that of the first row)")
    return parser.parse_args()


def build(options: argparse.Namespace, x: np.ndarray, labels: list[str], given: csae.Model | None) -> None:
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output.parent, prefix=".site-") as made:
        site, data = Path(made, "site"), Path(made, "site", "data")
        data.mkdir(parents=True)
        model = rounded_model(options, x, given, data / "model.npz")
        say("encoding")
        codes = csae.pack(
            csae.encode_refined(x, model, options.k, min(8 * options.k, model.params.n_latents)), options.bits
        )
        csae.PackedIndex.build(codes, model=model).save(
            data / "codes.npz"
        )  # with norms: a browser needs seconds for them
        write_labels(data / "labels.txt.gz", labels)
        say("finding dense neighbours")
        write_neighbours(data / "neighbours.bin.gz", neighbours_of(np.arange(len(x)), nearest_dense(x, x, TOP + 1).ids))
        say("measuring recall")
        stated = about(options, x, labels, codes, model) | sizes_of(data)
        if options.licence is not None:
            shutil.copyfile(options.licence, data / "LICENSE.txt")
            stated["licence"] = "data/LICENSE.txt"
        write_about(data / "about.json", stated)
        copy_page(site)
        site.rename(options.output)
    say(f"{options.output}: {len(x):,} items of {codes.bytes_per_item} bytes, {size_of(options.output):,} bytes in all")
    say(f"next: python -m http.server -d {options.output}")


def rounded_model(options: argparse.Namespace, x: np.ndarray, given: csae.Model | None, path: Path) -> csae.Model:
    """Return the model with int8 weights, as the page reads it: the items are encoded with the rounded weights."""
    if given is None:
        say("training")
        given = csae.fit(x, serve="dense", k=options.k, n_latents=options.n_latents).model
    csae.save_model(path, given, weights="int8")
    return csae.load_model(path)


def write_labels(path: Path, labels: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join(labels).encode(), 9, mtime=0))


def neighbours_of(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the ids without each row itself: (n, m) → (n, m − 1). A row that is not among its ids loses the last one."""
    other = ids != rows[:, None]
    other[other.all(axis=1), -1] = False
    return ids[other].reshape(len(ids), -1)


def write_neighbours(path: Path, ids: np.ndarray) -> None:
    """Write neighbour − row, signs in the lowest bit, as four planes of bytes: bytes that are alike pack well."""
    differences = (ids - np.arange(len(ids))[:, None]).astype("<i4")
    unsigned = (differences << 1) ^ (differences >> 31)
    planes = unsigned.view(np.uint8).reshape(-1, 4).T
    path.write_bytes(gzip.compress(planes.tobytes(), 9, mtime=0))


def about(
    options: argparse.Namespace, x: np.ndarray, labels: list[str], codes: csae.PackedCodes, model: csae.Model
) -> dict[str, Any]:
    """Return what the page states: title, source, and recall as the package measures it."""
    rows = np.unique(np.linspace(0, len(x) - 1, QUERIES).astype(np.int64))
    queries = np.asarray(x[rows])
    tops = [top for top in (10, 100) if top < len(x)]
    truth = neighbours_of(rows, nearest_dense(queries, x, tops[-1] + 1).ids)
    unpacked = codes.unpack()

    def recall(items: csae.Codes, asked: np.ndarray, top: int) -> float:
        found = csae.search(asked, items, top + 1, space="asymmetric", model=model).ids
        return round(csae.recall_at(neighbours_of(rows, found), truth[:, :top]), 4)

    def reconstruction(k: int) -> float:
        items = unpacked.truncate(k)
        return recall(items, model.decode(items[rows]), TOP)

    names = [name_of(label) for label in labels]
    return {
        "title": options.title,
        "source": options.source,
        "start": 0 if options.start is None else names.index(options.start),
        "d": x.shape[1],
        "recall": {
            "queries": len(rows),
            "dense": {str(top): recall(unpacked, queries, top) for top in tops},
            "reconstruction": [reconstruction(k) for k in range(1, codes.k + 1)],
        },
    }


def write_about(path: Path, stated: dict[str, Any]) -> None:
    path.write_text(json.dumps(stated, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def copy_page(site: Path) -> None:
    """Copy the page and the modules that it imports, which lie beside it instead of in the next folder."""
    (site / "port_js").mkdir()
    wanted, copied = imports_of(HERE / "search.js"), set[str]()
    for name in PAGE:
        text = (HERE / name).read_text(encoding="utf-8")
        (site / name).write_text(text.replace("../port_js/", "./port_js/"), encoding="utf-8")
    while wanted - copied:
        name = min(wanted - copied)
        shutil.copyfile(MODULES / name, site / "port_js" / name)
        copied.add(name)
        wanted |= imports_of(MODULES / name)


def imports_of(path: Path) -> set[str]:
    return set(re.findall(r'^(?:import|export)\b[^"]*?from "[./\w]*?([\w]+\.mjs)";', path.read_text("utf-8"), re.M))


def sizes_of(data: Path) -> dict[str, dict[str, int]]:
    """Return the bytes of the files that the page reads as a whole: it shows how much of them has arrived."""
    return {
        "bytes": {name: (data / name).stat().st_size for name in ("codes.npz", "labels.txt.gz", "neighbours.bin.gz")}
    }


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
