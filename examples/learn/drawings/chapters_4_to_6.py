"""The pictures of chapters 4 to 6: each function draws one and saves it. A chapter computes what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from compressae_ref import reference as ref
from drawings.look import BLUE, FAINT, GREEN, GREY, LIGHT, ORANGE, PINK, WIDTH, save, save_animation

plt.rcParams |= {"font.size": 12, "axes.titlesize": 13}  # few words, large enough for a telephone

# == Chapter 4 =========================================================================================================

Frame = tuple[int, float, Sequence[NDArray]]
"""A step, its loss_k, and W_enc, b_enc and W_dec after it."""


def moving_atoms(rows: NDArray, frames: Sequence[Frame], printed: Sequence[int]) -> None:
    """Draw how atoms turn towards rows in the plane: an animation of all frames, and a strip of some of them."""
    figure, ax = plt.subplots(figsize=(4, 4.2))
    shown = [*frames, *[frames[-1]] * 5]  # the end stands for a second
    save_animation(figure, lambda number: atoms(ax, rows, shown[number]), len(shown), "4_atoms")
    figure, axes = plt.subplots(1, len(printed), figsize=(WIDTH, 2.3))
    for ax, number in zip(axes, printed, strict=True):
        atoms(ax, rows, frames[number])
    save(figure, "4_strip")


def atoms(ax: Axes, rows: NDArray, frame: Frame) -> None:
    """Draw rows in the colour of the latent that they store, and the atoms: full line forward, dotted backward."""
    step, loss, (W_enc, b_enc, W_dec) = frame
    colours = np.array([BLUE, ORANGE, PINK, GREEN])
    latents = ref.encode_rows(rows, W_enc, b_enc, 1)[0][:, 0]
    ax.clear()
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color=LIGHT))
    for j, (atom, colour) in enumerate(zip(W_dec, colours, strict=True)):
        width = 3 if j in latents else 1
        ax.plot(*zip((0, 0), atom, strict=True), color=colour, linewidth=width)
        ax.plot(*zip((0, 0), -atom, strict=True), color=colour, linewidth=width, linestyle=":")
    ax.scatter(*rows.T, s=14, color=colours[latents], zorder=3)
    title = f"step {step}: loss {loss:.2f}"
    ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", title=title)
    ax.axis("off")


def lines(ax: Axes, runs: Mapping[str, Sequence[Any]], what: str, title: str) -> None:
    """Draw a line by step for each seed, in one colour for each name; without a second name, in one for each seed."""
    for (name, watched), colour in zip(runs.items(), (BLUE, ORANGE), strict=False):
        for number, watch in enumerate(watched):
            style = {"color": colour, "label": None if number else name}
            ax.plot(watch.steps, getattr(watch, what), "o-", markersize=4, **style)
    ax.set(title=title, xlabel="step")


def losses(watched: Sequence[Any]) -> None:
    """Draw the loss of every batch, and the held-out cosines."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3))
    for watch, colour in zip(watched, (BLUE, ORANGE, GREEN), strict=True):
        left.plot(watch.losses, color=colour, linewidth=1)
        right.plot(watch.steps, watch.cosines, "o-", color=colour, markersize=4)
    left.set(title="loss_k of each batch", xlabel="step", ylim=(0, None))
    right.set(title="held-out cosine", xlabel="step")
    save(figure, "4_loss")


def dead(random: Mapping[str, Sequence[Any]], tied: Mapping[str, Sequence[Any]], h: int) -> None:
    """Draw dead latents by step, for two starts."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3), sharey=True)
    lines(axes[0], random, "dead", f"dead of {h}, random start")
    lines(axes[1], tied, "dead", "dead, tied start")
    axes[1].legend()
    save(figure, "4_dead")


def optimisers(runs: Mapping[str, Sequence[Any]], paces: Mapping[str, tuple[NDArray, NDArray]]) -> None:
    """Draw held-out cosines of two optimisers, and how far each atom moves in a step in which it has a gradient."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    lines(left, runs, "cosines", "held-out cosine")
    for (name, (active, pace)), colour in zip(paces.items(), (BLUE, ORANGE), strict=True):
        right.scatter(active, pace, s=10, color=colour, label=name)
    right.set(title="distance per active step", xlabel="active steps (with a gradient)", yscale="log")
    right.set_yticks([0.003, 0.01, 0.03, 0.1], ["0.003", "0.01", "0.03", "0.1"])
    right.minorticks_off()
    right.legend()
    save(figure, "4_adam")


def norms(runs: Mapping[str, Sequence[Any]]) -> None:
    """Draw the norms of atoms that are not made unit rows, which are the second of the runs, and the cosines."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    watch = list(runs.values())[1][0]
    low, middle, high = np.transpose(watch.norms)
    left.fill_between(watch.steps, low, high, color=ORANGE, alpha=0.3, linewidth=0)
    left.plot(watch.steps, middle, "o-", color=ORANGE, markersize=4)
    left.axhline(1, color=BLUE)
    left.set(title="norms of atoms", xlabel="step")
    lines(right, runs, "cosines", "held-out cosine")
    right.legend()
    save(figure, "4_norms")


# == Chapter 5 =========================================================================================================

Code = tuple[NDArray, NDArray]


def spaces(query: NDArray, code_q: Code, code: Code, W_dec: NDArray, scores: Mapping[str, NDArray]) -> None:
    """Draw what each space compares: bars over latents, or arrows in the plane."""
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 3.2), width_ratios=(1, 1.2, 1.2, 1))
    u = ref.over_latents(query, W_dec)
    kept = [BLUE if j in ref.abs_topk(u, 2)[0] else LIGHT for j in range(len(W_dec))]
    q, a, b = (row for c in (code_q, code) for row in spread(c, len(W_dec)))
    of_items = ("A", a, ORANGE), ("B", b, ORANGE)
    latent_bars(axes[0], [("query", q, BLUE), *of_items])
    arrows(axes[1], W_dec, ref.decode(*code_q, W_dec)[0], "x̂", ref.decode(*code, W_dec))
    arrows(axes[2], W_dec, query[0], "x̄", ref.decode(*code, W_dec))
    latent_bars(axes[3], [("query", u[0], kept), *of_items])
    for ax, (space, ((score_a, score_b),)) in zip(axes, scores.items(), strict=True):
        ax.set_title(f"{space.replace(' (', chr(10) + '(')}\nA {score_a:.2f}, B {score_b:.2f}")
    save(figure, "5_spaces")


def spread(code: Code, h: int) -> NDArray:
    """Return codes as rows of h numbers."""
    rows = np.zeros((len(code[0]), h))
    np.put_along_axis(rows, *code, axis=1)
    return rows


def arrows(ax: Axes, W_dec: NDArray, x_q: NDArray, name: str, x_hat: NDArray) -> None:
    """Draw the atoms, and as arrows the vectors that are compared: the query's, and the reconstructions of A and B."""
    for atom in W_dec:
        ax.plot(*zip((0, 0), atom, strict=True), color=FAINT, linewidth=1)
    for vector, label, colour in ((x_q, name, BLUE), (x_hat[0], "A", ORANGE), (x_hat[1], "B", ORANGE)):
        ax.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 2.5})
        ax.text(*(1.1 * vector), label, color=colour, ha="center", va="center", size=13)
    ax.set(xlim=(-1, 1.25), ylim=(-0.1, 1.25), aspect="equal")
    ax.axis("off")


def latent_bars(ax: Axes, rows: Sequence[tuple[str, NDArray, Any]]) -> None:
    """Draw numbers over the latents, a row of bars for each name."""
    for place, (name, values, colours) in enumerate(rows):
        ax.bar(np.arange(len(values)), values, bottom=-1.3 * place, color=colours, width=0.6)
        ax.axhline(-1.3 * place, color=GREY, linewidth=0.8)
        ax.text(-0.6, 0.3 - 1.3 * place, name, ha="right", size=13)
    ax.set(xlim=(-1.8, 4.5), ylim=(-2.7, 1.1), xticks=range(5), yticks=[], xlabel="latent")
    ax.spines[["left", "bottom"]].set_visible(False)


def turn(angles: NDArray, scores: Mapping[str, NDArray], dense: NDArray) -> None:
    """Draw scores in some spaces against the angle between query and item."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    for (space, of_angles), colour in zip(scores.items(), (ORANGE, GREEN, BLUE), strict=True):
        ax.plot(angles, of_angles, color=colour, linewidth=2.5, label=space)
    ax.plot(angles, dense, color=GREY, linestyle="--", label="dense")
    ax.set(xlabel="angle between query and item, in degrees", ylabel="score")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
    save(figure, "5_turn")


def pairs(dense: NDArray, sparse: NDArray, shared: NDArray) -> None:
    """Draw the sparse cosine of pairs against the dense one, coloured by the number of latents that they share."""
    figure, ax = plt.subplots(figsize=(WIDTH, 4.6))
    points = ax.scatter(dense, sparse, c=shared, s=10, cmap="viridis_r", vmax=16)
    ax.plot((0, 1), (0, 1), color=GREY, linestyle="--")
    ax.set(xlabel="dense cosine", ylabel="sparse cosine")
    figure.colorbar(points, label="shared latents", ticks=[0, 4, 8, 12, 16])
    save(figure, "5_pairs")


def recalls(found: Mapping[str, tuple[int, float]]) -> None:
    """Draw recall against bytes for each way to store and search items."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6))
    lowest = 0.0
    for name, (size, recall) in sorted(found.items(), key=lambda one: one[1][1]):
        codes, crowded = "codes" in name, "codes" in name and size > 100
        colour, side, factor = (BLUE if codes else ORANGE), *(("left", 1.25) if crowded else ("right", 1 / 1.08))
        ax.plot(size, recall, "o" if codes else "s", color=colour, markersize=6 if codes else 12, markeredgewidth=2,
                fillstyle="full" if codes else "none")  # fmt: skip # a square around a dot: both are seen
        place = max(recall, lowest) if crowded else recall  # names of near points do not overlap
        if crowded:
            ax.plot((size * 1.04, size * 1.22), (recall, place), color=colour, linewidth=0.8)
        ax.text(size * factor, place, name.removeprefix("codes, "), color=colour, ha=side, va="center")
        lowest = place + 0.036 if crowded else lowest
    ax.set(xscale="log", xlim=(7, 1700), ylim=(0.6, 1.03), xlabel="bytes for an item", ylabel="recall@10")
    ax.set_xticks([48, 232, 384], ["48", "232", "384"])
    ax.minorticks_off()
    save(figure, "5_recall")


# == Chapter 6 =========================================================================================================


def orders() -> None:
    """Draw three orders of additions as trees: two of eight numbers, and the fold of 32, since E1 does not fold 16 or fewer."""
    figure, axes = plt.subplot_mosaic([["chain", "lanes"], ["fold", "fold"]], figsize=(WIDTH, 7), height_ratios=(2, 3))
    chain = [(0, 1), (8, 2), (9, 3), (10, 4), (11, 5), (12, 6), (13, 7)]
    lanes = [(0, 2), (1, 3), (8, 4), (9, 5), (10, 6), (11, 7), (12, 13)]
    tree(axes["chain"], 8, chain)
    tree(axes["lanes"], 8, lanes)
    halves = [(c, c + 16) for c in range(16)]
    sums = [(32, 33), *((46 + c, 32 + c) for c in range(2, 16))]  # each sum so far, and the next of the 16
    tree(axes["fold"], 32, halves + sums, first_rise=3)
    axes["chain"].set_title("left to right")
    axes["lanes"].set_title("two lanes")
    axes["fold"].set_title("fold (E1): halves of 32, then the 16 sums from left to right")
    save(figure, "6_orders")


def tree(ax: Axes, terms: int, added: Sequence[tuple[int, int]], first_rise: int = 1) -> None:
    """Draw sums over numbers from 0: each adds two earlier ones, and lies above them."""
    places = [(float(c), 0.0) for c in range(terms)]
    few = terms <= 16  # then there is room for the numbers in the circles
    circle = {"boxstyle": "circle", "fc": "white", "ec": GREY}
    for left, right in added:
        x = (places[left][0] + places[right][0]) / 2
        y = max(places[left][1], places[right][1]) + (1 if left >= terms else first_rise)
        for start in (places[left], places[right]):
            ax.plot((start[0], x), (start[1], y), color=BLUE, linewidth=1.5 if few else 1)
        places.append((x, y))
    for number, (x, y) in enumerate(places):
        if few:
            text = str(number) if number < terms else "+"
            ax.text(x, y, text, ha="center", va="center", bbox=circle, size=12)
        else:
            ax.plot(x, y, "o", color="white", markeredgecolor=GREY, markersize=7)
            if number in (0, 1, terms // 2 - 1, terms // 2, terms // 2 + 1, terms - 1):
                ax.text(x, y - 0.6, number, ha="center", va="top", size=12)
    ax.margins(0.12 if few else 0.03)
    ax.axis("off")


def ulps(differences: Mapping[str, NDArray]) -> None:
    """Draw histograms of differences to the fold, in ulp."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2))
    bins = np.arange(-12.5, 13.5)
    names = list(differences)[:2]
    ax.hist([differences[name] for name in names], bins, color=[ORANGE, BLUE], label=names)
    ax.set(xlabel="difference to the fold, in ulp", ylabel="dot products of 2,000")
    ax.legend()
    save(figure, "6_ulp")


def race(magnitudes: Mapping[str, NDArray], latents: NDArray) -> None:
    """Draw the |a| of two latents on a line of float32 numbers, for each order of the sum."""
    figure, axes = plt.subplots(len(magnitudes), figsize=(WIDTH, 3.3), sharex=True)
    least = min(min(pair) for pair in magnitudes.values())
    for ax, (name, pair) in zip(axes, magnitudes.items(), strict=True):
        steps = np.rint((pair - least) / np.spacing(least))
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.plot(np.arange(7), np.zeros(7), "|", color=GREY)
        for step, latent, colour in zip(steps, latents, (BLUE, ORANGE), strict=True):
            ax.plot(step, 0, "o", color=colour, markersize=11)
            ax.text(step, 0.5, latent, ha="center", color=colour, size=12)
        ax.set_title(name, fontsize=12)
        ax.set(yticks=[], xticks=range(7), ylim=(-0.6, 1.4), xlim=(-0.7, 6.7))
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(bottom=False)
    axes[-1].set_xlabel("steps of one float32 number: the one on the right is larger, and is stored")
    save(figure, "6_race")
