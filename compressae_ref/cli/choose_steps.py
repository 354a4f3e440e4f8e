"""The steps of ``choose``: read a sample, train if there is no model, measure, choose, and print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from compressae_ref.backends import get_backend
from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.checks import as_integer
from compressae_ref.cli.choose_commands import Choice, choice_of
from compressae_ref.cli.choose_inputs import Files, files_of, goal_of, require_reachable, sample_of
from compressae_ref.cli.choose_models import Models, trained_on
from compressae_ref.cli.choose_text import as_json, as_text, option_json, quality_of, wrapped
from compressae_ref.cli.progress import shown_progress
from compressae_ref.cli.terminal import say, tell
from compressae_ref.errors import DomainError
from compressae_ref.evaluation.choose import (
    ENGINES,
    PACKAGE,
    Goal,
    Option,
    best,
    draw_choice,
    nearest,
)
from compressae_ref.evaluation.frontier import label, require_matplotlib
from compressae_ref.evaluation.judge import Row
from compressae_ref.evaluation.leaders import better_than_codes
from compressae_ref.evaluation.measured_options import MOST_K, Measured
from compressae_ref.evaluation.other_methods import half_in_engines, other_methods
from compressae_ref.evaluation.sample import Sample
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.files.model_file import load_model, save_model
from compressae_ref.training.settings import default_latents

MEASUREMENTS = {"bytes": 2 * len(BITS) + 1 + 3 * len(ENGINES), "recall": 65, "ndcg": 65}
"""About how many settings are measured, for the progress bar."""


def run_choice(options: argparse.Namespace) -> None:
    """Print what to do for the goal."""
    goal, files = goal_of(options), files_of(options)
    _require_outputs(options, files)
    model = None if files.model is None else load_model(files.model)
    sample = sample_of(options, files, None if model is None else model.params.d)
    tell(f"{files.embeddings}: measuring on {len(sample.items):,} of {sample.n:,} items, {len(sample.queries)} queries")
    require_reachable(goal, default_latents(sample.n) if model is None else model.params.n_latents)
    models = trained_on(sample, options) if model is None else Models(model, model, False)
    if options.keep_model is not None:
        save_model(options.keep_model, models.package)
    with _shown(goal) as progress:
        measured, others = _measured(models, sample, goal, options, progress)
    choices = [choice_of(serving, goal, measured, files, options, models.trained) for serving in _servings()]
    _print(options, files, goal, sample, models, choices, measured, others)
    if options.picture is not None:
        rows = [option.row for option in (*others, *_of(measured, PACKAGE))]
        draw_choice(rows, [choice.option.row for choice in choices[:1] if choice.option], options.picture)


def _require_outputs(options: argparse.Namespace, files: Files) -> None:
    if options.picture is not None:
        require_matplotlib()
        require_writable(options.picture)
    for name, least in (("keep_model", 0), ("steps", 1)):
        if getattr(options, name) is not None and files.model is not None:
            option = f"--{name.replace('_', '-')}"
            raise DomainError(f"expected no {option} with a model, got both", argument="choose")
        if name == "steps" and options.steps is not None:
            as_integer(options.steps, "steps", least)
    if options.keep_model is not None:
        require_writable(options.keep_model)


# -- measurements -----------------------------------------------------------------------------------------------------


def _measured(
    models: Models, sample: Sample, goal: Goal, options: argparse.Namespace, progress: Callable[[Option], None]
) -> tuple[list[Measured], list[Option]]:
    """Measure the settings of each model, and the other methods."""
    backend = get_backend(options.backend)
    package = Measured(models.package, sample, backend, progress)
    engines = package if models.engines is models.package else Measured(models.engines, sample, backend, progress)
    if goal.kind == "bytes":
        package.packed_within(goal.value)
        package.residual(int(goal.value))
    else:
        package.packed_that_reach(goal)
        package.residual_that_reach(goal)
    for engine in ENGINES:
        if goal.kind != "bytes":
            engines.engine_that_reaches(engine, goal)
        elif k := min(engine.most_entries(goal.value), engines.most_k):
            engines.in_engine(engine, k)
    chosen = best(package.options, goal) or nearest(package.options, goal)
    size = int(goal.value) if goal.kind == "bytes" else chosen.row.bytes_per_item if chosen else 0
    size = min(size, sample.items.shape[1] * 4)
    others = []
    for option in other_methods(sample, [size], [size] if options.baselines else []):
        progress(option)
        others.append(option)
    engines.options += half_in_engines(others, sample.items.shape[1])
    return [package, engines], others


def _of(measured: list[Measured], serving: str) -> list[Option]:
    return [option for each in dict.fromkeys(measured) for option in each.options if option.serving == serving]


def _servings() -> list[str]:
    return [PACKAGE, *(engine.name for engine in ENGINES)]


@contextmanager
def _shown(goal: Goal) -> Iterator[Callable[[Option], None]]:
    """Show on a terminal how many settings are measured."""
    done = 0
    with shown_progress("setting") as progress:

        def tell_of(option: Option) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, max(done, MEASUREMENTS[goal.kind]))

        yield tell_of


# -- results ----------------------------------------------------------------------------------------------------------


def _print(
    options: argparse.Namespace,
    files: Files,
    goal: Goal,
    sample: Sample,
    models: Models,
    choices: list[Choice],
    measured: list[Measured],
    others: list[Option],
) -> None:
    every = [option for each in dict.fromkeys(measured) for option in each.options]
    rows = [option.row for option in (*others, *_of(measured, PACKAGE))]
    better = verdict(goal, choices[0], others, rows)
    notes = _notes(sample, models, [*every, *others])
    if options.json:
        found = {
            "goal": goal._asdict(),
            "items": sample.n,
            "sample": {"items": len(sample.items), "queries": len(sample.queries), "top": sample.top},
            "trained_on_sample": models.trained,
            "choices": [as_json(choice) for choice in choices],
            "better": better,
            "notes": notes,
            "measured": [option_json(option) for option in (*every, *others)],
        }
        say(json.dumps(found))
        return
    say(as_text(goal, choices, others, every, better))
    for line in (line for note in notes for line in wrapped(note)):
        tell(line)


def verdict(goal: Goal, choice: Choice, others: Sequence[Option], rows: Sequence[Row]) -> str | None:
    """Say in a sentence when codes are the wrong answer, or what limits the quality; None if codes are right."""
    if goal.kind == "bytes":
        return better_than_codes(rows, goal.value)
    dense = others[0].row.bytes_per_item
    other = best([option for option in others if option.row.bytes_per_item < dense], goal)
    if choice.met and choice.option is not None:
        if other is None or other.row.bytes_per_item >= choice.option.row.bytes_per_item:
            return None
        return f"Use {label(other.row)}: it reaches the goal in {other.row.bytes_per_item} bytes."
    limit = f"Codes of up to {MOST_K} entries and residual codes do not reach the goal"
    if other is None:
        most = nearest([option for option in others if option.row.bytes_per_item < dense], goal)
        reached = "" if most is None else f": the best is {label(most.row)} with {quality_of(most)}"
        return f"{limit}, and neither does another method that was measured{reached}."
    return f"{limit}. Use {label(other.row)}: {quality_of(other)} in {other.row.bytes_per_item:,} bytes."


def _notes(sample: Sample, models: Models, measured: Sequence[Option]) -> list[str]:
    """Return what limits the numbers."""
    notes = []
    if len(sample.items) < sample.n:
        text = f"measured on {len(sample.items):,} items; the numbers are estimates for {sample.n:,}"
        if any(option.extrapolated for option in measured):
            text += ", some of them extrapolated in the logarithm of the number of items"
        elif not sample.factor:
            text += ", without a trend: the sample is too small for so many neighbours"
        notes.append(text)
    if sample.relevance is not None and len(sample.items) < sample.n:
        kept = len({item for grades in sample.relevance.values() for item in grades})
        notes.append(
            f"the sample has all {kept:,} items that are relevant to its queries, so nDCG is higher than among all "
            "items, for dense vectors too; the share of dense is what to read"
        )
    if models.trained:
        notes.append("these are numbers of models that were trained on the sample for a short time: train first")
    return notes
