"""How good, how fast, how large: this package compared with PyTorch and other tools, on your embeddings.

    python examples/bench.py quality embeddings.npy --queries queries.npy --relevance pairs.npy --models model.npz
    python examples/bench.py quality embeddings.npy --queries queries.npy --models a.npz b.npz --sizes 30 56 --baselines
                                                       at equal bytes, beside other quantisers; relevance is optional
    python examples/bench.py noise embeddings.npy --queries queries.npy --relevance pairs.npy --model model.npz
    python examples/bench.py step embeddings.npy       a training step beside PyTorch
    python examples/bench.py distill embeddings.npy    a training step with the similarity loss
    python examples/bench.py encode embeddings.npy     encoding beside PyTorch
    python examples/bench.py growth embeddings.npy     both, as h and k grow
    python examples/bench.py numpy embeddings.npy      NumPy alone beside Numba
    python examples/bench.py file embeddings.npy       a file beside an array
    python examples/bench.py memory embeddings.npy     the most memory that training needs
    python examples/bench.py checkpoint embeddings.npy    what checkpoints of a training cost
    python examples/bench.py start embeddings.npy      imports, first use, one vector
    python examples/bench.py sustained embeddings.npy  five minutes at the paper's setting
    python examples/bench.py minute embeddings.npy --queries queries.npy    what so many seconds of training buy
    python examples/bench.py search embeddings.npy --queries queries.npy --model model.npz    beside other engines
    python examples/bench.py items embeddings.npy --queries queries.npy --model model.npz     as items grow in number
    python examples/bench.py packed embeddings.npy --queries queries.npy --model model.npz    what packing costs
    python examples/bench.py packed-search embeddings.npy --queries queries.npy --model model.npz --items 1000000 10000000
                                                       codes that stay packed, beside the index and faiss
    python examples/bench.py anywhere embeddings.npy --queries queries.npy --model model.npz    every route, in one table
    python examples/bench.py pythons embeddings.npy --queries queries.npy --model model.npz --pythons PYTHON ...    Python's versions
    python examples/bench.py refine embeddings.npy --queries queries.npy --model model.npz    what refining costs
    python examples/bench.py weights embeddings.npy --queries queries.npy --models a.npz b.npz  weights of fewer bits
    python examples/bench.py paper embeddings.npy --queries queries.npy                       the paper's table
    python examples/bench.py center embeddings.npy --queries queries.npy --shifts 0 1 3       with and without the mean
    python examples/bench.py fitted embeddings.npy --queries queries.npy --model model.npz    codes fitted to anchors
    python examples/bench.py bound embeddings.npy --queries queries.npy --model model.npz     codes without an encoder
    python examples/bench.py stores embeddings.npy --queries queries.npy --model model.npz    in vector databases
    python examples/bench.py signs embeddings.npy --queries queries.npy --model model.npz     in those without signs
    python examples/bench.py postgres embeddings.npy --queries queries.npy --model model.npz  forms and indexes there
    python examples/bench.py models embeddings.npy --queries queries.npy --relevance pairs.npy --models a.npz b.npz
                                                       sparse space of several models in vector databases
    python examples/bench.py formats embeddings.npy --model model.npz                         files
    python examples/bench.py chunks embeddings.npy --model model.npz                          chunked HDF5 beside .npy
    python examples/bench.py cluster embeddings.npy --model model.npz                         encoding on Dask
    python examples/bench.py segments embeddings.npy --labels labels.txt --times dates.txt    beside k-means
    python examples/bench.py naming embeddings.npy --texts texts.tsv --text text              names of segments
    python examples/bench.py following embeddings.npy --model model.npz --texts texts.tsv     segments of many items
    python examples/bench.py bursts      bursts that are planted in random counts of segments
    python examples/bench.py recommendations ml-100k.inter    items for users, from interactions
    python examples/bench.py pages       write the tables of README.md and examples/pages/*.md from their JSON
    python examples/bench.py pictures    draw the pictures of the pages

`--keep NAME` stores the table of a benchmark as examples/pages/measured/NAME.json; `pages` then writes it into the pages.

The PyTorch side is the oracle of the tests: dense, autograd, its fastest Adam. Times are taken in turns, in one process,
with the same number of threads, after checking that both sides give the same result. Figures are medians of the turns,
with the quartiles; ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # else the product's threads spin on into what is timed next
sys.path.insert(0, str(Path(__file__).parents[1]))  # for the oracle, which is no part of the package

from benchmarks.measure import command_line, keep, where

from compressae_ref.backends import get_backend
from compressae_ref.backends.thread_pool import set_threads
from compressae_ref.errors import CompressaeError

FAISS_AT_EQUAL_BYTES = ["PQ128x4fs", "PQ128x4fs,RFlat", "RaBitQ", "RaBitQfs"]

COMMANDS = {
    "step": ("speed.step", {"rows": [1024, 4096]}),
    "encode": ("speed.encode", {"rows": [1024, 4096]}),
    "distill": ("speed.distill", {"rows": [256], "latents": [1024, 4096]}),
    "growth": ("speed.growth", {"latents": [1024, 2048, 4096, 8192, 16384], "k": [8, 16, 32, 64, 128]}),
    "numpy": ("speed.numpy", {}),
    "file": ("speed.file", {"rows": [50_000, 200_000]}),
    "memory": ("memory.memory", {"rows": [1024, 10_000, 100_000]}),
    "checkpoint": ("checkpoints.checkpoint", {"latents": [4096, 16384]}),
    "start": ("start.start", {}),
    "sustained": ("minutes.sustained", {}),
    "minute": ("minutes.minute", {}),
    "search": ("retrieval.search", {"items": [1_000_000]}),
    "items": ("retrieval.items", {"items": [10_000, 100_000, 1_000_000, 10_000_000]}),
    "packed": ("storage.packed", {"k": [16, 32, 64]}),
    "packed-search": ("packed_search.packed_search", {"items": [1_000_000], "faiss": FAISS_AT_EQUAL_BYTES}),
    "anywhere": ("anywhere.anywhere", {}),
    "pythons": ("anywhere.pythons", {}),
    "refine": ("storage.refine", {"k": [16, 32, 64]}),
    "stores": ("stores.stores", {}),
    "signs": ("stores.signs", {}),
    "postgres": ("postgres.postgres", {}),
    "models": ("models.models", {}),
    "weights": ("weights.weights", {}),
    "formats": ("formats.formats", {}),
    "chunks": ("formats.chunks", {}),
    "cluster": ("cluster.cluster", {"items": [500_000]}),
    "paper": ("storage.paper", {"k": [8, 16, 32, 64, 128, 256]}),
    "center": ("centering.center", {"latents": [1024]}),
    "fitted": ("bound.fitted", {"items": [10_000]}),
    "bound": ("bound.bound", {"items": [20_000]}),
    "segments": ("segments.segments", {"latents": [512], "k": [8]}),
    "naming": ("naming.naming", {"latents": [512], "k": [8]}),
    "following": ("following.following", {"items": [1_000_000]}),
    "bursts": ("following.bursts", {}),
    "quality": ("quality.quality", {"k": [32, 16]}),
    "noise": ("quality.noise", {}),
    "recommendations": ("recommendations.recommendations", {"latents": [512], "k": [32, 16, 8]}),
    "pages": ("pages.pages", {}),
    "pictures": ("pictures.pictures", {}),
}
"""Each command: its function, and its settings where the user gives none."""

WITHOUT_EMBEDDINGS = ("bursts", "pages", "pictures")

WITH_QUERIES = (
    "search",
    "items",
    "packed",
    "packed-search",
    "anywhere",
    "pythons",
    "refine",
    "stores",
    "signs",
    "postgres",
    "noise",
    "fitted",
    "bound",
)

WITH_MODELS = ("quality", "models", "weights")

WITH_TORCH = (
    "step",
    "distill",
    "encode",
    "growth",
    "numpy",
    "file",
    "memory",
    "start",
    "sustained",
    "minute",
    "search",
    "items",
)

ON_A_GPU = ("step", "distill", "encode", "growth", "search", "items")

DEFAULTS = {"rows": [1024], "latents": [4096], "k": [32], "items": [100_000]}

FILES = {
    "queries": "other rows of the same kind, for whatever measures recall",
    "model": "a model of the embeddings, for whatever does not train one",
    "relevance": "of `quality`, `noise`, `models`, `postgres`: pairs as `compressae-ref evaluate --relevance` reads them",
    "labels": "of `segments`: a label for each row, on lines of text or in a .npy file",
    "texts": "of `naming` and `following`: a table with a text for each row",
    "text": "of `naming` and `following`: the column of the texts",
    "times": "of `segments`: a time for each row, of which only the order counts, in such a file",
}

BUDGETS = (10, 30, 60, 120, 300)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("embeddings", nargs="?", help="(n, d) array in a .npy file; of `recommendations`: a table")
    for name, text in FILES.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument(
        "--models",
        nargs="+",
        help="of `quality`, `weights`: models trained with several seeds; of `models`: the first is compared with",
    )
    for name, text in {
        "baselines": "compare with other ways of storing, too",
        "fitted": "fit codes to the items, too; slower",
    }.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"of `quality`: {text}")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        help="of `quality`: bytes per item for which k and bits are chosen, instead of --k; residual codes of these bytes",
    )
    parser.add_argument("--keep", metavar="NAME", help="store the table as examples/pages/measured/NAME.json")
    parser.add_argument("--steps", type=int, help="of training, for `paper`, `center` and `segments`")
    parser.add_argument(
        "--shifts", type=float, nargs="+", default=[0.0], help="of `center`: lengths of a direction to add"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="of `center`, `segments`, `naming`, `recommendations`"
    )
    parser.add_argument("--starts", type=int, default=5, help="of k-means in `segments` and `naming`; 0 leaves it out")
    parser.add_argument(
        "--asked",
        type=int,
        default=256,
        help="how many of the queries are asked in `search`, `items`, `stores`, `signs`, `postgres`, `models`",
    )
    methods = ("PQ", "OPQ", "RQ", "LSQ")
    text = "of `quality --sizes --baselines`: what is left out, because training OPQ and LSQ takes most of the time"
    parser.add_argument("--without", nargs="+", choices=methods, default=(), help=text)
    parser.add_argument("--faiss", nargs="*", help="indexes of faiss in `search` and `packed-search`")
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, nargs="+", help=f"{default[0]}, or a table's own")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--backend",
        choices=("numba", "cuda"),
        default="numba",
        help="of `step`, `encode`, `growth`, `search`, `items`: cuda measures them on a GPU, PyTorch's side, too",
    )
    parser.add_argument("--pythons", nargs="+", default=[sys.executable], help="interpreters of `pythons`, with NumPy")
    parser.add_argument("--seconds", type=float, default=300, help="of `sustained`")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS, help="seconds of `minute`")
    parser.add_argument("--picture", help="where `growth` and `minute` draw (beside the benchmarks)")
    return parser


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    function, own = COMMANDS[options.what]
    if options.what not in WITHOUT_EMBEDDINGS and options.embeddings is None:
        parser.error(f"{options.what}: expected EMBEDDINGS")
    if options.what in (*WITH_QUERIES, *WITH_MODELS, "minute", "paper", "center") and options.queries is None:
        parser.error(f"{options.what}: expected --queries")
    if options.what in (*WITH_QUERIES, "formats", "chunks", "cluster", "following") and options.model is None:
        parser.error(f"{options.what}: expected --model")
    if options.what in WITH_MODELS and options.models is None:
        parser.error(f"{options.what}: expected --models")
    if options.what in ("models", "noise") and options.relevance is None:
        parser.error(f"{options.what}: expected --relevance")
    if options.backend == "cuda" and options.what not in ON_A_GPU:
        parser.error(f"{options.what}: expected --backend cuda for one of {', '.join(ON_A_GPU)}")
    for name, default in {**DEFAULTS, "faiss": ["Flat", "IVF1024,PQ48"], **own}.items():
        setattr(options, name, getattr(options, name) or default)
    set_threads(options.threads)
    if options.what in WITH_TORCH:
        _set_torch_threads(options.threads)
    module, function = function.split(".")
    command = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    try:
        get_backend(options.backend)
        if options.backend == "cuda":
            print(f"Measured on {where(options)}.\n")
        command(options)
        if options.keep is not None:
            keep(options.keep, command_line(), options.threads)
    except (CompressaeError, OSError) as error:
        sys.exit(f"bench.py: {error}")


def _set_torch_threads(threads: int) -> None:
    try:
        import torch
    except ImportError:
        sys.exit("bench.py: expected PyTorch to compare with, got none: pip install torch")
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
