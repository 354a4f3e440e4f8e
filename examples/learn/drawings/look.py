"""The look of all pictures of the chapters, and where they are saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.text import Text

mpl.use("Agg")  # pictures go to files, also where there is no display
mpl.rcParams |= {
    "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left", "axes.titlesize": 11,
    "figure.constrained_layout.use": True, "figure.dpi": 110, "font.size": 10, "legend.frameon": False,
}  # fmt: skip

EXAMPLES = Path(__file__).parents[2]
"""The folder of all examples: the chapters read data from it, wherever they are started."""

WIDTH = 8.0
"""Width of a picture in inches: 880 pixels."""

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
GREY, FAINT, LIGHT = "#555555", "#949494", "#cccccc"
"""Colours that people with any colour vision can tell apart. Blue is positive, or what is stored; orange is negative.

Lines that a class must see, such as the paths that are not kept, are FAINT. LIGHT is for areas and grids."""


def save(figure: Figure, name: str) -> None:
    """Save a picture as ``pictures/NAME.png`` in `examples/learn`, or in the folder of the environment variable PICTURES."""
    save_as(figure, folder() / f"{name}.png")


def save_as(figure: Figure, path: Path) -> None:
    """Save a picture, with the size of its smallest text in pixels, so that a test can tell whether a slide shows it large enough."""
    # Without the version of Matplotlib, equal pictures are equal bytes.
    metadata = {"Software": None, "smallest text": f"{smallest_text(figure):.1f}"}
    figure.savefig(path, metadata=metadata)
    plt.close(figure)


def smallest_text(figure: Figure) -> float:
    """Return the size of the smallest text of a figure in pixels."""
    figure.draw_without_rendering()  # labels of ticks are made when they are drawn
    off = [axis for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis)]
    hidden = {text for axis in off for text in axis.findobj(Text)}
    texts = [
        text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible() and text not in hidden
    ]
    exponent = 0.7  # what Matplotlib makes of 10⁻³
    return min(text.get_size() * (exponent if "^" in text.get_text() else 1) for text in texts) * figure.dpi / 72


def save_animation(figure: Figure, draw: Callable[[int], None], frames: int, name: str) -> None:
    """Save what ``draw`` draws for each frame, from 0, as ``NAME.gif`` beside the pictures, with six frames a second."""
    animation = FuncAnimation(figure, draw, frames, init_func=lambda: None)
    animation.save(folder() / f"{name}.gif", PillowWriter(fps=6))
    plt.close(figure)


def folder() -> Path:
    """Return the folder of pictures, which is made if it is missing."""
    path = Path(os.environ.get("PICTURES", EXAMPLES / "learn" / "pictures"))
    path.mkdir(parents=True, exist_ok=True)
    return path
