"""Write the tables of README.md and the pages from the JSON in examples/pages/measured, so that no number is typed by hand.

A table stands between `<!-- table NAME -->` or `<!-- table NAME/VIEW -->` and `<!-- end -->`. A single figure in a
sentence stands between `<!--=NAME/ROW/COLUMN-->` and `<!--/-->`, where ROW is the first cell of its row. A view, one of
`VIEWS`, selects and averages; without one the table is shown as it was measured. `A+B/VIEW` shows several files with one
of `COMPARED`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import MEASURED, PAGES

README = PAGES.parents[1] / "README.md"


class Table(NamedTuple):
    """Cells as they are shown; the first ``text`` columns hold words."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int


def pages(options: argparse.Namespace) -> None:
    """Write the tables and figures of all pages again."""
    for path in written():
        before = path.read_text(encoding="utf-8")
        after = rendered(before)
        path.write_text(after, encoding="utf-8")
        print(f"{path.name}: {'unchanged' if before == after else 'written'}")


def written() -> list[Path]:
    """The files whose tables come from measured numbers."""
    return [README, *sorted(PAGES.glob("*.md"))]


def rendered(text: str) -> str:
    """The text of a page with its tables and figures written anew."""
    text = re.sub(r"<!-- table ([\w/+-]+) -->\n.*?<!-- end -->", _table, text, flags=re.S)
    return re.sub(r"<!--=([^>]+)-->.*?<!--/-->", _figure, text, flags=re.S)


def _table(found: re.Match[str]) -> str:
    name, _, view = found[1].partition("/")
    shown = _shown(name, view)
    lines = [shown.columns, ["---" if place < shown.text else "---:" for place in range(len(shown.columns))]]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, *shown.rows])
    captions = dict.fromkeys(_caption(load_measured(each)) for each in name.split("+"))
    return f"<!-- table {found[1]} -->\n\n{table}\n\n{' '.join(captions)}\n<!-- end -->"


def _caption(measured: dict[str, Any]) -> str:
    """Name the command that measured a table, or say how it was reckoned."""
    command, facts = measured["command"], f"{measured['where']}, {measured['when']}"
    if command.startswith(("python ", "compressae-ref ")):
        return f"Measured with `{command}` on {facts}."
    return f"{command[0].upper()}{command[1:]} ({facts})."


def _figure(found: re.Match[str]) -> str:
    source, row, column = found[1].rsplit("/", 2)
    name, _, view = source.partition("/")
    shown = _shown(name, view)
    (cells,) = [cells for cells in shown.rows if cells[0] == row]
    return f"<!--={found[1]}-->{cells[shown.columns.index(column)]}<!--/-->"


def load_measured(name: str) -> dict[str, Any]:
    """One table as it was measured."""
    measured: dict[str, Any] = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    return measured


def _records(name: str) -> list[Record]:
    measured = load_measured(name)
    return [dict(zip(measured["columns"], row, strict=True)) for row in measured["rows"]]


def _shown(name: str, view: str) -> Table:
    if view in COMPARED:
        return COMPARED[view]({each: _records(each) for each in name.split("+")})
    if view:
        return VIEWS[view](_records(name))
    measured = load_measured(name)
    rows = [[_cell(cell) for cell in row] for row in measured["rows"]]
    return Table(measured["columns"], rows, measured["text"])


def _cell(cell: Any) -> str:
    return _range(cell) if isinstance(cell, list) else _rounded(str("" if cell is None else cell))


def _rounded(cell: str) -> str:
    """Numbers with the digits that mean something: shares to 0.001, and what is above 10 to 0.1."""
    cell = re.sub(r"\b[01]\.\d{4}\b", lambda found: _half_up(found[0], "0.001"), cell)
    return re.sub(r"\b\d{2,}\.\d{2,}\b", lambda found: _half_up(found[0], "0.1"), cell)


def _half_up(number: str, unit: str) -> str:
    """Round a number as it is written: 0.7845 becomes 0.785, whatever its binary value."""
    return str(Decimal(number).quantize(Decimal(unit), ROUND_HALF_UP))


Record = dict[str, Any]


# -- views of `bench.py step` and `encode` ---------------------------------------------------------------------------


def speedup(records: Sequence[dict[str, Any]]) -> Table:
    """The lowest and the highest median speedup of each kind of work."""
    rows = []
    for what in dict.fromkeys(row["what"] for row in records):
        medians = [float(row["speedup"].split()[0]) for row in records if row["what"] == what]
        rows.append([what, f"{min(medians):.0f} to {max(medians):.0f}"])
    return Table(["what", "range"], rows, 1)


# -- views of `bench.py quality` --------------------------------------------------------------------------------------

Way = tuple[str, str, int | None, int | None, int | None]

LABELS = {
    ("dense", ""): "dense vectors, float32",
    ("sparse", ""): "codes, sparse space",
    ("reconstructed", ""): "codes, reconstructed space",
    ("asymmetric", ""): "codes, dense queries",
    ("expanded", ""): "codes, expanded queries",
    ("split", ""): "codes, sparse space, signs split",
    ("two-stage", ""): "codes, two stages",
    ("reconstructed", "refined"): "refined codes, reconstructed space",
    ("asymmetric", "refined"): "refined codes, dense queries",
    ("expanded", "refined"): "refined codes, expanded queries",
    ("sparse", "fitted"): "fitted codes, sparse space",
    ("asymmetric", "fitted"): "fitted codes, dense queries",
    ("binary, rescored", ""): "binary, re-ranked by dense queries",
    ("truncation", ""): "first dimensions",
    ("binary, float32", ""): "binary, re-ranked by stored float32 vectors",
    ("int8, float32", ""): "int8, re-ranked by stored float32 vectors",
    ("transform coding", ""): "PCA, bits by variance (as SAQ)",
    ("PCA, rotated", ""): "PCA, random rotation (as ASH)",
    ("residual", ""): "residual codes, dense queries",
    ("RQ", ""): "residual quantiser (RQ)",
    ("LSQ", ""): "local search quantiser (LSQ)",
}


def result(records: Sequence[Record]) -> Table:
    """The seven rows of the front page."""
    wanted: list[tuple[str, Callable[[Record], bool]]] = [
        ("dense vectors, float32", lambda row: row["method"] == "dense"),
        ("int8", lambda row: row["method"] == "int8"),
        ("PCA", lambda row: (row["method"], row["bytes"]) == ("PCA", 256)),
        ("codes, sparse queries", lambda row: _way(row) == ("sparse", "", 32, 128, None)),
        ("codes, dense queries", lambda row: _way(row) == ("asymmetric", "", 32, None, None)),
        ("OPQ", lambda row: (row["method"], row["bytes"]) == ("OPQ", 56)),
        ("refined and packed codes, dense queries", lambda row: _way(row) == ("asymmetric", "refined", 32, None, 5)),
    ]
    dense = _dense(records)
    rows = []
    for label, is_it in wanted:
        (row,) = [row for row in records if is_it(row)]
        share = np.mean(row["nDCG@10"]) / dense
        rows.append(
            [label, f"{row['bytes']:,}", f"{np.mean(row['recall@100']):.3f}", f"{share:.1%}".replace("%", " %")]
        )
    return Table(["items stored as", "bytes", "recall@100", "nDCG@10 of dense"], rows, 1)


def full(records: Sequence[Record]) -> Table:
    """Every row, the largest items first: mean and range over the models, nDCG@10 also as a share of dense."""
    dense, rows = _dense(records), []
    for row in sorted(records, key=lambda row: (-row["bytes"], -np.mean(row["nDCG@10"]))):
        label = LABELS.get((row["method"], row["refined"]), row["method"])
        settings = ["" if row[name] is None else str(row[name]) for name in ("k", "query k", "bits")]
        share = f"{100 * np.mean(row['nDCG@10']) / dense:.1f}"
        recalls = [f"{np.mean(row[f'recall@{top}']):.3f}" for top in (10, 100)]
        rows.append([label, *settings, f"{row['bytes']:,}", *recalls, _range(row["nDCG@10"]), share])
    columns = ["items stored as", "k", "query k", "bits", "bytes", "recall@10", "recall@100", "nDCG@10", "% of dense"]
    return Table(columns, rows, 1)


def chosen(records: Sequence[Record]) -> Table:
    """Fewer rows: codes at k = 32, refined and packed codes with dense queries at every k, and all other methods."""
    top = {"asymmetric": "refined"}
    shown = [
        row
        for row in records
        if (row["k"] is None and row["method"] != "truncation")
        or (row["k"] == 32 and not (row["refined"] and row["bits"] is None))
        or (top.get(row["method"]) == row["refined"] and row["bits"] is not None)
    ]
    return full(shown)


def at_sizes(records: Sequence[Record]) -> Table:
    """Rows of `bench.py quality --sizes`, the largest items first: means, ± of queries, and the range over the models.

    Of codes those are shown that no other codes of as few bytes beat. nDCG@10 is left out if it was not measured.
    """
    judged = records[0]["nDCG@10"] is not None
    codes = [row for row in records if row["k"] is not None]
    rows = []
    for row in sorted(records, key=lambda row: (-row["bytes"], -np.mean(row["recall@100"]))):
        if row["method"] == "truncation" or (row in codes and _beaten(row, codes)):
            continue
        label = LABELS.get((row["method"], row["refined"]), row["method"])
        settings = ["" if row[name] is None else str(row[name]) for name in ("k", "bits")]
        measures = [_within(row, name) for name in ("recall@100", *(["nDCG@10"] if judged else []))]
        share = [f"{100 * np.mean(row['nDCG@10']) / _dense(records):.1f}"] if judged else []
        rows.append([label, *settings, f"{row['bytes']:,}", f"{np.mean(row['recall@10']):.3f}", *measures, *share])
    columns = ["items stored as", "k", "bits", "bytes", "recall@10", "recall@100"]
    return Table([*columns, *(["nDCG@10", "% of dense"] if judged else [])], rows, 1)


SETS = {"sizes-minilm": "MiniLM", "sizes-mpnet": "mpnet", "sizes-wordnet": "WordNet"}
"""Data sets by the names of their files."""

CLASSES = (30, 56, 98, 128)
"""Bytes that an item may take at most."""


def data_sets(tables: dict[str, Sequence[Record]]) -> Table:
    """Recall@100 of each way to store items in at most so many bytes, in each data set: its best setting in the class.

    For sets with relevance, nDCG@10 of that setting follows, in percent of dense. Ways are ordered by their mean recall.
    Those that are not measured in a set, or have no size in a class, come last. First dimensions, which keep float32
    numbers, are left out.
    """
    judged = {name: records for name, records in tables.items() if records[0].get("nDCG@10") is not None}
    rows: list[list[str]] = []
    for least, most in zip((0, *CLASSES), CLASSES, strict=False):
        found = {name: _best_of_each(records, least, most) for name, records in tables.items()}
        for way in _ordered(list(found.values())):
            recalls = [_within(best[way], "recall@100") if way in best else "" for best in found.values()]
            shares = [_share_of_dense(found[name].get(way), records) for name, records in judged.items()]
            rows.append([way, str(most), *recalls, *shares])
    heads = [SETS[name] for name in tables], [f"{SETS[name]}: nDCG@10, % of dense" for name in judged]
    return Table(["items stored as", "bytes at most", *heads[0], *heads[1]], rows, 1)


def _ordered(found: Sequence[dict[str, Record]]) -> list[str]:
    """Return all ways: first those of every set, and among these the one with the highest mean recall."""
    ways = dict.fromkeys(way for best in found for way in best)
    of_each = {way: [np.mean(best[way]["recall@100"]) for best in found if way in best] for way in ways}
    return sorted(ways, key=lambda way: (-len(of_each[way]), -np.mean(of_each[way])))


def _share_of_dense(row: Record | None, records: Sequence[Record]) -> str:
    return "" if row is None else f"{100 * np.mean(row['nDCG@10']) / _dense(records):.1f}"


def best(records: Sequence[Record]) -> Table:
    """Mean recall@100 of the best setting of each way in each class of bytes, for sentences: each row names both."""
    rows = [
        [f"{way}, {most} bytes", f"{np.mean(row['recall@100']):.3f}"]
        for least, most in zip((0, *CLASSES), CLASSES, strict=False)
        for way, row in _best_of_each(records, least, most).items()
    ]
    return Table(["way", "recall@100"], rows, 1)


def _best_of_each(records: Sequence[Record], least: int, most: int) -> dict[str, Record]:
    """Return the row with the highest recall@100 of each label, among those of more than ``least`` bytes."""
    found: dict[str, Record] = {}
    for row in records:
        label = str(LABELS.get((row["method"], row["refined"]), row["method"]))
        before = found.get(label)
        higher = before is None or np.mean(row["recall@100"]) > np.mean(before["recall@100"])
        if least < row["bytes"] <= most and row["method"] not in ("PCA", "truncation") and higher:
            found[label] = row
    return found


def _beaten(row: Record, codes: Sequence[Record]) -> bool:
    """Tell whether other codes have higher recall at as few bytes."""
    here = np.mean(row["recall@100"])
    return any(other["bytes"] <= row["bytes"] and np.mean(other["recall@100"]) > here for other in codes)


def _within(row: Record, name: str) -> str:
    """A mean over models, half the width of its interval over queries, and the range over the models."""
    mean, *spread = _range(row[name]).split(" ", 1)
    return " ".join([mean, f"± {np.mean(row[f'{name} ±']):.3f}", *spread])


def fitted(records: Sequence[Record]) -> Table:
    """Encoded and fitted codes with sparse and with dense queries: each label says how, and has one row."""
    methods = ("dense", "sparse", "asymmetric")
    every = full([row for row in records if row["method"] in methods and row["refined"] != "refined"])
    rows = [
        [label + (f", query of {query_k}" if query_k else "") + (", packed" if bits else ""), *figures]
        for label, _, query_k, bits, *figures in every.rows
    ]
    return Table([every.columns[0], *every.columns[4:]], rows, 1)


def _way(row: Record) -> Way:
    return row["method"], row["refined"], row["k"], row["query k"], row["bits"]


def _dense(records: Sequence[Record]) -> float:
    return float(np.mean(next(row["nDCG@10"] for row in records if row["method"] == "dense")))


def _range(values: Sequence[float]) -> str:
    if max(values) == min(values):
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


# -- views of `bench.py segments` -------------------------------------------------------------------------------------


def _view_of_segments(**columns: str) -> Callable[[Sequence[Record]], Table]:
    """Return a view of some columns, by the heads that they get."""

    def view(records: Sequence[Record]) -> Table:
        rows = [[_rounded(str(row[name])) for name in columns.values()] for row in records]
        return Table([head.replace("_", " ") for head in columns], rows, 1)

    return view


def _pairs(which: str) -> Callable[[Sequence[Record]], Table]:
    names = {"ARI": f"ARI of {which}", "NMI": f"NMI of {which}", "kept": f"items kept of {which}"}
    return _view_of_segments(groups_by="groups by", groups="groups", **names)


sizes = _view_of_segments(
    groups_by="groups by", Gini="Gini", largest="largest", first_choice="first choice", s="seconds"
)
labelled = _view_of_segments(groups_by="groups by", purity="purity", NMI="NMI with labels")

# -- views of `bench.py postgres` -------------------------------------------------------------------------------------

SERVED = (
    "scan",
    "scan, `<=>`, query of 128",
    "scan, `<#>`, query of 32",
    "scan, `<#>`, query of 1024",
    "sums of a query of 32",
    "scan of bits, 400 re-ranked by a query of 4096",
    "HNSW 16/64, ef 200",
    "HNSW 16/64, ef 200, `<#>`, query of 128",
    "HNSW 16/64, ef 400, query of 64, 400 re-ranked by a query of 4096",
    "HNSW 16/64, ef 400, of bits in the index, 400 re-ranked",
    "HNSW 16/64, ef 200, of bits, 200 re-ranked by a query of 4096",
    "HNSW 16/64, ef 400, of bits, 400 re-ranked by a query of 4096",
)
"""Searches that stand for their kind."""


def served(records: Sequence[Record]) -> Table:
    """The searches of `SERVED`, with the bytes of table and index together."""
    columns = [name for name in records[0] if name not in ("bytes per item: values", "table", "index")]
    rows = [
        [_rounded(row[name]) for name in columns] + [f"{int(row['table']) + int(row['index'] or 0):,}"]
        for row in records
        if row["search"] in SERVED
    ]
    return Table([*columns, "bytes per item, table and index"], rows, 2)


def routes(rows: Sequence[Record]) -> Table:
    """The numbers of `bench.py anywhere`."""
    columns = list(rows[0])[:-1]
    return Table(columns, [[str(row[column] or "") for column in columns] for row in rows], 1)


def route_notes(rows: Sequence[Record]) -> Table:
    """What one must know to read them."""
    first, *_, last = rows[0]
    return Table([first, last], [[row[first], row[last]] for row in rows], 2)


def versions(rows: Sequence[Record]) -> Table:
    """The rows of `bench.py pythons`, with what importing takes and the version of NumPy in columns."""
    pattern = r"import (\d+) ms, model and first row (\d+) ms; .*; NumPy ([\d.]+)"
    found = []
    for row in rows:
        python, _, route = row["route"].removeprefix("Python ").partition(", ")
        imported, first, numpy = re.match(pattern, row["what one must know"]).groups()  # type: ignore[union-attr]
        measured = (str(row[name] or "") for name in ("encode a row, ms", "search, ms", "memory, MB", "program, MB"))
        found.append([python, numpy, route, imported, first, *measured])
    columns = ["Python", "NumPy", "route", "import, ms", "model and first row, ms", "encode, ms", "search, ms"]
    return Table([*columns, "memory, MB", "installed, MB"], found, 3)


VIEWS: dict[str, Callable[[Sequence[Record]], Table]] = {
    "speedup": speedup,
    "result": result,
    "full": full,
    "chosen": chosen,
    "at-sizes": at_sizes,
    "best": best,
    "fitted": fitted,
    "seeds": _pairs("seeds"),
    "halves": _pairs("halves"),
    "sizes": sizes,
    "labelled": labelled,
    "served": served,
    "routes": routes,
    "route-notes": route_notes,
    "versions": versions,
}


def rounded_weights(tables: dict[str, Sequence[Record]]) -> Table:
    """Rows of `bench.py weights` for several data sets: means of recall, without the ranges over the models."""
    rows = []
    for name, records in tables.items():
        for row in records:
            cells = [_rounded(str(cell).split(" (")[0]) for cell in row.values()]
            rows.append([SETS[name.replace("weights", "sizes")], *cells])
    return Table(["embeddings", *next(iter(tables.values()))[0]], rows, 2)


COMPARED: dict[str, Callable[[dict[str, Sequence[Record]]], Table]] = {
    "data-sets": data_sets,
    "rounded-weights": rounded_weights,
}
"""Views of several files that were measured with the same command on different data."""
