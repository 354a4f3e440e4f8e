"""How fast, how large, how soon: this package beside PyTorch and beside the one dense product, on your embeddings.

    python examples/bench.py step embeddings.npy
    python examples/bench.py encode embeddings.npy

The PyTorch side is the oracle of the tests: dense, autograd, its fastest Adam. Everything is measured in turns, in one
process, with the same number of threads, after checking that both give the same result. Figures are medians of the
turns, with the quartiles; ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # else the product's threads spin on into what is timed next

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the oracle, which is no part of the package

import torch

from compressae_ref import TrainConfig, init_params
from compressae_ref.backends import get_backend
from compressae_ref.backends.threads import set_threads
from compressae_ref.config import ROWS_PER_BLOCK
from compressae_ref.model import aux_k, encode_unit, forward, loss_and_grads, unit_rows
from compressae_ref.train import init_state, train_step
from tests import torch_oracle as oracle

LR = 1e-3


class Problem:
    """One setting: the same rows and parameters for everybody."""

    def __init__(self, x: np.ndarray, n: int, h: int, k: int) -> None:
        self.x, self.k = np.resize(x, (n, x.shape[1])), k
        self.params = init_params(x.shape[1], h, np.random.default_rng(0))
        self.x_unit = unit_rows(self.x, np.float32)
        self.kernels = get_backend("numba")
        self.state, self.config = init_state(self.params), TrainConfig(n_latents=h, k=k)
        self.x_torch, self.model = torch.tensor(self.x), oracle.leaves(self.params)
        self.optimizer = torch.optim.Adam(self.model, lr=LR, fused=True)

    def product(self) -> None:
        """The one dense product, in blocks as large as those of the package."""
        for start in range(0, len(self.x_unit), ROWS_PER_BLOCK):
            self.x_unit[start : start + ROWS_PER_BLOCK] @ self.params.W_enc

    def step(self) -> None:
        """A training step of this package."""
        train_step(self.state, self.x, self.config, self.kernels, LR)

    def step_torch(self) -> None:
        """A training step of PyTorch."""
        oracle.train_step(self.x_torch, self.model, self.k, self.optimizer)

    def encode(self) -> None:
        """Codes of all rows."""
        for start in range(0, len(self.x), ROWS_PER_BLOCK):
            rows = unit_rows(self.x[start : start + ROWS_PER_BLOCK], np.float32, self.kernels)
            encode_unit(rows, self.params, self.k, self.kernels)

    @torch.no_grad()
    def encode_torch(self) -> torch.Tensor:
        """The dense array of PyTorch that holds the codes of all rows."""
        pre = oracle.pre_activations(self.x_torch, self.model)
        return torch.where(oracle.mask_of(pre, self.k), pre, 0.0)

    def check(self) -> None:
        """Both sides give the same losses, gradients and codes, to the rounding of float32."""
        acts = forward(self.x_unit[:256], self.params, self.k, self.kernels)
        grads = self.params.zeros_like()
        losses = loss_and_grads(self.x[:256], self.params, self.k, self.kernels, grads)
        codes = encode_unit(self.x_unit[:256], self.params, aux_k(self.k, self.params.n_latents), self.kernels)
        masks = [torch.tensor(each.to_dense() != 0) for each in (acts.codes_k, codes)]
        loss = oracle.losses(self.x_torch[:256], self.model, self.k, masks)[0]
        loss.backward()
        same(losses.loss, loss.item(), 1e-6, "loss")
        for name, ours in grads.arrays().items():
            theirs = getattr(self.model, name).grad.numpy()
            same(ours, theirs, 1e-5 * np.abs(theirs).max(), f"gradient of {name}")
        self.optimizer.zero_grad()
        dense = self.encode_torch()[:256].numpy()
        shared = (dense != 0) & masks[0].numpy()
        same(shared.sum() / (256 * self.k), 1, 1e-3, "share of the selections in common")
        same(acts.codes_k.to_dense()[shared], dense[shared], 1e-5, "codes")


def same(ours: object, theirs: object, tolerance: float, what: str) -> None:
    """Stop where two results differ by more than rounding."""
    difference = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
    if not difference <= tolerance:
        sys.exit(f"{what}: expected the same from both within {tolerance:.1e}, got a difference of {difference:.1e}")


def in_turns(turns: int, **functions: Callable[[], object]) -> dict[str, np.ndarray]:
    """Seconds of each function in each turn; one turn before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(each) for name, each in seconds.items()}


def spread(values: np.ndarray, digits: int) -> str:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def compare(options: argparse.Namespace) -> None:
    """The table of ``step`` and ``encode``."""
    x = np.load(options.embeddings).astype(np.float32)
    print(f"| d | h | k | rows | product, ms | {options.what}, ms | PyTorch, ms | times as fast | times the product |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for n in options.rows:
        for h in options.latents:
            for k in options.k:
                problem = Problem(x, n, h, k)
                problem.check()
                ours, theirs = (
                    (problem.step, problem.step_torch)
                    if options.what == "step"
                    else (problem.encode, problem.encode_torch)
                )
                seconds = in_turns(options.turns, product=problem.product, ours=ours, theirs=theirs)
                figures = [spread(1e3 * seconds[name], 1) for name in ("product", "ours", "theirs")]
                ratios = [seconds["theirs"] / seconds["ours"], seconds["ours"] / seconds["product"]]
                print(f"| {x.shape[1]} | {h} | {k} | {n} | {' | '.join([*figures, *(spread(r, 2) for r in ratios)])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("step", "encode"))
    parser.add_argument("embeddings", help="(n, d) array in a .npy file")
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--latents", type=int, nargs="+", default=[4096])
    parser.add_argument("--k", type=int, nargs="+", default=[32])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    set_threads(options.threads)
    torch.set_num_threads(options.threads)
    compare(options)


if __name__ == "__main__":
    main()
