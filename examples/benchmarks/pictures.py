"""Draw the pictures of the pages: the pipeline, with the numbers of a real vector, and recall against bytes."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import PAGES
from benchmarks.pages import load_measured
from compressae_ref import Model, fit, pack
from compressae_ref.demo_data import read_demo_file
from compressae_ref.evaluation.frontier import draw
from compressae_ref.evaluation.judge import Row

OURS, DENSE = "tab:blue", "0.45"
LATENTS, K, BITS = 4096, 32, 5
SHOWN = 64
"""Numbers drawn of a dense vector; all latents are drawn."""


class Stage(NamedTuple):
    """One step of the pipeline: its numbers, and what stands above and below them."""

    symbol: str
    name: str
    values: np.ndarray
    facts: Sequence[str]
    colour: str


def pictures(options: argparse.Namespace) -> None:
    """Draw all pictures that need no long measurement."""
    stages = _stages()
    _draw_pipeline(stages)
    print(f"pipeline.png: {', '.join(' '.join(stage.facts) for stage in stages)}")
    _draw_frontier()
    print("frontier.png")


def _stages() -> list[Stage]:
    """Every step for the first WordNet item, with a model trained on all items."""
    archive = read_demo_file("small_wordnet.npz")
    train = np.setdiff1d(np.arange(len(archive["embeddings"])), archive["query"])
    model = fit(archive["embeddings"][train], n_latents=LATENTS, k=K, objective="reconstruct").model
    x = archive["embeddings"][train[:1]].astype(np.float32)
    x_unit = x / np.linalg.norm(x)
    codes = model.encode(x, K)
    pre = (x_unit @ model.params.W_enc + model.params.b_enc)[0]
    packed = pack(codes, BITS).bytes_per_item
    return [
        Stage("x", "embedding", x[0, :SHOWN], _facts(x.shape[1]), DENSE),
        Stage("x̄", "unit vector", x_unit[0, :SHOWN], [*_facts(x.shape[1]), "not stored"], DENSE),
        Stage("a", "pre-activations", pre, [*_facts(LATENTS), "not stored"], DENSE),
        Stage("code", "stored", _spread(codes, model), [f"{K} entries", f"{8 * K} bytes", f"{packed} if packed"], OURS),
        Stage("x̂", "reconstruction", model.decode(codes)[0, :SHOWN], [*_facts(x.shape[1]), "not stored"], DENSE),
    ]


def _facts(n: int) -> list[str]:
    return [f"{n:,} numbers", f"{4 * n:,} bytes"]


def _spread(codes: Any, model: Model) -> np.ndarray:
    """A code over all latents."""
    dense = np.zeros(model.params.n_latents)
    dense[codes.indices[0]] = codes.values[0]
    return dense


STEPS = ("divide\nby ‖x‖", "× W_enc\n+ b_enc", f"keep {K}\nlargest\n|a|", "× W_dec")


def _draw_pipeline(stages: Sequence[Stage]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.3, 2.5), facecolor="white")
    width, gap = 0.128, 0.0815
    for place, stage in enumerate(stages):
        left = 0.015 + place * (width + gap)
        axes = figure.add_axes((left, 0.36, width, 0.36))
        drawn = np.flatnonzero(stage.values)
        axes.vlines(drawn, 0, stage.values[drawn], color=stage.colour, lw=1.3 if stage.colour == OURS else 0.7)
        axes.axhline(0, color="0.8", lw=0.6)
        axes.set_ylim(*np.array([-1.15, 1.15]) * np.abs(stage.values).max())
        axes.set_xlim(-0.02 * len(stage.values), 1.02 * len(stage.values))
        axes.set(xticks=[], yticks=[], facecolor="#eef4fb" if stage.colour == OURS else "white")
        for spine in axes.spines.values():
            spine.set_color(stage.colour if stage.colour == OURS else "0.8")
        middle, strong = left + width / 2, {"color": OURS if stage.colour == OURS else "0.1"}
        figure.text(middle, 0.87, stage.symbol, ha="center", fontsize=13, weight="bold", **strong)
        figure.text(middle, 0.765, stage.name, ha="center", fontsize=9.5, **strong)
        for line, fact in enumerate(stage.facts):
            figure.text(middle, 0.255 - 0.095 * line, fact, ha="center", fontsize=9.5, **strong)
        if place < len(STEPS):
            _arrow(figure, left + width, left + width + gap, STEPS[place])
    _save(figure, "pipeline.png")


def _arrow(figure: Any, left: float, right: float, text: str) -> None:
    figure.add_artist(_arrow_patch((left + 0.008, 0.48), (right - 0.008, 0.48)))
    figure.text((left + right) / 2, 0.53, text, ha="center", va="bottom", fontsize=8.5, color="0.1", linespacing=1.05)


def _arrow_patch(start: tuple[float, float], end: tuple[float, float]) -> Any:
    from matplotlib.patches import FancyArrowPatch

    return FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color="0.2", lw=1.2)


def _save(figure: Any, name: str) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    (PAGES / name).write_bytes(buffer.getvalue())


def _draw_frontier() -> None:
    measured = load_measured("frontier")
    rows = [dict(zip(measured["columns"], row, strict=True)) for row in measured["rows"]]
    dense = rows[0]["bytes"]
    draw([_row(row, dense) for row in rows], PAGES / "frontier.png", "Recall against bytes: 59,847 Debian descriptions")


def _row(row: dict[str, Any], dense_bytes: int) -> Row:
    recall = {100: float(np.mean(row["recall@100"]))}
    smaller = dense_bytes / row["bytes"]
    return Row(
        row["method"], row["k"], row["query k"], row["bytes"], smaller, recall, bool(row["refined"]), row["bits"]
    )
