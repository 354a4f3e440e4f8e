"""The arguments of the command ``compressae-ref``, and what its ``--help`` says."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref import __version__
from compressae_ref.backends import BACKENDS
from compressae_ref.config import CHOICES, PRESETS, TrainConfig
from compressae_ref.packed_rows import BITS
from compressae_ref.spaces import SPACES
from compressae_ref.verify.accumulated import CASES
from compressae_ref.verify.operations import PARTS

SETTINGS = {
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


def command_line() -> argparse.ArgumentParser:
    """The parser; ``options.command`` is the name of the command."""
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
    _add_pack(commands)
    _add_split_signs(commands)
    _add_search(commands)
    _add_convert(commands)
    _add_evaluate(commands)
    _add_inspect(commands)
    _add_verify(commands)
    return parser


def _add(commands: Any, name: str, help_line: str, *, backend: bool = True) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_line, description=help_line)
    command.set_defaults(command=name)
    if backend:
        text = "where the kernels run; the results are the same to the bit (default: numba where it is installed)"
        command.add_argument("--backend", choices=BACKENDS, help=text)
    return command


_EMBEDDINGS = (
    "one embedding per row: .npy, .npz, .fbin, .fvecs, .bvecs, .safetensors, .hdf5, .parquet, .arrow; FILE::NAME is "
    "one of several; - reads .npy or .npz from a pipe"
)
_CODES = "codes: .npz, packed or not, SciPy's .npz, .csr, .parquet, .arrow"


def _add_demo(commands: Any) -> None:
    text = "Train on 4,010 real embeddings that come with the package, compress them, and show what it cost."
    command = _add(commands, "demo", text)
    default = "compressae_demo.png"
    command.add_argument(
        "--picture",
        metavar="PNG",
        default=default,
        help=f"recall against bytes, where matplotlib is installed ({default})",
    )


def _add_train(commands: Any) -> None:
    command = _add(commands, "train", "Train a model on embeddings.")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    command.add_argument("--preset", choices=sorted(PRESETS), help="named settings; single ones below override them")
    for name, (kind, text) in SETTINGS.items():
        default = getattr(TrainConfig, name)
        shown = text if default is None or "default" in text else f"{text} (default: {default})"
        choices = [choice for choice in CHOICES[name] if choice] if name in CHOICES else None
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=choices, help=shown)


def _add_encode(commands: Any) -> None:
    command = _add(commands, "encode", "Encode embeddings into sparse codes.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument(
        "-o",
        "--output",
        metavar="CODES",
        required=True,
        help="codes file to write: .npz (CSR for SciPy), .csr, .parquet, .arrow, .jsonl (points for Qdrant)",
    )
    command.add_argument("--k", type=int, help="entries stored per code (default: the model's own k)")
    text = "choose the atoms by matching pursuit and their values by least squares: better where reconstructions count"
    command.add_argument("--refine", action="store_true", help=text)
    text = "with --refine, latents to choose from (default: four times k)"
    command.add_argument("--candidates", metavar="M", type=int, help=text)
    text = "what to do with rows of zeros: stop, or give them codes of zeros (default: error)"
    command.add_argument("--zero-rows", choices=("error", "empty"), default="error", help=text)


def _add_pack(commands: Any) -> None:
    command = _add(commands, "pack", "Store codes in few bytes; every command that takes codes takes packed ones, too.")
    command.add_argument("codes", metavar="CODES", help="codes file")
    command.add_argument("-o", "--output", metavar="PACKED", required=True, help="file of packed codes to write (.npz)")
    command.add_argument("--bits", type=int, choices=BITS, default=5, help="bits of a value (default: 5)")
    command = _add(commands, "unpack", "Turn packed codes into a codes file, with values as precise as they were kept.")
    command.add_argument("packed", metavar="PACKED", help="file of packed codes")
    command.add_argument("-o", "--output", metavar="CODES", required=True, help="codes file to write (.npz)")


def _add_split_signs(commands: Any) -> None:
    text = (
        "Turn codes into codes over twice as many dimensions without negative values, for engines that refuse those: "
        "positive ones of latent j at 2j, the magnitudes of negative ones at 2j + 1. Queries are split, too."
    )
    command = _add(commands, "split-signs", text, backend=False)
    command.add_argument("codes", metavar="CODES", help="codes file")
    command.add_argument("-o", "--output", metavar="SPLIT", required=True, help="codes file to write (.npz)")


def _add_search(commands: Any) -> None:
    command = _add(commands, "search", "Find the nearest items to each query, exactly, by cosine.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("codes", metavar="CODES", help=f"of the items; {_CODES}")
    command.add_argument("queries", metavar="QUERIES", help=f"embeddings to ask with: {_EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        default="sparse",
        help="sparse: code against code; reconstructed: their reconstructions; "
        "asymmetric: the dense query against reconstructions; expanded: the largest entries of that query over the "
        "latents, as engines for sparse vectors take it (default: sparse)",
    )
    text = (
        "entries of a query's code; more find more, and nothing is stored for it (default: as the items; expanded: "
        "8 times as many)"
    )
    command.add_argument("--query-k", type=int, help=text)
    text = "take so many best items in that space, and of these the best in the asymmetric one"
    command.add_argument("--rescore", type=int, metavar="N", help=text)
    command.add_argument("--json", action="store_true", help="one JSON object per query")


def _add_convert(commands: Any) -> None:
    text = (
        "Turn embeddings, codes or a model from one file format into another: what INPUT is, its content says; what to "
        "write, the end of the name of OUTPUT."
    )
    command = _add(commands, "convert", text, backend=False)
    help_input = (
        f"embeddings ({_EMBEDDINGS}); {_CODES}, .jsonl; a model: .npz, the original's state dict (.safetensors, .pt), "
        "a folder of SAELens' AbsTopK or of sentence-transformers' SparseAutoEncoder"
    )
    command.add_argument("input", metavar="INPUT", help=help_input)
    help_output = "embeddings: as above; codes: .npz, .csr, .parquet, .arrow, .jsonl; a model: .npz, .safetensors, .pt"
    command.add_argument("-o", "--output", metavar="OUTPUT", required=True, help=help_output)
    command.add_argument("--ids", metavar="FILE", help="embeddings, codes: a text with an id for each row, one a line")
    command.add_argument("--dtype", choices=("float16", "float32", "float64"), help="embeddings: round to this")
    command.add_argument("--n-latents", type=int, help="codes: latents h, for formats that do not say it")
    command.add_argument("--k", type=int, help="model: entries stored per code, for weights that do not say it")
    text = "model: write a new folder OUTPUT for this program; sentence-transformers gets codes with split signs"
    command.add_argument("--to", choices=("saelens", "sentence-transformers"), help=text)


def _add_evaluate(commands: Any) -> None:
    text = "Show what compression costs on your data: recall of the dense neighbours beside bytes per item."
    command = _add(commands, "evaluate", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=_EMBEDDINGS)
    command.add_argument(
        "queries", metavar="QUERIES", nargs="?", help="embeddings to ask with (default: 500 drawn rows)"
    )
    command.add_argument(
        "--k", type=int, nargs="+", help="entries per code to compare (default: the model's k, 1/2, 1/4 of it)"
    )
    command.add_argument(
        "--top", type=int, nargs="+", help="neighbours that count (default: 10 100, or fewer for fewer items)"
    )
    text = (
        "compare with other ways of storing dense vectors (those of faiss, too, where it is installed: it trains for "
        "minutes), ask in all ways, and take the time of each"
    )
    command.add_argument("--baselines", action="store_true", help=text)
    text = "bits of values, for packed codes: refined ones, too (default: none; with --baselines 5)"
    command.add_argument("--bits", type=int, choices=BITS, nargs="+", help=text)
    text = (
        "pairs of a query and an item that is relevant to it, as row numbers, perhaps with a grade: a line for each, "
        "or .npy; for nDCG@10"
    )
    command.add_argument("--relevance", metavar="FILE", help=text)
    command.add_argument("--picture", metavar="PNG", help="draw recall against bytes, too")
    command.add_argument("--seed", type=int, default=0, help="for drawing queries (default: 0)")
    command.add_argument("--json", action="store_true", help="the table as JSON")


def _add_inspect(commands: Any) -> None:
    command = _add(commands, "inspect", "Explain a model file, a codes file or a file of embeddings.", backend=False)
    command.add_argument("file", metavar="FILE", help="any file that this package writes or reads")
    command.add_argument("--json", action="store_true", help="the facts as JSON")


def _add_verify(commands: Any) -> None:
    text = (
        "Judge an implementation by the specification's test vectors: a program that answers JSON lines, answers in a "
        "file, or this installation. With three files, judge codes that some other system made: is each row what this "
        "model makes of it?"
    )
    command = _add(commands, "verify", text)
    command.add_argument("model", metavar="MODEL", nargs="?", help="model file of the system to audit")
    command.add_argument("embeddings", metavar="EMBEDDINGS", nargs="?", help=f"what it encoded: {_EMBEDDINGS}")
    command.add_argument(
        "codes",
        metavar="CODES",
        nargs="?",
        help="what it stored: a codes file, SciPy's .npz of a CSR matrix, or a dense .npy",
    )
    command.add_argument("--k", type=int, help="audit: entries stored per code (default: as the longest row of CODES)")
    command.add_argument(
        "--strict", action="store_true", help="audit: the same bits, ties by R1; no rounding is excused"
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--program", metavar="COMMAND", help="program to ask: one JSON request a line in, one answer a line out"
    )
    source.add_argument(
        "--requests", metavar="FILE", help="write all requests to a file, one a line, and judge nothing"
    )
    source.add_argument(
        "--answers", metavar="FILE", help="judge answers in a file, one a line, to the requests of --requests"
    )
    command.add_argument(
        "--level",
        choices=(*PARTS, "all"),
        help="; ".join(f"{name} {what}" for name, what in PARTS.items())
        + "; all (default: L3 for a program, all for this package)",
    )
    text = "demand the bits of the stated order of sums: nothing that is only within a bound passes"
    command.add_argument("--bits", action="store_true", help=text)
    command.add_argument("--only", metavar="ID", action="append", default=[], help="this test alone, such as encode-1")
    command.add_argument("--without", choices=("float64",), action="append", default=[], help="leave these tests out")
    command.add_argument(
        "--cases", type=int, choices=CASES, default=CASES[1], help="accumulated cases (default: 10000)"
    )
    command.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for an answer (default: 60)")
    command.add_argument("--vectors", metavar="FOLDER", help="folder of test vectors (default: those of this package)")
    command.add_argument("--json", action="store_true", help="the whole report as JSON")
