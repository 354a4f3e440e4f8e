"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 done, 1 the input or the data is wrong (one line that says how), 2 usage. No file is ever left half
written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref import __version__
from compressae_ref.backends import BACKENDS
from compressae_ref.checks import as_seed
from compressae_ref.config import CHOICES, PRESETS, TrainConfig
from compressae_ref.data import held_out_rows, read_all
from compressae_ref.demo import run_demo
from compressae_ref.embeddings import open_embeddings
from compressae_ref.errors import CompressaeError, DomainError
from compressae_ref.evaluate import TOPS, evaluate, table
from compressae_ref.fileformat import load_codes, load_model, require_writable, save_codes, save_model
from compressae_ref.index import search
from compressae_ref.inspection import explain, inspect_file
from compressae_ref.progress import TrainingBar
from compressae_ref.similarity import SPACES
from compressae_ref.train import fit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every expected failure becomes one line on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed("interrupted; nothing was written")
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong, and nobody listens
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CompressaeError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        return _failed(f"not enough memory: {error}")
    return 0


def _failed(message: str) -> int:
    print(f"compressae-ref: {' '.join(message.split())}", file=sys.stderr)
    return 1


# -- the commands -----------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    run_demo(_say, picture=options.picture, backend=options.backend)


def _train(options: argparse.Namespace) -> None:
    _require_output(options.output, options.embeddings)
    embeddings = open_embeddings(options.embeddings)
    settings = {name: value for name in _SETTINGS if (value := getattr(options, name)) is not None}
    with TrainingBar() as bar, named(options.embeddings):
        result = fit(embeddings, preset=options.preset, backend=options.backend, callback=bar, **settings)
    save_model(options.output, result.model)
    last = result.history[-1]
    _tell(f"{options.output}: validation cosine {last.validation_cosine:.4f}, {last.dead_latents} dead latents")


def _encode(options: argparse.Namespace) -> None:
    _require_output(options.output, options.embeddings, options.model)
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    with named(options.embeddings):
        codes = model.encode(embeddings, options.k, zero_rows=options.zero_rows, backend=options.backend)
    save_codes(options.output, codes)
    _tell(f"{options.output}: {codes!r}")


def _search(options: argparse.Namespace) -> None:
    model, codes = load_model(options.model), load_codes(options.codes)
    with named(options.codes):
        model.check_codes(codes)
    queries = open_embeddings(options.queries)
    with named(options.queries):
        hits = search(
            queries,
            codes,
            options.top,
            space=options.space,
            model=model,
            query_k=options.query_k,
            backend=options.backend,
        )
    for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
        if options.json:
            _say(json.dumps({"query": query, "ids": ids, "scores": scores}))
        else:
            _say(f"{query}\t" + " ".join(f"{item}:{score:.6f}" for item, score in zip(ids, scores, strict=True)))


def _evaluate(options: argparse.Namespace) -> None:
    model, items = load_model(options.model), open_embeddings(options.embeddings)
    with named(options.embeddings):
        items = read_all(items, d=model.params.d)
    if options.queries is None:
        items, queries = _drawn_queries(items, options.seed)
    else:
        queries = open_embeddings(options.queries)
        with named(options.queries):
            queries = read_all(queries, d=model.params.d)
    rows = evaluate(model, items, queries, ks=options.k, tops=options.top, backend=options.backend)
    if options.queries is None:
        _tell(f"no QUERIES given: {len(queries)} rows drawn from the items ask, and are not searched")
    _say(json.dumps([row.as_json() for row in rows]) if options.json else table(rows))


def _drawn_queries(items: Any, seed: int) -> tuple[Any, Any]:
    if len(items) < 2:
        raise DomainError(f"evaluate: expected QUERIES or at least 2 items to draw them from, got {len(items)}")
    as_seed(seed)
    drawn = held_out_rows(len(items), min(500, len(items) // 2), np.random.default_rng(seed))
    return np.delete(items, drawn, axis=0), items[drawn]


def _inspect(options: argparse.Namespace) -> None:
    facts = inspect_file(options.file)
    _say(json.dumps(facts) if options.json else explain(facts))


def _require_output(output: str, *inputs: str) -> None:
    """Refuse an output that cannot be written, or that would take the place of an input."""
    require_writable(output)
    for path in map(Path, inputs):
        if Path(output).exists() and path.exists() and path.samefile(output):
            raise DomainError(f"{output}: expected an output that is not an input, got the same file")


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


class named:  # noqa: N801 - reads as a word in a with statement
    """Put a file's name in the place of the argument's in the errors that its content causes (settings are not)."""

    def __init__(self, path: str) -> None:
        self.path = "standard input" if path == "-" else path

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Raise the same error again with the name."""
        argument, _, message = str(error).partition(": ")
        if isinstance(error, CompressaeError) and argument in ("x", "items", "queries", "codes"):
            raise type(error)(f"{self.path}: {message}") from error


# -- the arguments ----------------------------------------------------------------------------------------------------

_SETTINGS = {
    "n_latents": (int, "latents h, the length of a code written out; default: 4096, or fewer for few rows"),
    "k": (int, "entries stored per code"),
    "init": (str, "initial values"),
    "batch_size": (int, "rows per step"),
    "steps": (int, "Adam steps; default: from the number of rows"),
    "lr": (float, "learning rate at its height"),
    "warmup_steps": (int, "steps over which the learning rate rises"),
    "decay": (str, "how the learning rate falls"),
    "validation_rows": (int, "rows held out; default: one in twenty, at most 2,000"),
    "patience": (int, "stop after so many records (of 20) without a better validation cosine"),
    "seed": (int, "of the random generator"),
    "dtype": (str, "of the model; default: that of the data"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="compressae-ref",
        description="Compress embeddings into sparse codes (CompresSAE) and search them by cosine.",
        epilog="Start with: compressae-ref demo. Every command explains itself: compressae-ref COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"compressae-ref {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_train(commands)
    _add_encode(commands)
    _add_search(commands)
    _add_evaluate(commands)
    _add_inspect(commands)
    return parser


def _add(commands: Any, name: str, run: Any, help_line: str, *, backend: bool = True) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_line, description=help_line)
    command.set_defaults(run=run)
    if backend:
        text = "where the kernels run; the results are the same to the bit (default: numba where it is installed)"
        command.add_argument("--backend", choices=BACKENDS, help=text)
    return command


_EMBEDDINGS = (
    ".npy, or .npz with the array 'embeddings' (or only one): one embedding per row; - reads a .npy from a pipe"
)


def _add_demo(commands: Any) -> None:
    text = "Train on 4,010 real embeddings that come with the package, compress them, and show what it cost."
    command = _add(commands, "demo", _demo, text)
    default = "compressae_demo.png"
    command.add_argument(
        "--picture",
        metavar="PNG",
        default=default,
        help=f"recall against bytes, where matplotlib is installed ({default})",
    )


def _add_train(commands: Any) -> None:
    command = _add(commands, "train", _train, "Train a model on embeddings.")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    command.add_argument("--preset", choices=sorted(PRESETS), help="named settings; single ones below override them")
    for name, (kind, text) in _SETTINGS.items():
        default = getattr(TrainConfig, name)
        shown = text if default is None or "default" in text else f"{text} (default: {default})"
        choices = [choice for choice in CHOICES[name] if choice] if name in CHOICES else None
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=choices, help=shown)


def _add_encode(commands: Any) -> None:
    command = _add(commands, "encode", _encode, "Encode embeddings into sparse codes.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument(
        "-o", "--output", metavar="CODES", required=True, help="codes file to write (.npz, CSR for SciPy)"
    )
    command.add_argument("--k", type=int, help="entries stored per code (default: the model's own k)")
    text = "what to do with rows of zeros: stop, or give them codes of zeros (default: error)"
    command.add_argument("--zero-rows", choices=("error", "empty"), default="error", help=text)


def _add_search(commands: Any) -> None:
    command = _add(commands, "search", _search, "Find the nearest items to each query, exactly, by cosine.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("codes", metavar="CODES", help="codes file of the items")
    command.add_argument("queries", metavar="QUERIES", help=f"embeddings to ask with: {_EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        default="sparse",
        help="sparse: code against code; reconstructed: their reconstructions; "
        "asymmetric: the dense query against reconstructions (default: sparse)",
    )
    text = "entries of a query's code; more find more, and nothing is stored for it (default: as the items)"
    command.add_argument("--query-k", type=int, help=text)
    command.add_argument("--json", action="store_true", help="one JSON object per query")


def _add_evaluate(commands: Any) -> None:
    text = "Show what compression costs on your data: recall of the dense neighbours beside bytes per item."
    command = _add(commands, "evaluate", _evaluate, text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument(
        "queries", metavar="QUERIES", nargs="?", help="embeddings to ask with (default: 500 drawn rows)"
    )
    command.add_argument(
        "--k", type=int, nargs="+", help="entries per code to compare (default: the model's k, 1/2, 1/4 of it)"
    )
    command.add_argument(
        "--top", type=int, nargs="+", default=list(TOPS), help="neighbours that count (default: 10 100)"
    )
    command.add_argument("--seed", type=int, default=0, help="for drawing queries (default: 0)")
    command.add_argument("--json", action="store_true", help="the table as JSON")


def _add_inspect(commands: Any) -> None:
    command = _add(
        commands, "inspect", _inspect, "Explain a model file, a codes file or a file of embeddings.", backend=False
    )
    command.add_argument("file", metavar="FILE", help="any file that this package writes or reads")
    command.add_argument("--json", action="store_true", help="the facts as JSON")
