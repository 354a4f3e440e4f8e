"""Make a static page that searches your items by sparse codes, in the browser and without a server.

    python examples/browser/make_page.py embeddings.npy --labels labels.txt.gz -o site/
    python -m http.server -d site                            and open http://localhost:8000/

`embeddings.npy` has one embedding per row. `labels.txt.gz` has one line per row, in UTF-8, packed by gzip or not: a name,
or a name, a tab and a description. The script trains a model, unless --model gives one. It rounds the weights to int8,
encodes, refines and packs the items, and finds the dense neighbours of every item. It measures recall, too, so that the
page can state it. The folder is written as a whole or not at all.
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

import compressae_ref as csae
from compressae_ref.retrieval.brute_force import nearest_dense

HERE = Path(__file__).parent
PAGE = ("index.html", "style.css", "page.js", "search.js")
MODULES = HERE.parent / "port_js"
TOP = 10
"""Neighbours that the page shows, as in page.js."""
QUERIES = 1000
"""Items, evenly spaced, whose neighbours recall is measured with."""


def main() -> None:
    options = arguments()
    try:
        x, labels = read_embeddings(options.embeddings), read_labels(options.labels)
        check(options, x, labels)
        build(options, x, labels)
    except (csae.CompressaeError, OSError) as error:
        sys.exit(f"error: {message_of(error)}")


def message_of(error: Exception) -> str:
    named = isinstance(error, OSError) and error.filename
    return f"{error.filename}: {error.strerror}" if named else str(error)


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
    parser.add_argument("--source", default="", help="where the items come from, and their licence")
    parser.add_argument("--start", help="name of the item that is shown first (default: that of the first row)")
    return parser.parse_args()


# -- input ------------------------------------------------------------------------------------------------------------


def read_embeddings(path: Path) -> np.ndarray:
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise csae.FormatError(f"expected a .npy file with one embedding per row: {error}", path=path) from error
    if not isinstance(x, np.ndarray) or x.ndim != 2:
        shape = getattr(x, "shape", type(x).__name__)
        raise csae.FormatError(f"expected an array (n, d) with one embedding per row, got {shape}", path=path)
    return x


def read_labels(path: Path) -> list[str]:
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise csae.FormatError(f"expected lines of UTF-8 text, packed by gzip or not: {error}", path=path) from error
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


def check(options: argparse.Namespace, x: np.ndarray, labels: list[str]) -> None:
    if options.output.exists():
        raise csae.DomainError("expected a folder that does not exist; delete it or name another", path=options.output)
    if len(labels) != len(x):
        raise csae.ShapeError(f"expected {len(x):,} lines, one per embedding, got {len(labels):,}", path=options.labels)
    check_rows(options.embeddings, x)
    if len(x) <= TOP:
        raise csae.ShapeError(f"expected more than {TOP} embeddings, got {len(x)}", path=options.embeddings)
    for row, name in enumerate(map(name_of, labels)):
        if not name.strip():
            raise csae.DomainError("expected a name at the start of the line, got none", row=row, path=options.labels)
    if options.start is not None and options.start not in map(name_of, labels):
        raise csae.DomainError(f"expected the name of an item, got {options.start!r}", argument="--start")


def check_rows(path: Path, x: np.ndarray) -> None:
    """Raise for the first row without a direction: each item needs a code and neighbours."""
    for start in range(0, len(x), 4096):
        lengths = np.linalg.norm(x[start : start + 4096].astype(np.float64), axis=1)
        bad = ~(np.isfinite(lengths) & (lengths > 0))
        if bad.any():
            row = int(np.argmax(bad))
            found = "zeros" if lengths[row] == 0 else "NaN or infinity"
            hint = "remove it, and its line of the labels"
            raise csae.DomainError(
                f"expected finite, nonzero embeddings, got {found}", row=start + row, path=path, hint=hint
            )


def name_of(label: str) -> str:
    return label.split("\t", 1)[0]


# -- output -----------------------------------------------------------------------------------------------------------


def build(options: argparse.Namespace, x: np.ndarray, labels: list[str]) -> None:
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output.parent, prefix=".site-") as made:
        site, data = Path(made, "site"), Path(made, "site", "data")
        data.mkdir(parents=True)
        model = rounded_model(options, x, data / "model.npz")
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
        write_about(data / "about.json", about(options, x, labels, codes, model))
        copy_page(site)
        site.rename(options.output)
    say(f"{options.output}: {len(x):,} items of {codes.bytes_per_item} bytes, {size_of(options.output):,} bytes in all")
    say(f"next: python -m http.server -d {options.output}")


def rounded_model(options: argparse.Namespace, x: np.ndarray, path: Path) -> csae.Model:
    """Return the model with int8 weights, as the page reads it: the items are encoded with the rounded weights."""
    if options.model is None:
        say("training")
        model = csae.fit(x, serve="dense", k=options.k, n_latents=options.n_latents).model
    else:
        model = csae.load_model(options.model)
    if model.params.mean is not None:
        raise csae.DomainError("expected a model without a mean: train it without --center", path=options.model)
    csae.save_model(path, model, weights="int8")
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


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
