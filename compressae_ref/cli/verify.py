"""The command ``verify``: test vectors for an implementation, and the audit of stored codes."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import EMBEDDINGS, add_command
from compressae_ref.verify.accumulated import CASES
from compressae_ref.verify.operations import PARTS, REFERENCE


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``verify``."""
    text = (
        "Judge an implementation by the specification's test vectors: a program that answers JSON lines, answers in a "
        "file, or this installation. With three files, judge codes that some other system made: is each row what this "
        "model makes of it?"
    )
    command = add_command(commands, "verify", text, more_backends=[REFERENCE])
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
        + "; all (default: L3 for a program, all for this package, all that it has for --backend reference)",
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


def run(options: argparse.Namespace) -> bool:
    """Judge an implementation or stored codes; True where something was not passed."""
    from compressae_ref.cli.verify_steps import audit_codes, judge_by_vectors

    return judge_by_vectors(options) if options.model is None else audit_codes(options)
