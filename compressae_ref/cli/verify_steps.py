"""The steps of ``verify``: test a program or this package with the test vectors, grade exercises, audit codes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressae_ref.backends import get_backend
from compressae_ref.checks import as_real
from compressae_ref.cli.anchors import read_anchors
from compressae_ref.cli.given import called
from compressae_ref.cli.terminal import say, tell
from compressae_ref.errors import DomainError, naming_file
from compressae_ref.extensions.fitted_codes import STEPS
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.model_file import load_model_or_encoder
from compressae_ref.verify import audit, report
from compressae_ref.verify.accumulated import CASES
from compressae_ref.verify.exercises import grade, student
from compressae_ref.verify.exercises import report as graded
from compressae_ref.verify.exercises.table import EXERCISES
from compressae_ref.verify.external_codes import load_any_codes
from compressae_ref.verify.operations import IN_REFERENCE, REFERENCE
from compressae_ref.verify.programs import Ask, Program, ask_file, ask_package, ask_reference, write_requests
from compressae_ref.verify.report import run
from compressae_ref.verify.suite import HIGHEST, Suite, levels_up_to
from compressae_ref.verify.vectors import default_folder


def judge_by_vectors(options: argparse.Namespace) -> bool:
    """Test a program, a file of answers or this package with the test vectors; return True if anything fails."""
    folder = default_folder() if options.vectors is None else Path(options.vectors)
    suite = Suite(folder, cases=options.cases, without=options.without, only=options.only)
    for_program = (options.program, options.requests, options.answers) != (None, None, None)
    levels = _levels(options, for_program)
    suite.check_only(levels)
    if options.requests is not None:
        count = write_requests(options.requests, suite.tests(levels))
        tell(f"{options.requests}: {count} requests")
        return False
    results = []
    with _implementation(options) as ask:
        for result in run(suite, ask, levels, bits=options.bits):
            results.append(result)
            if not options.json and (result.tests or not options.only):
                say(report.level_text(result))
    say(json.dumps(report.as_json(results, suite)) if options.json else report.outcome_text(results, suite))
    return not all(result.full for result in results)


def _levels(options: argparse.Namespace, for_program: bool) -> list[str]:
    """Return the parts to test: by default the levels that a program must pass, or all parts for this package."""
    if options.backend != REFERENCE:
        return levels_up_to(options.level or (HIGHEST if for_program else "all"))
    levels = list(IN_REFERENCE) if options.level is None else levels_up_to(options.level)
    if missing := set(levels) - set(IN_REFERENCE):
        raise DomainError(
            f"expected a level that the reference file implements ({', '.join(IN_REFERENCE)}), "
            f"got {', '.join(sorted(missing))}",
            argument="verify",
        )
    return levels


@contextmanager
def _implementation(options: argparse.Namespace) -> Iterator[Ask]:
    """Yield the function that answers requests: a program, a file of answers, or this package."""
    if options.program is None:
        if options.answers is not None:
            yield ask_file(options.answers)
        elif options.backend == REFERENCE:
            yield ask_reference()
        else:
            yield ask_package(get_backend(options.backend))
        return
    with Program(options.program, _timeout(options, 60.0)) as program:
        yield program


def _timeout(options: argparse.Namespace, default: float) -> float:
    return default if options.timeout is None else as_real(options.timeout, "timeout", 1e9)


def grade_exercises(options: argparse.Namespace) -> bool:
    """Grade one exercise of a student's file, or all; return True if one is not passed."""
    grade.check_file(options.student)
    folder = default_folder() if options.vectors is None else Path(options.vectors)
    suite, one = Suite(folder, cases=CASES[0]), options.exercise is not None
    chosen = [EXERCISES[options.exercise - 1]] if one else EXERCISES
    results = []
    timeout = _timeout(options, student.TIMEOUT)
    for result in grade.grades(options.student, chosen, suite, timeout=timeout, bits=options.bits):
        results.append(result)
        if not options.json:
            say(graded.full_text(result) if one else graded.short_text(result))
    if options.json:
        say(json.dumps(graded.as_json(results, options.student)))
    elif not one:
        say(graded.outcome_text(results))
    return not all(result.passed for result in results)


def show_task(options: argparse.Namespace) -> bool:
    """Print the task of an exercise."""
    for name in ("bits", "timeout", "vectors"):
        if name in options.given:
            message = f"expected --student with --exercise and {called(options, name)}, got no --student"
            raise DomainError(message, argument="verify")
    exercise = EXERCISES[options.exercise - 1]
    say(json.dumps(graded.task_json(exercise)) if options.json else graded.task_text(exercise))
    return False


def audit_codes(options: argparse.Namespace) -> bool:
    """Audit codes that another system stored; return True if they are not the codes of the model."""
    if options.codes is None:
        given = "MODEL alone" if options.embeddings is None else "MODEL EMBEDDINGS without CODES"
        raise DomainError(f"expected all of MODEL EMBEDDINGS CODES, or none of them, got {given}", argument="verify")
    if options.backend == REFERENCE:
        raise DomainError(
            f"expected no files with --backend {REFERENCE}, got MODEL EMBEDDINGS CODES to audit", argument="verify"
        )
    model = load_model_or_encoder(options.model)
    embeddings = open_embeddings(options.embeddings, ids=False, follow_links=options.follow_links)
    codes = load_any_codes(options.codes, options.k, model.params.n_latents)
    options.k = codes.k
    anchors = None if options.anchors is None else read_anchors(options, model)
    with naming_file(options.embeddings, "x"), naming_file(options.codes, "codes"), naming_file(options.model, "model"):
        result = audit.audit(
            model,
            embeddings,
            codes,
            options.backend,
            candidates=options.candidates,
            anchors=anchors,
            steps=STEPS if options.fit_steps is None else options.fit_steps,
            whole=options.all,
        )
    strict = options.strict
    say(json.dumps(audit.as_json(result, strict=strict)) if options.json else audit.as_text(result, strict=strict))
    return not result.passed(strict=strict)
