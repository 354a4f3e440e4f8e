"""How fast the best are found: beside other engines, and as the items grow in number."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import contenders
from benchmarks.many import many_embeddings
from benchmarks.measure import PAGES, head, in_turns, line, load, spread, where
from compressae_ref import Codes, Index, Model, effective_latents, load_model, recall_at
from compressae_ref.reference import unit_rows

TOP = contenders.TOP


def search(options: argparse.Namespace) -> None:
    """Milliseconds per query among all items, in turns, and what share of the exact results each one finds."""
    model, x, x_q = _problem(options, max(options.items))
    codes, asked = model.encode(x), model.encode(x_q)
    sparse = contenders.ours(codes, asked, x_q, model, options.backend)
    dense = contenders.dense_search(x, x_q, options.backend)
    if options.backend == "cuda":
        sparse |= contenders.ours_on_the_processor(codes, asked, model)
    else:
        sparse |= contenders.scipy_product(codes, asked)
        for name, make in (
            ("sparse_dot_topn", lambda: contenders.sparse_dot_topn(codes, asked, options.threads)),
            ("qdrant", lambda: contenders.qdrant(codes, asked)),
        ):
            sparse |= _if_there(name, make)
        dense |= contenders.dense_product(x, x_q)
        dense |= _if_there("faiss", lambda: contenders.faiss_indexes(x, x_q, options.threads, options.faiss))
    dense |= contenders.ours_asymmetric(codes, x_q, model, options.backend)
    exact = Index.build(codes, model=model).search(asked, TOP).ids
    near = _dense_truth(x, x_q)
    head("items", "engine", "ms per query", "times as long", "recall of the exact codes", "recall of the dense", text=2)
    calls = {**sparse, **dense}
    seconds = in_turns(options.turns, 1, **{name: _some(each, name, len(x_q)) for name, each in calls.items()})
    base = seconds["this package, sparse space"] / len(x_q)
    for name, each in calls.items():
        n = _how_many(name, len(x_q))
        took, found = seconds[name] / n, each(0, n)
        shares = ["", ""] if len(found) == 0 else [f"{recall_at(found, truth[:n]):.4f}" for truth in (exact, near)]
        if name in dense:
            shares[0] = ""
        line(f"{len(x):,}", name, spread(1e3 * took, 3), spread(took / base, 1), *shares)


def _problem(options: argparse.Namespace, n: int) -> tuple[Model, np.ndarray, np.ndarray]:
    """The model, n items, and queries."""
    model, real = load_model(options.model), load(options.embeddings)
    x, x_q = many_embeddings(real, n), unit_rows(load(options.queries), np.float32)[: options.asked]
    for name, rows in (("real", x[: len(real)]), ("all", x)):
        codes = model.encode(rows)
        use = np.bincount(codes.indices.ravel(), minlength=codes.n_latents) / len(codes)
        read = use[model.encode(x_q).indices].sum(axis=1).mean()
        top = ", ".join(f"{share:.3f}" for share in np.sort(use)[:-6:-1])
        print(
            f"{name}: {len(rows):,} rows, effective latents {effective_latents(codes):.0f}, most used by {top} of the "
            f"items, a query meets {read:.2f} entries of an item",
            file=sys.stderr,
        )
    return model, x, x_q


def _if_there(name: str, make: object) -> dict[str, contenders.Search]:
    try:
        return make()  # type: ignore[operator,no-any-return]
    except ImportError:
        print(f"{name} is not installed: left out", file=sys.stderr)
        return {}


def _how_many(name: str, n_q: int) -> int:
    """Queries of a turn: fewer where one takes long."""
    return min(n_q, 20 if "one by one" in name or "SciPy" in name else 100 if "Qdrant" in name else n_q)


def _some(each: contenders.Search, name: str, n_q: int) -> object:
    n = _how_many(name, n_q)
    return lambda: each(0, n)


def _dense_truth(x: np.ndarray, x_q: np.ndarray) -> np.ndarray:
    scores = np.concatenate([x_q @ x[start : start + 8192].T for start in range(0, len(x), 8192)], axis=1)
    best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
    return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)


def items(options: argparse.Namespace) -> None:
    """Milliseconds per query, memory and seconds to build, as the items grow in number; a picture.

    Above a million the codes are those of the first million again.
    """
    model, x, x_q = _problem(options, min(max(options.items), 1_000_000))
    asked, found = model.encode(x_q), {}
    base = model.encode(x)
    head("items", "build, s", "lists, bytes per item", "ms per query, many at once", "ms per query, one by one")
    for n in options.items:
        codes = Codes.trusted(*(np.resize(each, (n, base.k)) for each in (base.indices, base.values)), base.n_latents)
        start = time.perf_counter()
        index = Index.build(codes, backend=options.backend)
        seconds = time.perf_counter() - start
        made = index._state.segments[0].index
        lists = getattr(made, "nbytes", None) or sum(each.nbytes for each in made if isinstance(each, np.ndarray))
        took = in_turns(
            options.turns,
            1,
            many=lambda index=index: index.search(asked, TOP),
            one=lambda index=index: [index.search(asked[row], TOP) for row in range(20)],
        )
        found[n] = [took["many"] / len(x_q), took["one"] / 20]
        line(f"{n:,}", f"{seconds:.2f}", f"{lists / n:.0f}", *(spread(1e3 * each, 3) for each in found[n]))
    _draw(found, Path(options.picture or PAGES / "items.png"), where(options))


def _draw(found: dict[int, list[np.ndarray]], path: Path, on: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(("many queries at once", "one by one")):
        medians = [1e3 * np.median(each[place]) for each in found.values()]
        axes.plot(list(found), medians, marker="o", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("items")
    axes.set_ylabel("milliseconds per query")
    axes.set_title(f"Exact top 100 in sparse space, {on}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
