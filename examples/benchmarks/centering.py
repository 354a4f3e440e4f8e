"""What the mean of the embeddings costs, and what a centred model gives back: recall of the dense neighbours."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import Codes, Model, encode_refined, fit, search
from compressae_ref.center import MeanDirection
from compressae_ref.metrics import recall_at
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense

SPACES = ("sparse", "reconstructed", "asymmetric")


def center(options: argparse.Namespace) -> None:
    """Train on the rows as they are, and with one direction added to them; three models each, with several seeds.

    "off" is a model without a mean. "center" is a centred model. "naive" has the parameters of the centred one, and
    ranks by the cosine of rows without their mean. Every figure is the mean over the seeds, with the lowest and highest.
    """
    x, q = (unit_rows(load(path), np.float32) for path in (options.embeddings, options.queries))
    head("mean cosine", "model", *(f"{space} @100" for space in SPACES), "asymmetric @10", "refined @100", text=2)
    for shift in options.shifts:
        direction = unit_rows(np.random.default_rng(1).standard_normal((1, x.shape[1])), np.float32)
        items, queries = (unit_rows(part + np.float32(shift) * direction, np.float32) for part in (x, q))
        pairs = MeanDirection(x.shape[1])
        pairs.add(items)
        truth = nearest_dense(queries, items, 100).ids
        off, center = (_models(items, center, options) for center in (False, True))
        for name, models in (("off", off), ("naive", center), ("center", center)):
            found = np.array([_recalls(model, items, queries, truth, name == "naive") for model in models])
            line(f"{pairs.mean_cosine():.2f}", name, *map(_spread, found.T))


def _models(items: np.ndarray, center: bool, options: argparse.Namespace) -> list[Model]:
    settings = {"n_latents": options.latents[0], "k": options.k[0], "steps": options.steps, "center": center}
    settings["objective"] = "reconstruct"
    return [fit(items, seed=seed, **settings).model for seed in options.seeds]


def _recalls(model: Model, items: np.ndarray, queries: np.ndarray, truth: np.ndarray, naive: bool) -> list[float]:
    if naive:
        items, queries = (part - model.params.mean for part in (items, queries))
        model = Model(replace(model.params, mean=None), model.k)

    def found(codes: Codes, space: str) -> np.ndarray:
        return search(queries, codes, 100, model=model, space=space).ids

    codes = model.encode(items)
    ids = [found(codes, space) for space in SPACES]
    recalls = [recall_at(each, truth) for each in ids]
    refined = found(encode_refined(items, model), "asymmetric")
    return [*recalls, recall_at(ids[-1][:, :10], truth[:, :10]), recall_at(refined, truth)]


def _spread(values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    return f"{values.mean():.3f}" if len(values) == 1 else f"{values.mean():.3f} ({low:.3f} to {high:.3f})"
