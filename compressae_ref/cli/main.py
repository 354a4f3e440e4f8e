"""The command ``compressae-ref``: results on standard output, progress and messages on standard error.

Exit codes: 0 done, 1 the input or the data is wrong (one line that says how), 2 usage. No file is ever left half
written. Each command imports what it needs, and starts the sooner for it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compressae_ref.cli.interrupts import kept_interrupts
from compressae_ref.cli.parser import command_line
from compressae_ref.cli.terminal import say, tell, tell_of_compiling
from compressae_ref.errors import CompressaeError, DomainError, named
from compressae_ref.files.npz import require_output

if TYPE_CHECKING:
    from compressae_ref.codes import Codes
    from compressae_ref.model import Model
    from compressae_ref.row_source import RowSource


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every expected failure becomes one line on standard error and exit code 1."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "×" gets a "?", not an error
    options = command_line().parse_args(arguments)
    tell_of_compiling()
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
    from compressae_ref.cli.demo import run_demo

    if options.store is not None:
        from compressae_ref.cli.demo_store import run_store_demo

        run_store_demo(say, folder=options.store, backend=options.backend)
    else:
        run_demo(say, picture=options.picture, backend=options.backend)


def _train(options: argparse.Namespace) -> None:
    from compressae_ref.cli.train import train_and_save
    from compressae_ref.files.foreign.embeddings import open_embeddings

    require_output(options.output, options.embeddings)
    train_and_save(open_embeddings(options.embeddings), options.embeddings, options)


def _encode(options: argparse.Namespace) -> None:
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.foreign.rows import ids_of
    from compressae_ref.files.foreign.write import require_code_format, write_codes
    from compressae_ref.files.model_file import load_model

    if options.dask is not None:
        from compressae_ref.cli.encode_dask import run_dask

        run_dask(options)
        return
    require_output(options.output, options.embeddings, options.model)
    require_code_format(options.output)
    if options.candidates is not None and not options.refine:
        raise DomainError("expected --candidates only with --refine", argument="encode")
    model, embeddings = load_model(options.model), open_embeddings(options.embeddings)
    with named(options.embeddings):
        blocks = _code_blocks(model, embeddings, options)
        write_codes(options.output, blocks, len(embeddings), ids=ids_of(embeddings))
    k = options.k or model.k
    tell(f"{options.output}: {len(embeddings)} codes, k {k} of {model.params.n_latents} latents")


def _code_blocks(model: Model, embeddings: RowSource, options: argparse.Namespace) -> Iterator[Codes]:
    settings = {"zero_rows": options.zero_rows, "backend": options.backend}
    if options.refine:
        from compressae_ref.extensions.refine import refined_blocks

        return refined_blocks(embeddings, model, options.k, options.candidates, **settings)
    return model.encode_blocks(embeddings, options.k, **settings)


def _pack(options: argparse.Namespace) -> None:
    from compressae_ref.extensions.packed_codes import pack
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.packed_file import save_packed
    from compressae_ref.metrics import bytes_per_row

    require_output(options.output, options.codes)
    rows = open_codes(options.codes)
    codes = rows.load()
    packed = pack(codes, options.bits, backend=options.backend)
    save_packed(options.output, packed, rows.ids)
    size = f"{packed.bytes_per_item} bytes each, {bytes_per_row(codes)} before"
    tell(f"{options.output}: {len(packed)} packed codes, {size}")


def _unpack(options: argparse.Namespace) -> None:
    from compressae_ref.files.codes_file import load_ids, save_codes
    from compressae_ref.files.packed_file import load_packed

    require_output(options.output, options.packed)
    codes = load_packed(options.packed).unpack(backend=options.backend)
    save_codes(options.output, codes, load_ids(options.packed, len(codes)))
    tell(f"{options.output}: {len(codes)} codes, k {codes.k} of {codes.n_latents} latents")


def _split_signs(options: argparse.Namespace) -> None:
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.write import require_code_format, write_codes

    require_output(options.output, options.codes)
    require_code_format(options.output)
    rows = open_codes(options.codes)
    with named(options.codes):
        split = rows.load().split_signs()
    write_codes(options.output, [split], len(split), ids=rows.ids)
    tell(f"{options.output}: {len(split)} codes, k {split.k} of {split.n_latents} dimensions without negative values")


def _pull(options: argparse.Namespace) -> None:
    from compressae_ref.cli.stores import run_pull

    run_pull(options)


def _push(options: argparse.Namespace) -> None:
    from compressae_ref.cli.stores import run_push

    run_push(options)


def _search(options: argparse.Namespace) -> None:
    if options.store:
        from compressae_ref.cli.stores import run_store_search

        return run_store_search(options)
    if options.k is not None or options.refine or options.field is not None:
        raise DomainError("expected --k, --refine and --field only with --store", argument="search")
    from compressae_ref.files.foreign.codes import open_codes
    from compressae_ref.files.foreign.embeddings import open_embeddings
    from compressae_ref.files.model_file import load_model
    from compressae_ref.retrieval.index import Index

    model = load_model(options.model)
    rows = open_codes(options.codes)
    with named(options.codes):
        index = Index.build(rows.load(), ids=rows.ids, space=options.space, model=model, backend=options.backend)
    queries = open_embeddings(options.queries)
    with named(options.queries):
        hits = index.search(queries, options.top, query_k=options.query_k, rescore=options.rescore)
    for query, (ids, scores) in enumerate(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)):
        if options.json:
            say(json.dumps({"query": query, "ids": ids, "scores": scores}))
        else:
            say(f"{query}\t" + " ".join(f"{item}:{score:.6f}" for item, score in zip(ids, scores, strict=True)))
    return None


def _convert(options: argparse.Namespace) -> None:
    from compressae_ref.cli.convert import run_conversion

    run_conversion(options)


def _evaluate(options: argparse.Namespace) -> None:
    from compressae_ref.cli.evaluate import run_evaluation

    run_evaluation(options)


def _inspect(options: argparse.Namespace) -> None:
    from compressae_ref.cli.inspect import explain, inspect_file

    facts = inspect_file(options.file)
    say(json.dumps(facts) if options.json else explain(facts))


def _verify(options: argparse.Namespace) -> bool:
    from compressae_ref.cli.verify import verify

    return verify(options)


_COMMANDS = {
    "demo": _demo,
    "train": _train,
    "encode": _encode,
    "pack": _pack,
    "unpack": _unpack,
    "split-signs": _split_signs,
    "search": _search,
    "convert": _convert,
    "pull": _pull,
    "push": _push,
    "evaluate": _evaluate,
    "inspect": _inspect,
    "verify": _verify,
}
