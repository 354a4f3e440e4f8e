"""The history of a training as a picture: loss, validation cosine and dead latents over its steps."""

from __future__ import annotations

from typing import Any

from compressae_ref.errors import DomainError
from compressae_ref.evaluation.frontier import require_matplotlib
from compressae_ref.files.atomic_write import PathLike, replacing
from compressae_ref.model import Encoder
from compressae_ref.training.history import read_history

PANELS = {
    "loss": "loss",
    "validation_cosine": "cosine of held-out rows\nand their reconstructions",
    "dead_latents": "latents that no row stored\nsince the last record",
}
"""What is drawn, and the labels of its axes."""


def draw_history(path: str, model: Encoder, picture: PathLike) -> None:
    """Draw the stored history of a model as a PNG. DomainError, which names its ``path``, if it has none."""
    require_matplotlib()
    if not read_history(model.training):
        raise DomainError(
            "expected a model with the history of its training, got one without",
            path=path,
            hint="models of earlier versions and of other programs have none: train again, or leave --picture out",
        )
    figure = history_figure(model)
    with replacing(picture) as file:
        figure.savefig(file, format="png", dpi=150)


def history_figure(model: Encoder) -> Any:
    """Return the picture as a matplotlib figure, with a panel for each of `PANELS` that was measured."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    records = read_history(model.training)
    names = [name for name in PANELS if any(record[name] is not None for record in records)]
    figure = Figure(figsize=(8, 2.4 * len(names)), layout="constrained", facecolor="white")
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        points = [(record["step"], record[name]) for record in records if record[name] is not None]
        axes.plot(*zip(*points, strict=True), "o-", color="tab:blue", markersize=4)
        axes.annotate(f"{points[-1][1]:.4g}", points[-1], xytext=(6, 0), textcoords="offset points", va="center")
        axes.set_ylabel(PANELS[name])
        axes.grid(color="0.9")
        axes.margins(x=0.08)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].set_xlabel("steps")
    params = model.params
    figure.suptitle(f"Training of {params.n_latents:,} latents, k {model.k}, d {params.d}")
    figure.align_ylabels()
    return figure
