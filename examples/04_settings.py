"""Compare training settings on your data: train with each value, and measure recall in each space.

Run it with ``python examples/04_settings.py``. Without arguments it compares numbers of latents on the demo
embeddings, and takes seconds. The tables of ``spec/evidence.md`` come from longer runs, such as:

    python examples/04_settings.py items.npy queries.npy --set steps=600 --vary init=tied,original lr=0.001,0.01

The columns of the table, which is Markdown:

    cosine      mean cosine of held-out rows and their reconstructions
    dead        number of latents that no item stores
    effective   exp of the entropy of the latent frequencies
    shared      mean number of latents that a query shares with one of its 100 nearest dense vectors
    sparse ...  recall@100 of the dense neighbours in each space; 4k: the query has four times as many entries

Equations: E9, E13, E15 to E17, E31, R5, R8. Pages of spec/: compressae.md, distill.md. Chapter: examples/learn/4_train.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from compressae_ref import Codes, TrainConfig, dead_latents, effective_latents, evaluate, fit
from compressae_ref.demo_data import load_demo_data
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.model import aux_k
from compressae_ref.retrieval.brute_force import nearest_dense

TOP = 100
COLUMNS = ["cosine", "dead", "effective", "shared", "sparse", "sparse, 4k", "reconstructed", "asymmetric"]


def main() -> None:
    options = arguments()
    if options.items is None:
        data = load_demo_data()
        items, queries = data.items, data.queries
    else:
        items, queries = open_embeddings(options.items), open_embeddings(options.queries)
    fixed, varied = {name: value for name, (value,) in options.set}, dict(options.vary)
    print(f"{len(items):,} items, {len(queries):,} queries, {fixed or 'defaults'}; recall@{TOP}. Columns: see --help\n")
    print(line([*varied, *COLUMNS]), line(["---:"] * (len(varied) + len(COLUMNS))), sep="\n")
    for values in product(*varied.values()):
        settings = fixed | dict(zip(varied, values, strict=True))
        print(line([*map(str, values), *measure(items, queries, settings)]), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", nargs="?", metavar="ITEMS", help="file of embeddings to train on and to search")
    parser.add_argument("queries", nargs="?", metavar="QUERIES", help="file of query embeddings that are not in ITEMS")
    parser.add_argument("--set", nargs="+", type=setting, metavar="NAME=VALUE", help="settings of all trainings")
    varied = [setting("n_latents=256,512,1024")]
    parser.add_argument(
        "--vary", nargs="+", type=setting, default=varied, metavar="NAME=VALUE,...", help="settings to compare"
    )
    options = parser.parse_args()
    if options.set is None:  # short training on the demo data, default settings on your data
        options.set = [] if options.items else [setting("k=16"), setting("steps=100"), setting("batch_size=256")]
    if options.items is not None and options.queries is None:
        parser.error("expected ITEMS and QUERIES, got ITEMS only")
    for name, values in options.set:
        if len(values) > 1:
            parser.error(f"--set: expected one value of {name}, got {len(values)}; use --vary to compare values")
    return options


def setting(text: str) -> tuple[str, list[Any]]:
    """Parse NAME=VALUE,... into a name and values; numbers in JSON syntax become numbers."""
    name, _, values = text.partition("=")
    if name not in ("serve", *TrainConfig.__dataclass_fields__) or not values:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE with serve or a setting of TrainConfig, got {text!r}")
    return name, [number(value) for value in values.split(",")]


def number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def measure(items: Any, queries: Any, settings: dict[str, Any]) -> Sequence[str]:
    result = fit(items, **settings)
    model = result.model
    codes = model.encode(items)
    truth = nearest_dense(queries, items, TOP).ids
    recall = {
        (row.method, row.query_k): row.recall[TOP] for row in evaluate(model, items, queries, ks=[model.k], tops=[TOP])
    }
    longer = aux_k(model.k, codes.n_latents)
    spaces = [("sparse", model.k), ("sparse", longer), ("reconstructed", model.k), ("asymmetric", None)]
    return [
        f"{result.record.validation_cosine:.4f}",
        str(dead_latents(codes)),
        f"{effective_latents(codes):.0f}",
        f"{shared_latents(model.encode(queries), codes, truth):.1f}",
        *(f"{recall[space]:.3f}" for space in spaces),
    ]


def shared_latents(queries: Codes, items: Codes, neighbours: np.ndarray) -> float:
    """Return the mean number of latents that both a query and one of its neighbours store."""
    stored = queries.to_dense() != 0
    return float(np.mean([stored[q][items.indices[ids]].sum(axis=1).mean() for q, ids in enumerate(neighbours)]))


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
