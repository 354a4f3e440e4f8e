"""The steps of ``demo``, on real embeddings that come with the package."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend, get_backend
from compressae_ref.cli.progress import TrainingBar
from compressae_ref.codes import Codes
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.evaluate import Row, evaluate
from compressae_ref.evaluation.frontier import draw, table
from compressae_ref.files.npz import require_writable
from compressae_ref.metrics import bytes_per_row
from compressae_ref.model import Model
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.index import search
from compressae_ref.retrieval.spaces import Space
from compressae_ref.row_source import RowSource
from compressae_ref.training.fit import fit

Say = Callable[[str], None]
SHOWN_QUERIES = ("butter", "osteosarcoma", "cowboy")
"""Words asked for at the end, each the first held-out name that contains it, else the next one."""
K = 32
KS = (32, 16, 8)


def run_demo(say: Say, *, picture: str | None = None, backend: str | Backend | None = None) -> list[Row]:
    """Train, compress, search and compare, and say so in plain words; returns the table that it prints."""
    if picture is not None:
        require_writable(picture)
    kernels, data = get_backend(backend), load_demo_data()
    n, d = data.items.shape
    say(f"{n:,} WordNet entries as sentence embeddings of {d} numbers each, and {len(data.queries)} more to ask with.")
    say(f"\n1. Train a sparse autoencoder on the {n:,} vectors ({kernels.name} kernels) ...")
    model = train(data.items, say, kernels)
    say("\n2. Encode every vector once, and keep the k largest entries of its code for any smaller k:")
    codes = model.encode(data.items, backend=kernels)
    _show_code(data, model, say, kernels)
    say("\n3. Ask for the neighbours of the held-out vectors: how many of the true dense neighbours are found?\n")
    rows = evaluate(model, data.items, data.queries, ks=KS, backend=kernels)
    say(table(rows))
    _explain_rows(say)
    say("\n4. Three of the queries, before and after:")
    for query in shown_queries(data.query_names):
        _show_neighbours(data, query, codes, model, say)
    say(
        f"\nAll {len(codes):,} codes at k = {K} take {len(codes) * bytes_per_row(codes):,} bytes;"
        f" the dense float32 vectors take {n * d * 4:,}."
    )
    if picture is not None:
        say(_drawn(rows, picture))
    return rows


def train(items: RowSource, say: Say, backend: str | Backend | None) -> Model:
    """Train at `K`, and say how well it went."""
    started = time.perf_counter()
    with TrainingBar() as bar:
        result = fit(items, k=K, backend=backend, callback=bar)
    last, settings = result.history[-1], result.model.training
    say(
        f"   {settings['steps']:,} steps of {settings['batch_size']} rows in {time.perf_counter() - started:.0f} s "
        f"(compiling included); a held-out vector and its reconstruction from {K} of "
        f"{settings['n_latents']:,} latents have cosine {last.validation_cosine:.3f} on average."
    )
    return result.model


def _show_code(data: DemoData, model: Model, say: Say, backend: Backend) -> None:
    query = shown_queries(data.query_names)[0]
    code = model.encode(data.queries[query : query + 1], 4, backend=backend)
    entries = ", ".join(f"{index}: {value:+.2f}" for index, value in zip(code.indices[0], code.values[0], strict=True))
    say(f"   the code of {short(data.query_names[query])!r}, k = 4, is {{{entries}}}")


def _explain_rows(say: Say) -> None:
    say(
        "\n   sparse space: query and item are codes; plain cosine, as any vector database with sparse vectors does;\n"
        "   a longer code of the query (query k) takes no storage and finds more;\n"
        "   reconstructed space: the cosine of what both decode to;\n"
        "   dense queries: the query stays as it is, only the items are compressed.\n"
        "   PCA keeps as many numbers per item as fit into the bytes of the codes in the rows below it."
    )


def shown_queries(names: Sequence[str]) -> list[int]:
    """Choose three queries: those that the words name, or the first ones."""
    found = [
        next((place for place, name in enumerate(names) if word in name.split(" (")[0].split(", ")), None)
        for word in SHOWN_QUERIES
    ]
    return [fallback if place is None else place for fallback, place in enumerate(found)]


def _show_neighbours(data: DemoData, query: int, codes: Codes, model: Model, say: Say) -> None:
    asked = data.queries[query : query + 1]
    say(f"\n   {short(data.query_names[query], 76)}")
    before = nearest_dense(asked, data.items, 5).ids[0]
    say(f"     dense         {_names(data, before)}")
    for space in _CODES_IN:
        after = search(asked, codes, 5, space=space, model=model).ids[0]
        say(f"     {space:<14}{_names(data, after)}")


def _names(data: DemoData, ids: NDArray[np.int64]) -> str:
    return " | ".join(data.item_names[item].split(" (")[0].split(", ")[0] for item in ids)


def short(text: str, width: int = 60) -> str:
    """Shorten a text to so many characters."""
    return text if len(text) <= width else text[: width - 4].rstrip() + " ..."


def _drawn(rows: Sequence[Row], path: str) -> str:
    """Draw the rows; returns where the picture is, or what is missing for it."""
    try:
        draw(rows, path, "What compression costs: 4,010 WordNet entries, MiniLM vectors")
    except DomainError as error:
        return f"No {error}."
    return f"The table as a picture: {Path(path)}"


_CODES_IN: tuple[Space, ...] = ("sparse", "reconstructed", "asymmetric")
