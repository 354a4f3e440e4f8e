"""The command ``verify``: test an implementation with the test vectors, grade exercises, or audit stored codes."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import (
    CODES,
    EMBEDDINGS,
    STORE,
    add_command,
    add_follow_links,
    add_ids,
    add_pushed,
)
from compressae_ref.retrieval.spaces import SPACES
from compressae_ref.verify.accumulated import CASES
from compressae_ref.verify.exercises.table import EXERCISES
from compressae_ref.verify.operations import PARTS, REFERENCE


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``verify``."""
    summary = "Test an implementation against the specification's test vectors, or audit codes that a system stored."
    details = (
        "Without files it tests this installation, the program of --program, or the answers of --answers. "
        "The test vectors are a package of their own: in a clone of the repository, run pip install ./spec. "
        "With MODEL EMBEDDINGS CODES it checks that each row of CODES is the code of that embedding, and says which "
        "kind of codes they are: of the encoder, refined or fitted, packed, or with split signs. "
        "With MODEL STORE --store, or MODEL EMBEDDINGS STORE --store, it checks the codes in a vector database. "
        "With --student it grades the exercises of examples/learn. "
        "The exit code is 0 if everything passes, else 1."
    )
    command = add_command(commands, "verify", summary, details=details, more_backends=[REFERENCE])
    command.add_argument("model", metavar="MODEL", nargs="?", help="model file of the system to audit (.npz)")
    command.add_argument("embeddings", metavar="EMBEDDINGS", nargs="?", help=f"what the system encoded: {EMBEDDINGS}")
    command.add_argument(
        "codes",
        metavar="CODES",
        nargs="?",
        help=f"what the system stored: {CODES}, or a dense matrix (.npy). With --store: {STORE}",
    )
    command.add_argument("--k", type=int, help="audit: entries stored per code (default: as in the longest row)")
    text = (
        "audit: number of latents from which the atoms of refined codes were chosen (default: what explains most rows)"
    )
    command.add_argument("--candidates", metavar="M", type=int, help=text)
    text = "audit: file of embeddings that the codes were fitted to, as for encode"
    command.add_argument("--anchors", metavar="FILE", help=text)
    text = "audit: with --anchors, steps for each code (default: 40)"
    command.add_argument("--fit-steps", metavar="N", type=int, help=text)
    text = "audit: compare all rows, also if most of them are wrong"
    command.add_argument("--all", action="store_true", help=text)
    command.add_argument("--strict", action="store_true", help="audit: require identical bits, with ties as in rule R1")
    text = "audit the codes that push wrote; without EMBEDDINGS, against the dense vectors in the store"
    command.add_argument("--store", action="store_true", help=text)
    text = "with --store, space for which the codes were pushed (default: sparse)"
    command.add_argument("--space", choices=SPACES, default="sparse", help=text)
    add_pushed(command, "with --store, ", k=False)
    add_ids(command)
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--program",
        metavar="COMMAND",
        help="program to test: it reads JSON requests and prints answers, one per line",
    )
    source.add_argument(
        "--requests", metavar="FILE", help="write all requests to a file, one per line, and test nothing"
    )
    source.add_argument(
        "--answers", metavar="FILE", help="test the answers in a file, one per line, to the requests of --requests"
    )
    source.add_argument(
        "--student",
        metavar="FILE",
        help="grade the functions of a student's file, in a process of its own. Its code runs with your rights, and "
        "nothing protects you from hostile code: run no file that you would not run by hand",
    )
    text = (
        "with --student, grade only this exercise; without --student, print its task "
        f"(1 to {len(EXERCISES)}; default: all)"
    )
    numbers = [exercise.number for exercise in EXERCISES]
    command.add_argument("--exercise", metavar="N", type=int, choices=numbers, help=text)
    command.add_argument(
        "--level",
        metavar="LEVEL",
        choices=(*PARTS, "all"),
        help="; ".join(f"{name}: {what}" for name, what in PARTS.items())
        + "; all. Each of L1 to L3 includes the lower ones (default: L3 for a program or answers, all for this "
        "package; for --backend reference the parts that it has)",
    )
    text = "require identical bits (of all but the mean losses); without this, results within the rounding bounds pass"
    command.add_argument("--bits", action="store_true", help=text)
    command.add_argument(
        "--only",
        metavar="ID",
        action="append",
        default=[],
        help="run only this test, such as encode-1",
    )
    command.add_argument("--without", choices=("float64",), action="append", default=[], help="skip these tests")
    command.add_argument(
        "--cases", type=int, choices=CASES, default=CASES[1], help="number of generated cases (default: 10000)"
    )
    text = "seconds to wait for each answer (default: 60; for --student: 10)"
    command.add_argument("--timeout", type=float, help=text)
    command.add_argument("--vectors", metavar="FOLDER", help="folder of test vectors (default: those of this package)")
    add_follow_links(command)
    command.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> bool:
    """Test an implementation, grade exercises or audit stored codes; return True if anything fails."""
    from compressae_ref.cli.verify_steps import audit_codes, grade_exercises, judge_by_vectors, show_task

    if options.store:
        from compressae_ref.cli.store_checks import verify_in_store

        return verify_in_store(options)
    if options.student is not None:
        return grade_exercises(options)
    if options.exercise is not None:
        return show_task(options)
    return judge_by_vectors(options) if options.model is None else audit_codes(options)
