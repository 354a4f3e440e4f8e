"""The arguments of the commands that say what something is worth."""

from __future__ import annotations

from typing import Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.arguments_common import EMBEDDINGS, add_command
from compressae_ref.verify.accumulated import CASES
from compressae_ref.verify.operations import PARTS


def add_evaluate(commands: Any) -> None:
    """``evaluate``."""
    text = "Show what compression costs on your data: recall of the dense neighbours beside bytes per item."
    command = add_command(commands, "evaluate", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
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


def add_inspect(commands: Any) -> None:
    """``inspect``."""
    command = add_command(
        commands, "inspect", "Explain a model file, a codes file or a file of embeddings.", backend=False
    )
    command.add_argument("file", metavar="FILE", help="any file that this package writes or reads")
    command.add_argument("--json", action="store_true", help="the facts as JSON")


def add_verify(commands: Any) -> None:
    """``verify``."""
    text = (
        "Judge an implementation by the specification's test vectors: a program that answers JSON lines, answers in a "
        "file, or this installation. With three files, judge codes that some other system made: is each row what this "
        "model makes of it?"
    )
    command = add_command(commands, "verify", text)
    command.add_argument("model", metavar="MODEL", nargs="?", help="model file of the system to audit")
    command.add_argument("embeddings", metavar="EMBEDDINGS", nargs="?", help=f"what it encoded: {EMBEDDINGS}")
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
