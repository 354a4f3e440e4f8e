"""What a reference file does on real data: a short training, a search, a check of its gradients, and the test vectors.

The data are the entries of WordNet that the package ships, in 24 dimensions, so that all of it takes about a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compressae_ref import recall_at
from compressae_ref.demo_data import load_demo_data
from compressae_ref.verify import reference_answers
from compressae_ref.verify.operations import IN_REFERENCE
from compressae_ref.verify.programs import ask_reference
from compressae_ref.verify.report import Failure, run
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import default_folder

D, H, K, STEPS, BATCH, LR, EVERY = 24, 96, 4, 200, 64, 0.01, 10
NAMES = {
    "loss": "loss_k and loss_aux, last step",
    "cosine": "held-out cosine, last step",
    "dead": "dead latents, last step",
    "atoms": "norm of the shortest and longest atom",
    "recall": "recall@10: sparse, reconstructed, asymmetric",
    "gradients": "largest gap of gradient and finite difference",
}
"""What `measure` measures."""
TITLES = {
    "loss": "loss_k, loss_aux (- -)",
    "cosine": "held-out cosine",
    "dead": "dead latents",
    "atoms": "atoms: short, long (- -)",
    "recall": "recall@10 by space",
    "gradients": "slopes of the loss",
}
"""What stands above a panel."""

VISIBLE = {"loss": 0.05, "cosine": 0.04, "dead": 15, "atoms": 0.02, "recall": 0.04, "gradients": 0.01}
"""The smallest difference that counts: what differs by chance alone stays below two thirds of it."""


def load(text: str) -> ModuleType:
    """Return the module of a reference file."""
    module = ModuleType("reference")
    exec(compile(text, "reference.py", "exec"), vars(module))
    return module


@cache
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 2,500 rows to train on, 100 held-out queries and 1,400 held-out items: principal components, float32."""
    x = load_demo_data().items.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    basis = np.linalg.eigh(x.T @ x)[1][:, : -D - 1 : -1]
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(D)])
    x = np.random.default_rng(0).permutation(x @ basis).astype(np.float16).astype(np.float32)  # no last bits of BLAS
    return x[:2500], x[2500:2600], x[2600:4000]


@cache
def measure(text: str) -> dict[str, np.ndarray]:
    """Return the numbers of each of NAMES for a reference file."""
    ref = load(text)
    with np.errstate(all="ignore"):
        params, curves = trained(ref)
        loss, cosine, dead, atoms = (np.array(curve) for curve in zip(*curves, strict=True))
        recall, gradients = found(ref, params), slopes(ref)
    return {"loss": loss, "cosine": cosine, "dead": dead, "atoms": atoms, "recall": recall, "gradients": gradients}


def trained(ref: ModuleType) -> tuple[list[np.ndarray], list[tuple[Any, ...]]]:
    """Train for STEPS steps; return the parameters, and what is measured after every tenth step."""
    train, _, items = rows()
    rng = np.random.default_rng(1)
    params = [p.astype(np.float32) for p in ref.initial(rng.random((D, H)), rng.random((H, D)), False)]
    m, v = ([np.zeros_like(p) for p in params] for _ in range(2))
    curves = []
    for t in range(1, STEPS + 1):
        losses = ref.train_step(train[rng.integers(len(train), size=BATCH)], params, m, v, t, K, LR)
        if t % EVERY == 0:
            indices, values = ref.encode_rows(items, *params[:2], K)
            x_hat, norms = ref.decode(indices, values, params[2]), np.linalg.norm(params[2], axis=1)
            cosine = np.mean(np.sum(unit(items) * unit(x_hat), axis=1))
            curves.append((losses[1:], cosine, H - len(np.unique(indices)), (norms.min(), norms.max())))
    return params, curves


def unit(x: np.ndarray) -> np.ndarray:
    """Return unit rows without the file that is measured."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def found(ref: ModuleType, params: list[np.ndarray]) -> np.ndarray:
    """Return the share of the 10 nearest items that a search in each space returns."""
    _, queries, items = rows()
    W_enc, b_enc, W_dec = params
    nearest = np.argsort(-(unit(queries) @ unit(items).T), axis=1, kind="stable")[:, :10]
    query, item = (ref.encode_rows(x, W_enc, b_enc, K) for x in (queries, items))
    scores = (
        ref.sparse_cosine(query, item, H),
        ref.reconstructed_cosine(query, item, W_dec),
        ref.asymmetric_cosine(ref.unit_rows(queries, W_dec.dtype), item, W_dec),
    )
    return np.array([recall_at(ref.best(s, 10), nearest) for s in scores])


def slopes(ref: ModuleType) -> np.ndarray:
    """Return slopes of the loss along 12 directions: by the gradient, and by finite differences. (12, 2)."""
    rng, size = np.random.default_rng(2), 1e-6
    x = rng.standard_normal((8, 6))
    W_enc, _, W_dec = ref.initial(rng.random((6, 18)), rng.random((18, 6)), False)
    params = [W_enc, 0.1 * rng.standard_normal(18), W_dec]
    _, grads = ref.loss_and_gradients(x, *params, 2)
    pairs = []
    for number in range(12):
        moved = number % 3
        direction = rng.standard_normal(params[moved].shape)
        low, high = (
            ref.loss_and_gradients(x, *[p + step * direction if i == moved else p for i, p in enumerate(params)], 2)[0]
            for step in (-size, size)
        )
        pairs.append((np.sum(grads[moved] * direction), (high[0] - low[0]) / (2 * size)))
    return np.array(pairs)


def gap(gradients: np.ndarray) -> float:
    """Return the largest difference of a gradient and its finite difference."""
    return float(np.abs(gradients[:, 0] - gradients[:, 1]).max())


def visible(sound: dict[str, np.ndarray], broken: dict[str, np.ndarray]) -> list[str]:
    """Return the names of what differs enough to be seen."""
    far = {name: float(np.abs(sound[name] - broken[name]).max()) for name in NAMES}
    far["gradients"] = gap(broken["gradients"])
    return [name for name in NAMES if not far[name] < VISIBLE[name]]


def summary(measured: dict[str, np.ndarray]) -> dict[str, str]:
    """Return the last numbers of each of NAMES as text."""
    last = {name: np.atleast_1d(measured[name][-1]) for name in ("loss", "cosine", "atoms")}
    last["recall"] = measured["recall"]
    texts = {name: "  ".join(f"{number:.3f}" for number in numbers) for name, numbers in last.items()}
    return texts | {"dead": f"{measured['dead'][-1]}", "gradients": f"{gap(measured['gradients']):.0e}"}


@contextmanager
def answering(ref: ModuleType) -> Iterator[None]:
    """Let this file answer the test vectors."""
    sound, reference_answers.reference = reference_answers.reference, ref  # type: ignore[attr-defined]
    try:
        yield
    finally:
        reference_answers.reference = sound  # type: ignore[attr-defined]


@cache
def failures(text: str) -> list[Failure]:
    """Return the test vectors that a reference file fails, as ``compressae-ref verify --backend reference --bits``."""
    with answering(load(text)):
        suite = Suite(default_folder(), cases=100)
        return [failure for level in run(suite, ask_reference(), IN_REFERENCE, bits=True) for failure in level.failures]


def draw(
    sound: dict[str, np.ndarray], broken: dict[str, np.ndarray], path: Path, names: tuple[str, ...] = tuple(NAMES)
) -> None:
    """Draw some of what is measured, the sound file in blue and wide, the broken one in orange on top of it."""
    from matplotlib import pyplot as plt

    from drawings import look

    rows = -(-len(names) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(look.WIDTH, 2.7 * rows), squeeze=False)
    styles = (
        ("sound", sound, {"color": look.BLUE, "linewidth": 4, "alpha": 0.45}),
        ("broken", broken, {"color": look.ORANGE, "linewidth": 1.5}),
    )
    for axis, name in zip(axes.flat, names, strict=True):
        for label, measured, style in styles:
            if name == "recall":
                shift = 0.2 if label == "broken" else -0.2
                axis.bar(np.arange(3) + shift, measured[name], 0.4, color=style["color"], alpha=style.get("alpha"))
            elif name == "gradients":
                marker = {"s": 110, "alpha": 0.45} if label == "sound" else {"s": 22, "marker": "x"}
                axis.scatter(*measured[name].T, color=style["color"], **marker)
            else:
                draw_curves(axis, measured[name], label, style)
        dress(axis, name, look.LIGHT)
    axes[0, 0].legend()
    look.save_as(figure, path)


def draw_curves(axis: Any, curves: np.ndarray, label: str, style: dict[str, Any]) -> None:
    """Draw one or two curves by step: a line, and dashes."""
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    for curve, line in zip(curves.reshape(len(steps), -1).T, ("-", "--"), strict=False):
        axis.plot(steps, curve, line, label=label if line == "-" else None, **style)


def dress(axis: Any, name: str, colour: str) -> None:
    """Give a panel its title and labels, and the diagonal of slopes its colour."""
    axis.set(title=TITLES[name])
    if name == "recall":
        axis.set_xticks(range(3), ("sparse", "recon-\nstructed", "asym-\nmetric"))
    elif name == "gradients":
        axis.axline((0, 0), slope=1, color=colour, zorder=0)
        axis.set(xlabel="by the gradient", ylabel="finite differences")
    else:
        axis.set(xlabel="step")
    if name == "atoms":
        axis.set_ylim(0, 1.2 * max(1, axis.get_ylim()[1]))
