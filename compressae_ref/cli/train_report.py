"""What the numbers at the end of a training mean, and the commands that come next."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compressae_ref.cli.given import typed
from compressae_ref.training.fit import FitResult

USUAL_DEAD = {"distill": 0.41, "reconstruct": 0.23}
"""Largest share of dead latents in trainings with default batches and learning rates, by objective: of 0 to 1,661 of
4,096 on four data sets (distill), and of the tables in ``spec/evidence.md`` (reconstruct)."""

LOW_COSINE = 0.7
"""A validation cosine that is lower than those of all trainings with default k in ``spec/evidence.md``."""


def meaning(result: FitResult, output: str, source: str | None, options: argparse.Namespace) -> Iterator[str]:
    """Yield short lines about the numbers of a training, and the next commands.

    Parameters
    ----------
    output : the model file
    source : the embeddings, or the address of the store that they came from; None if they cannot be read again
    """
    yield from _cosines(result)
    yield _dead(result)
    yield _served(result, options)
    yield from _next(output, source, result, options)


def _cosines(result: FitResult) -> Iterator[str]:
    cosine = result.record.validation_cosine
    if math.isnan(cosine):
        yield "no rows were held out, so the quality of reconstructions is not known: see --validation-rows"
        return
    others = [(result.other_cosine, "with another row's")]
    if result.model.params.mean is None:  # the mean cosine of pairs is that of rows before the mean is subtracted
        others.append((result.mean_cosine, "with another row itself"))
    known = [f"{value:.2f} {what}" for value, what in others if not math.isnan(value)]
    yield ", ".join([f"mean cosine of a row: {cosine:.2f} with its own reconstruction", *known])
    if cosine < LOW_COSINE:
        yield f"a cosine below {LOW_COSINE} is low; usual is 0.75 to 0.95: try more --steps, or a larger --k"


def _dead(result: FitResult) -> str:
    h, dead = result.model.params.n_latents, result.record.dead_latents
    usual = USUAL_DEAD[_objective(result)]
    text = f"dead latents, which no row used lately: {dead / h:.0%} of {h:,}, usually 0% to {usual:.0%}"
    return text if dead <= usual * h else f"{text}; --n-latents {_power_of_two(h - dead)} is enough"


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _served(result: FitResult, options: argparse.Namespace) -> str:
    better = "more --k or --steps reconstruct better"
    if options.serve == "segments":
        return f"serves segments of items (search: --serve both); {better}"
    if _objective(result) == "distill":
        return f"serves sparse and dense queries (only dense: --serve dense); {better}"
    return f"serves dense queries (sparse ones, too: --serve both); {better}"


def _objective(result: FitResult) -> str:
    return str(result.model.training.get("objective", "reconstruct"))


def _next(output: str, source: str | None, result: FitResult, options: argparse.Namespace) -> Iterator[str]:
    """Yield the commands, quoted for a shell, with the options that reading the same data needs."""
    also = [] if options.zero_rows == "error" else ["--zero-rows", options.zero_rows]
    if getattr(options, "follow_links", False):
        also.append("--follow-links")
    if options.command == "pull":
        command, how = typed(["push", output, options.store, *also])
        if how:
            yield f"the next command has no password: {how}"
        yield f"next: {command}"
        return
    if source is None:
        return
    if options.serve == "segments":
        yield _command("next", ["segments", output, source, *also])
        return
    yield _command("next", ["evaluate", output, source, *also])
    yield from _encoding(output, source, result, options.serve, also)


def _encoding(output: str, source: str, result: FitResult, serve: str | None, also: list[str]) -> Iterator[str]:
    """Yield a command for the queries that the model serves: refined codes have higher recall with dense ones."""
    stem = str(Path(output).with_suffix(""))
    plain = ["encode", output, source, "-o", f"{stem}.codes.npz", *also]
    refined = ["encode", "--refine", output, source, "-o", f"{stem}.refined.npz", *also]
    if _objective(result) != "distill":
        yield _command("then", refined)
    elif serve == "sparse":
        yield _command("then", plain)
    else:
        yield _command("then, for sparse queries", plain)
        yield _command("then, for dense queries", refined)


def _command(when: str, words: list[Any]) -> str:
    return f"{when}: {typed(words)[0]}"
