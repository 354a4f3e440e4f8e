"""The steps of ``verify``: test vectors for programs and for this package, and the audit of stored codes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressae_ref.backends import get_backend
from compressae_ref.checks import as_real
from compressae_ref.cli.terminal import say, tell
from compressae_ref.errors import DomainError, named
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model
from compressae_ref.verify import audit, report
from compressae_ref.verify.external_codes import load_any_codes
from compressae_ref.verify.operations import IN_REFERENCE, REFERENCE
from compressae_ref.verify.programs import Ask, Program, ask_file, ask_package, ask_reference, write_requests
from compressae_ref.verify.report import HIGHEST, Suite, levels_up_to, run
from compressae_ref.verify.vectors import default_folder


def judge_by_vectors(options: argparse.Namespace) -> bool:
    """Judge a program, a file of answers or this package by the test vectors; True if something was not passed."""
    _refuse(options, "an audit of MODEL EMBEDDINGS CODES", "k", "strict")
    folder = default_folder() if options.vectors is None else Path(options.vectors)
    suite = Suite(folder, cases=options.cases, without=options.without, only=options.only)
    of_program = (options.program, options.requests, options.answers) != (None, None, None)
    levels = _levels(options, of_program)
    suite.check_only(levels)
    if options.requests is not None:
        count = write_requests(options.requests, suite.tests(levels))
        tell(f"{options.requests}: {count} requests")
        return False
    results = []
    with _asked(options) as ask:
        for result in run(suite, ask, levels, bits=options.bits):
            results.append(result)
            if not options.json and (result.tests or not options.only):
                say(report.level_text(result))
    say(json.dumps(report.as_json(results, suite)) if options.json else report.outcome_text(results, suite))
    return not all(result.full for result in results)


def _levels(options: argparse.Namespace, of_program: bool) -> list[str]:
    """The parts to judge: by default what a program must have, or all that there is."""
    if options.backend != REFERENCE:
        return levels_up_to(options.level or (HIGHEST if of_program else "all"))
    if of_program:
        raise DomainError(f"expected --backend {REFERENCE} without a program or its answers", argument="verify")
    levels = list(IN_REFERENCE) if options.level is None else levels_up_to(options.level)
    if missing := set(levels) - set(IN_REFERENCE):
        raise DomainError(
            f"expected a level of {', '.join(IN_REFERENCE)}, got {', '.join(sorted(missing))}, "
            "which the reference file does not have",
            argument="verify",
        )
    return levels


@contextmanager
def _asked(options: argparse.Namespace) -> Iterator[Ask]:
    if options.program is None:
        if options.answers is not None:
            yield ask_file(options.answers)
        elif options.backend == REFERENCE:
            yield ask_reference()
        else:
            yield ask_package(get_backend(options.backend))
        return
    with Program(options.program, as_real(options.timeout, "timeout", 1e9)) as program:
        yield program


_OF_VECTORS = ("program", "requests", "answers", "vectors", "only", "bits", "without")
"""Options of ``verify`` that an audit has no use for."""


def _refuse(options: argparse.Namespace, purpose: str, *names: str) -> None:
    """Refuse options that would do nothing."""
    given = [name for name in names if getattr(options, name) not in (None, False, [])]
    if given:
        raise DomainError(f"expected --{given[0]} only for {purpose}", argument="verify")


def audit_codes(options: argparse.Namespace) -> bool:
    """Audit codes that some other system made; True if they are not what the model makes."""
    if options.codes is None:
        raise DomainError("expected MODEL EMBEDDINGS CODES to audit, or none of them, got fewer", argument="verify")
    _refuse(options, "vectors, not for an audit", *_OF_VECTORS)
    if options.backend == REFERENCE:
        raise DomainError(f"expected --backend {REFERENCE} for vectors, not for an audit", argument="verify")
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    codes = load_any_codes(options.codes, options.k, model.params.n_latents)
    with named(options.embeddings, "x"), named(options.codes, "codes"):
        result = audit.audit(model, embeddings, codes, options.backend)
    strict = options.strict
    say(json.dumps(audit.as_json(result, strict=strict)) if options.json else audit.as_text(result, strict=strict))
    return not result.passed(strict=strict)
