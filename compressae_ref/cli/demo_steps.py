"""The steps of ``demo``, on embeddings that come with the package."""

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
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.metrics import bytes_per_row
from compressae_ref.model import Model
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.index import search
from compressae_ref.retrieval.spaces import Space
from compressae_ref.row_source import RowSource
from compressae_ref.training.fit import fit

Say = Callable[[str], None]
SHOWN_QUERIES = ("butter", "osteosarcoma", "cowboy")
"""Words of the queries to show: for each word the first query whose name has it, or else the next query."""
K = 32
KS = (32, 16, 8)


def run_demo(say: Say, *, picture: str | None = None, backend: str | Backend | None = None) -> list[Row]:
    """Train, encode, search and compare; print each step and return the rows of the table."""
    if picture is not None:
        require_writable(picture)
    kernels, data = get_backend(backend), load_demo_data()
    n, d = data.items.shape
    say(f"The data: sentence embeddings of {n:,} WordNet entries, {d} dimensions, and of {len(data.queries)} queries.")
    say(f"\n1. Train a sparse autoencoder on the {n:,} vectors, with the {kernels.name} kernels ...")
    model = train(data.items, say, kernels)
    say(f"\n2. Encode each vector as a code of {K} entries. For a smaller k, keep the k largest entries.")
    codes = model.encode(data.items, backend=kernels)
    _show_code(data, model, say, kernels)
    say("\n3. Search with all queries. Recall is the share of the nearest dense neighbours that a search finds:\n")
    rows = evaluate(model, data.items, data.queries, ks=KS, backend=kernels)
    say(table(rows))
    _explain_rows(say)
    say("\n4. The nearest neighbours of three queries, before and after compression:")
    for query in shown_queries(data.query_names):
        _show_neighbours(data, query, codes, model, say)
    say(
        f"\nThe {len(codes):,} codes with k = {K} take {len(codes) * bytes_per_row(codes):,} bytes. "
        f"The dense float32 vectors take {n * d * 4:,} bytes."
    )
    if picture is not None:
        say(_draw(rows, picture))
    return rows


def train(items: RowSource, say: Say, backend: str | Backend | None) -> Model:
    """Train with k = `K` and report the validation cosine."""
    started = time.perf_counter()
    with TrainingBar() as bar:
        result = fit(items, k=K, backend=backend, callback=bar)
    last, settings = result.history[-1], result.model.training
    say(
        f"   {settings['steps']:,} steps of {settings['batch_size']} rows took {time.perf_counter() - started:.0f} s, "
        "including compilation.\n"
        f"   With {K} of {settings['n_latents']:,} latents per code, the mean cosine between held-out vectors "
        f"and their reconstructions is {last.validation_cosine:.3f}."
    )
    return result.model


def _show_code(data: DemoData, model: Model, say: Say, backend: Backend) -> None:
    query = shown_queries(data.query_names)[0]
    code = model.encode(data.queries[query : query + 1], 4, backend=backend)
    entries = ", ".join(f"{index}: {value:+.2f}" for index, value in zip(code.indices[0], code.values[0], strict=True))
    say(f"   With k = 4, the code of {short(data.query_names[query])!r} is {{{entries}}} (latent: value).")


def _explain_rows(say: Say) -> None:
    say(
        "\n   Sparse space: the cosine of two codes, which any database for sparse vectors can compute.\n"
        "   A query code with more entries (query k) has higher recall and needs no storage.\n"
        "   Reconstructed space: the cosine of the two decoded codes.\n"
        "   Dense queries: the cosine of the dense query and the decoded code of the item.\n"
        "   PCA: as many principal components per item as fit into the bytes of the codes in the rows below."
    )


def shown_queries(names: Sequence[str]) -> list[int]:
    """Return the row numbers of the three queries to show (see `SHOWN_QUERIES`)."""
    rows = [
        next((row for row, name in enumerate(names) if word in name.split(" (")[0].split(", ")), None)
        for word in SHOWN_QUERIES
    ]
    return [fallback if row is None else row for fallback, row in enumerate(rows)]


def _show_neighbours(data: DemoData, query: int, codes: Codes, model: Model, say: Say) -> None:
    vector = data.queries[query : query + 1]
    say(f"\n   {short(data.query_names[query], 76)}")
    before = nearest_dense(vector, data.items, 5).ids[0]
    say(f"     dense         {_names(data, before)}")
    for space in _CODES_IN:
        after = search(vector, codes, 5, space=space, model=model).ids[0]
        say(f"     {space:<14}{_names(data, after)}")


def _names(data: DemoData, ids: NDArray[np.int64]) -> str:
    return " | ".join(data.item_names[item].split(" (")[0].split(", ")[0] for item in ids)


def short(text: str, width: int = 60) -> str:
    """Shorten a text to ``width`` characters."""
    return text if len(text) <= width else text[: width - 4].rstrip() + " ..."


def _draw(rows: Sequence[Row], path: str) -> str:
    """Plot the rows; return a message that says where the plot is, or why there is none."""
    try:
        draw(rows, path, "What compression costs: 4,010 WordNet entries, MiniLM vectors")
    except DomainError as error:
        return f"The table was not plotted: {'; '.join(filter(None, (error.message, error.hint)))}."
    return f"The table was plotted to {Path(path)}."


_CODES_IN: tuple[Space, ...] = ("sparse", "reconstructed", "asymmetric")
