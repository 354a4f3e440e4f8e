"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 done, 1 the input or the data is wrong (one line that says how), 2 usage. No file is ever left half
written.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from compressae_ref.archive import require_writable
from compressae_ref.arguments import SETTINGS, command_line
from compressae_ref.backends import get_backend
from compressae_ref.checks import as_real, as_whole
from compressae_ref.config import MOST_SEED
from compressae_ref.data import held_out_rows, read_all
from compressae_ref.demo import run_demo
from compressae_ref.embeddings import open_embeddings
from compressae_ref.errors import CompressaeError, DomainError
from compressae_ref.evaluate import TOPS, evaluate, table
from compressae_ref.fileformat import load_codes, load_model, save_codes, save_model
from compressae_ref.index import Index
from compressae_ref.inspection import explain, inspect_file
from compressae_ref.interrupts import kept_interrupts
from compressae_ref.progress import TrainingBar
from compressae_ref.train import fit
from compressae_ref.verify import audit, report
from compressae_ref.verify.foreign import load_any_codes
from compressae_ref.verify.programs import Ask, Program, ask_file, ask_package, write_requests
from compressae_ref.verify.report import Suite, levels_up_to, run
from compressae_ref.verify.vectors import default_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every expected failure becomes one line on standard error and exit code 1."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "×" gets a "?", not an error
    options = command_line().parse_args(arguments)
    try:
        with kept_interrupts():
            failed = _COMMANDS[options.command](options)
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
    return int(failed or False)


def _open_closed_streams() -> None:
    """Python has None for a stream that the caller closed; what goes there is lost, and that is no error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  it stays open


def _failed(message: str) -> int:
    print(f"compressae-ref: {' '.join(message.split())}", file=sys.stderr)
    return 1


# -- the commands -----------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    run_demo(_say, picture=options.picture, backend=options.backend)


def _train(options: argparse.Namespace) -> None:
    _require_output(options.output, options.embeddings)
    embeddings = open_embeddings(options.embeddings)
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    with TrainingBar() as bar, _named(options.embeddings):
        result = fit(embeddings, preset=options.preset, backend=options.backend, callback=bar, **settings)
    save_model(options.output, result.model)
    record = result.record
    cosine = "" if math.isnan(record.validation_cosine) else f"validation cosine {record.validation_cosine:.4f}, "
    _tell(f"{options.output}: {cosine}{record.dead_latents} dead latents")


def _encode(options: argparse.Namespace) -> None:
    _require_output(options.output, options.embeddings, options.model)
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    with _named(options.embeddings):
        codes = model.encode(embeddings, options.k, zero_rows=options.zero_rows, backend=options.backend)
    save_codes(options.output, codes)
    _tell(f"{options.output}: {codes!r}")


def _search(options: argparse.Namespace) -> None:
    model, codes = load_model(options.model), load_codes(options.codes)
    with _named(options.codes):
        index = Index.build(codes, space=options.space, model=model, backend=options.backend)
    queries = open_embeddings(options.queries)
    with _named(options.queries):
        hits = index.search(queries, options.top, query_k=options.query_k)
    for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
        if options.json:
            _say(json.dumps({"query": query, "ids": ids, "scores": scores}))
        else:
            _say(f"{query}\t" + " ".join(f"{item}:{score:.6f}" for item, score in zip(ids, scores, strict=True)))


def _evaluate(options: argparse.Namespace) -> None:
    model, items = load_model(options.model), open_embeddings(options.embeddings)
    with _named(options.embeddings):
        items = read_all(items, d=model.params.d)
    if options.queries is None:
        items, queries = _drawn_queries(items, options.seed)
    else:
        queries = open_embeddings(options.queries)
        with _named(options.queries):
            queries = read_all(queries, d=model.params.d)
    tops = options.top or [top for top in TOPS if top <= len(items)] or [len(items)]
    rows = evaluate(model, items, queries, ks=options.k, tops=tops, backend=options.backend)
    if options.queries is None:
        _tell(f"no QUERIES given: {len(queries)} rows drawn from the items ask, and are not searched")
    _say(json.dumps([row.as_json() for row in rows]) if options.json else table(rows))


def _drawn_queries(items: Any, seed: int) -> tuple[Any, Any]:
    if len(items) < 2:
        raise DomainError(f"evaluate: expected QUERIES or at least 2 items to draw them from, got {len(items)}")
    rng = np.random.default_rng(as_whole(seed, "seed", 0, MOST_SEED))
    drawn = held_out_rows(len(items), min(500, len(items) // 2), rng)
    return np.delete(items, drawn, axis=0), items[drawn]


def _inspect(options: argparse.Namespace) -> None:
    facts = inspect_file(options.file)
    _say(json.dumps(facts) if options.json else explain(facts))


def _verify(options: argparse.Namespace) -> bool:
    """Whether something was not passed: exit code 1, though nothing went wrong."""
    if options.model is not None:
        return _audit(options)
    _refuse(options, "an audit of MODEL EMBEDDINGS CODES", "k", "strict")
    folder = default_folder() if options.vectors is None else Path(options.vectors)
    suite = Suite(folder, cases=options.cases, without=options.without, only=options.only)
    levels = levels_up_to(options.level)
    suite.check_only(levels)
    if options.requests is not None:
        count = write_requests(options.requests, suite.tests(levels))
        _tell(f"{options.requests}: {count} requests")
        return False
    results = []
    with _asked(options) as ask:
        for result in run(suite, ask, levels, bits=options.bits):
            results.append(result)
            if not options.json and (result.tests or not options.only):
                _say(report.level_text(result))
    _say(json.dumps(report.as_json(results, suite)) if options.json else report.outcome_text(results, suite))
    return not all(result.full for result in results)


@contextmanager
def _asked(options: argparse.Namespace) -> Iterator[Ask]:
    if options.program is None:
        package = options.answers is None
        yield ask_package(get_backend(options.backend)) if package else ask_file(options.answers)
        return
    with Program(options.program, as_real(options.timeout, "timeout", 1e9)) as program:
        yield program


_OF_VECTORS = ("program", "requests", "answers", "vectors", "only", "bits", "without")
"""Options of ``verify`` that an audit has no use for."""


def _refuse(options: argparse.Namespace, purpose: str, *names: str) -> None:
    """Options that would do nothing are not passed over."""
    given = [name for name in names if getattr(options, name) not in (None, False, [])]
    if given:
        raise DomainError(f"verify: expected --{given[0]} only for {purpose}")


def _audit(options: argparse.Namespace) -> bool:
    if options.codes is None:
        raise DomainError("verify: expected MODEL EMBEDDINGS CODES to audit, or none of them, got fewer")
    _refuse(options, "vectors, not for an audit", *_OF_VECTORS)
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    codes = load_any_codes(options.codes, options.k)
    with _named(options.embeddings, "x"), _named(options.codes, "codes"):
        result = audit.audit(model, embeddings, codes, options.backend)
    strict = options.strict
    _say(json.dumps(audit.as_json(result, strict=strict)) if options.json else audit.as_text(result, strict=strict))
    return not result.passed(strict=strict)


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


@contextmanager
def _named(path: str, *arguments: str) -> Iterator[None]:
    """Put a file's name in the place of the argument's in the errors that its content causes (settings are not)."""
    try:
        yield
    except CompressaeError as error:
        argument, _, message = str(error).partition(": ")
        if argument not in (arguments or ("x", "items", "queries", "codes", "encode")):
            raise
        raise type(error)(f"{'standard input' if path == '-' else path}: {message}") from error


_COMMANDS = {
    "demo": _demo,
    "train": _train,
    "encode": _encode,
    "search": _search,
    "evaluate": _evaluate,
    "inspect": _inspect,
    "verify": _verify,
}
