"""The pictures of chapters 1 to 3: each function draws one and saves it. A chapter computes what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from drawings.look import BLUE, FAINT, GREEN, GREY, LIGHT, ORANGE, PINK, WIDTH, save

# == Chapter 1 =========================================================================================================


def idea(embedding: NDArray, code: NDArray, reconstruction: NDArray, cosine: float) -> None:
    """Draw an embedding, its code over all latents, and its reconstruction as bars."""
    titles = (
        f"1  The embedding x̄: {len(embedding)} numbers, none of them zero",
        f"2  Its code: {np.count_nonzero(code)} of {len(code):,} latents, the others are zero",
        f"3  The reconstruction x̂ from the code: cosine {cosine:.2f} with x̄",
    )
    figure, axes = plt.subplots(3, figsize=(WIDTH, 4.2))
    for ax, numbers, title in zip(axes, (embedding, code, reconstruction), titles, strict=True):
        ax.bar(range(len(numbers)), numbers, max(1, len(numbers) // 340), color=np.where(numbers > 0, BLUE, ORANGE))
        ax.axhline(0, color=GREY, linewidth=0.5)
        ax.set_title(title, fontsize=13)
        ax.set(yticks=[], xlim=(-2, len(numbers) + 1), xticks=[0, len(numbers) - 1])
        ax.spines[:].set_visible(False)
    save(figure, "1_idea")


def bars(indices: NDArray, values: NDArray, numbered: int) -> None:
    """Draw the values of a code in the order given, the first of them with the numbers of their latents."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.bar(range(len(values)), values, color=np.where(values > 0, BLUE, ORANGE))
    for place, (latent, value) in enumerate(zip(indices[:numbered], values, strict=False)):
        offset, side = (0.1, "bottom") if value > 0 else (-0.1, "top")
        ax.text(place, value + offset, latent, rotation=90, ha="center", va=side)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.margins(y=0.2)
    ax.set(xticks=[], ylabel="value", title=f"{numbered} strong latents (their numbers) and many weak ones")
    save(figure, "1_bars")


def words(item: str, rows: Sequence[tuple[int, float, list[str], list[str]]]) -> None:
    """Draw a table: of each latent its number, its value, and the words of this side and of the other one."""
    figure, ax = plt.subplots(figsize=(WIDTH, 7.6))
    ax.text(0.13, 0, f"the side of {item}", fontsize=12, weight="bold")
    ax.text(0.65, 0, "the other side", fontsize=12, weight="bold", color=GREY)
    for place, (latent, value, this_side, other_side) in enumerate(rows):
        y = place + 0.2
        ax.text(0, y, signed(value, 1), fontsize=15, color=BLUE if value > 0 else ORANGE, va="top")
        ax.text(0, y + 0.3, latent, fontsize=12, color=GREY, va="top")
        ax.text(0.13, y, fill(", ".join(this_side), 37), fontsize=13, va="top")
        ax.text(0.65, y, fill(", ".join(other_side), 25), fontsize=13, va="top", color=GREY)
        ax.axhline(y - 0.1, color=LIGHT)
    ax.set(xlim=(0, 1), ylim=(len(rows) + 0.1, -0.1))
    ax.axis("off")
    save(figure, "1_words")


def strips(rows: Mapping[str, NDArray]) -> None:
    """Draw rows of numbers as strips of colours, each scaled to norm 1, to be compared by eye."""
    signs = LinearSegmentedColormap.from_list("signs", [ORANGE, "white", BLUE])
    figure, axes = plt.subplots(len(rows), figsize=(WIDTH, 3.7))
    for ax, (text, row) in zip(axes, rows.items(), strict=True):
        ax.imshow(row[None] / np.linalg.norm(row), aspect="auto", cmap=signs, vmin=-0.1, vmax=0.1)
        ax.spines[:].set_visible(False)
        ax.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=12)
        ax.set(xticks=[], yticks=[])
    save(figure, "1_sum")


def atoms_kept(
    steps: Sequence[int], item: str, cosines: tuple[NDArray, NDArray], found: tuple[NDArray, NDArray]
) -> None:
    """Draw cosines as lines, and neighbours found of ten as bars: each for one item, and the mean of many."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.8))
    places = np.arange(len(steps))
    for kind, name, of_cosines, of_found in zip((0, 1), (item, "mean of many"), cosines, found, strict=True):
        colour = (BLUE, GREY)[kind]
        left.plot(places, of_cosines, "o-", color=colour, linewidth=2, label=name)
        bars_drawn = right.bar(places + (kind - 0.5) * 0.42, of_found, 0.4, color=colour, label=name)
        right.bar_label(bars_drawn, fmt=("%.0f", "%.1f")[kind], fontsize=11, color=colour)
    for place, (c, mean) in enumerate(zip(*cosines, strict=True)):
        offset = (0, 7 if c >= mean else -16)  # away from the other line
        left.annotate(f"{c:.2f}", (place, c), offset, textcoords="offset points", ha="center", color=BLUE, fontsize=11)
    for ax in (left, right):
        ax.set_xticks(places, [str(k) for k in steps])
        ax.set_xlabel("atoms kept")
    left.set(xlim=(-0.4, len(steps) - 0.6), ylim=(0, 1), yticks=[0, 0.5, 1])
    right.set(ylim=(0, 10), yticks=[0, 5, 10])
    left.set_title("Cosine of x̂ with the embedding", fontsize=12)
    right.set_title("Neighbours found, of ten", fontsize=12)
    left.legend(loc="lower right", fontsize=12)
    save(figure, "1_atoms")


# == Chapter 2 =========================================================================================================


def network(x_unit: NDArray, pre: NDArray, x_hat: NDArray, W_enc: NDArray, b_enc: NDArray, W_dec: NDArray) -> None:
    """Draw the network once for each row. Only the path through the latent of largest magnitude is coloured."""
    figure, axes = plt.subplots(1, len(pre), figsize=(WIDTH, 3.9))
    for row, ax in enumerate(axes):
        chosen = int(np.argmax(np.abs(pre[row])))
        colour = BLUE if pre[row, chosen] > 0 else ORANGE
        columns = spread(x_unit[row], 1.4), spread(pre[row], 1.2), spread(x_hat[row], 1.4)
        _weights(ax, 0, columns[0], columns[1], W_enc, colour, [(i, chosen) for i in range(len(W_enc))], 0.62)
        _weights(ax, 1, columns[1], columns[2], W_dec, colour, [(chosen, c) for c in range(W_dec.shape[1])], 0.3)
        for place, (column, numbers) in enumerate(zip(columns, (x_unit[row], pre[row], x_hat[row]), strict=True)):
            _nodes(ax, place, column, numbers, colour, chosen if place == 1 else None)
        for height, bias in zip(columns[1], b_enc, strict=True):
            if bias != 0:
                ax.text(1, height + 0.38, f"+ {bias:g}", ha="center", fontsize=12, color=GREY)
        for place, text in enumerate(("x̄", "a: the largest |a|", "x̂")):
            ax.text(place, 1.68, text, ha="center", fontsize=13)
        ax.set_title(f"row {row}", fontsize=13, weight="bold")
        ax.set(xlim=(-0.25, 2.25), ylim=(-1.65, 1.9))
        ax.axis("off")
    save(figure, "2_network")


def spread(numbers: NDArray, distance: float) -> list[float]:
    """Return heights for a column of nodes, the first on top."""
    return [distance * ((len(numbers) - 1) / 2 - j) for j in range(len(numbers))]


def _nodes(ax: Axes, place: float, heights: Sequence[float], numbers: NDArray, colour: str, chosen: int | None) -> None:
    for j, (height, number) in enumerate(zip(heights, numbers, strict=True)):
        edge = colour if chosen in (None, j) else FAINT
        ax.scatter(place, height, 1900, color=colour if j == chosen else "white", edgecolor=edge)
        ink = "white" if j == chosen else "black" if chosen is None else GREY
        ax.text(place, height, signed(number), ha="center", va="center", fontsize=13, color=ink)


def _weights(
    ax: Axes, left: float, starts: Sequence[float], ends: Sequence[float],
    weights: NDArray, colour: str, on: Sequence[tuple[int, int]], at: float,
) -> None:  # fmt: skip
    for (i, j), weight in np.ndenumerate(weights):
        thick = weight != 0 and (i, j) in on
        line = {"color": colour, "linewidth": 3} if thick else {"color": FAINT, "linewidth": 1.2}
        ax.plot((left, left + 1), (starts[i], ends[j]), zorder=0, **line)
        if weight != 0:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            height = starts[i] + at * (ends[j] - starts[i])
            ax.text(left + at, height, signed(weight), ha="center", va="center", fontsize=12, color=GREY, bbox=box)


def signed(number: float, digits: int | None = None) -> str:
    """Return a number with a minus sign that is as wide as a plus; with digits, positive numbers have a plus."""
    text = f"{number:g}" if digits is None else f"{number:+.{digits}f}"
    return text.replace("-", "−")


def plane(ax: Axes, W_dec: NDArray, title: str) -> None:
    """Draw the unit circle, and the atoms with the lines through them."""
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(turn), np.sin(turn), color=GREY, linewidth=0.8)
    for j, atom in enumerate(W_dec):
        ax.plot(*np.stack([-1.2 * atom, 1.2 * atom], axis=1), "--", color=GREY, linewidth=1)
        ax.annotate("", atom, (0, 0), arrowprops={"arrowstyle": "->", "color": GREY})
        side, at = ("left", 1.24) if atom[0] > abs(atom[1]) else ("center", 1.33)  # beside its line, not on it
        ax.text(*(at * atom), f"atom {j}", ha=side, va="center", fontsize=12, color=GREY)
    ax.set(xlim=(-1.35, 1.75), ylim=(-1.1, 1.45), aspect="equal")
    ax.set_title(title, fontsize=13)
    ax.axis("off")


def arrow(ax: Axes, start: NDArray, end: NDArray, text: str, colour: str, offset: tuple[float, float]) -> None:
    """Draw an arrow with a text near its end."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.5})
    ax.text(*(end + offset), text, fontsize=13, color=colour)


def geometry(x_unit: NDArray, x_hat: NDArray, W_dec: NDArray, other: NDArray) -> None:
    """Draw both rows with their reconstructions, and for row 0 the reconstruction from the other latent of its tie."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    origin = np.zeros(2)
    for row, ax in enumerate(axes):
        plane(ax, W_dec, f"Row {row}")
        arrow(ax, origin, x_unit[row], "x̄", "black", (0.05, -0.05))
    arrow(axes[0], origin, x_hat[0], "x̂: cosine 0.80", BLUE, (0.06, 0.06))
    arrow(axes[0], origin, other, "0.96", ORANGE, (0.08, -0.12))
    arrow(axes[1], origin, x_hat[1], "x̂: 0.80", BLUE, (-0.5, 0.08))
    save(figure, "2_geometry")


# == Chapter 3 =========================================================================================================

NODES = {
    "x̄": (0, 0), "a": (1.05, 0), "v_k": (1.95, 1), "v_rest": (1.95, -1), "x̂_k": (3.4, 1), "x̂_aux": (3.4, -1),
    "c_k": (4.75, 1), "c_aux": (4.75, -1), "L": (5.6, 0), "W_enc\nb_enc": (0.45, -1.4), "W_dec": (2.35, 0),
}  # fmt: skip
EDGES = [
    ("x̄", "a", "E4", ""), ("W_enc\nb_enc", "a", "", "E4′"), ("a", "v_k", "E5", "E5′"), ("a", "v_rest", "E6", "E5′"),
    ("v_k", "x̂_k", "E7", "E7′"), ("v_rest", "x̂_aux", "E7", "E7′"), ("W_dec", "x̂_k", "", "E7″"), ("W_dec", "x̂_aux", "", "E7″"),
    ("x̂_k", "x̂_aux", "+", "E13′"), ("x̂_k", "c_k", "E9", "E9′"), ("x̂_aux", "c_aux", "E9", "E9′"),
    ("c_k", "L", "E13", "E13′"), ("c_aux", "L", "E13", "E13′"),
]  # fmt: skip
"""From, to, the equation forward, and the equation backward. x̄ is data and has no gradient."""


def graph() -> None:
    """Draw what the loss is computed from: forward in grey, and in orange the way of the gradients."""
    figure, ax = plt.subplots(figsize=(WIDTH, 5.6))
    for name, place in NODES.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": LIGHT if name[0] == "W" else "white", "edgecolor": GREY}
        ax.text(*place, name, ha="center", va="center", fontsize=17, bbox=box)
    for start, end, forward, backward in EDGES:
        a, b = np.array(NODES[start], float), np.array(NODES[end], float)
        along = (b - a) / np.hypot(*(b - a))
        across = 0.07 * np.array([-along[1], along[0]])
        wide = 0.1 if along[1] == 0 and len(end) > 3 else 0  # beside a long name
        a, b = a + (0.3 + wide) * along, b - (0.34 + wide) * along
        aside = across * (3.6, 2.4)  # names are wider than high
        _one_way(ax, a + across, b + across, GREY, forward, aside)
        if backward:
            _one_way(ax, b - across, a - across, ORANGE, backward, -aside, at=0.75 if start == "W_dec" else 0.5)
    ax.text(0.3, 1.2, "forward", fontsize=16, color=GREY, ha="center")
    ax.text(0.3, 0.95, "backward", fontsize=16, color=ORANGE, ha="center")
    ax.set(xlim=(-0.35, 5.85), ylim=(-1.75, 1.35))
    ax.axis("off")
    save(figure, "3_graph")


def _one_way(ax: Axes, start: NDArray, end: NDArray, colour: str, text: str, offset: NDArray, at: float = 0.5) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.8})
    ax.text(*(start + at * (end - start) + offset), text, ha="center", va="center", fontsize=15, color=colour)


def tangents(x_unit: NDArray, x_hat: NDArray, gradients: NDArray) -> None:
    """Draw both rows, their reconstructions, and the gradients of the cosine at their ends."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4))
    for row, ax in enumerate(axes):
        plane(ax, np.zeros((0, 2)), f"Row {row}")
        arrow(ax, np.zeros(2), x_unit[row], "x̄", "black", (0.08, 0) if row == 0 else (-0.25, -0.08))
        arrow(ax, np.zeros(2), x_hat[row], "x̂", BLUE, (-0.16, -0.25) if row == 0 else (-0.25, 0.08))
        arrow(ax, x_hat[row], x_hat[row] + gradients[row], "∂c/∂x̂", ORANGE, (-0.1, 0.1) if row == 0 else (0.22, 0.25))
    save(figure, "3_tangents")


def tie(biases: NDArray, losses: NDArray, at: Sequence[tuple[float, float, float]]) -> None:
    """Draw the loss of one row against a bias, with tangents (bias, loss, slope)."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(biases, losses, ".", color=BLUE, markersize=3)
    for bias, loss, slope in at:
        reach = np.array([-0.2, 0.2])
        ax.plot(bias + reach, loss + slope * reach, color=ORANGE, linewidth=3)
        ax.plot(bias, loss, "o", color=ORANGE)
    ax.text(-0.6, losses.max() - 0.02, "latent 0 is kept", ha="center", va="top", fontsize=13)
    ax.text(0.2, losses.min() + 0.05, "latent 6 is kept", ha="center", fontsize=13)
    ax.set(xlabel="bias of latent 0", ylabel="loss of row 0")
    ax.set_title("The loss jumps at the tie; on both sides the gradient is its slope (orange)", fontsize=12)
    save(figure, "3_tie")


def errors(sizes: Sequence[float], found: Mapping[str, Sequence[float]]) -> None:
    """Draw the error of finite differences against the size of the step."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.5))
    for (name, line), colour in zip(found.items(), (BLUE, GREEN, PINK), strict=True):
        ax.loglog(sizes, line, "o-", color=colour, label=name, markersize=4)
    ax.text(1e-3, 1e-12, "too large:\nthe curve bends", fontsize=12, color=GREY)
    ax.text(1e-12, 1e-11, "too small:\nrounding", fontsize=12, color=GREY)
    ax.set(xlabel="step size", ylabel="error of the slope")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:.0e}")
    ax.set_title("Finite differences against the gradient", fontsize=12)
    ax.legend(fontsize=12, loc="upper center")
    save(figure, "3_errors")


def wrong_turn(losses: Mapping[str, Sequence[float]], lengths: Mapping[str, Sequence[float]]) -> None:
    """Draw the loss and the mean norm of x̂ in training, with the right gradient and with the wrong one."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    for ax, curves, title in zip(
        axes, (losses, lengths), ("Loss: it falls either way", "Mean length of x̂"), strict=True
    ):
        for (name, curve), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
            ax.plot(curve, color=colour, linewidth=2)
            ax.annotate(
                name, (len(curve), curve[-1]), (0, 8), textcoords="offset points", ha="right", color=colour, fontsize=13
            )
        ax.set_title(title, fontsize=13)
        ax.set(xlabel="step", ylim=(0, None))
    save(figure, "3_wrong_turn")
