"""Training and encoding: the same problem for this package and for PyTorch."""

from __future__ import annotations

import sys

import numpy as np
import torch

from benchmarks.measure import device_of, same
from compressae_ref import Model, TrainConfig, init_params
from compressae_ref.backends import get_backend
from compressae_ref.model import aux_k
from compressae_ref.reference import unit_rows
from compressae_ref.training.distillation import SCALE_LR
from compressae_ref.training.settings import ROWS_PER_BLOCK
from compressae_ref.training.step import distill_loss_and_grads, forward, init_state, loss_and_grads, train_step
from tests import torch_oracle as oracle

LR = 1e-3


class Problem:
    """One setting: the same rows and parameters for everybody."""

    def __init__(self, x: np.ndarray, n: int, h: int, k: int, backend: str = "numba") -> None:
        self.x, self.k = np.resize(x, (n, x.shape[1])), k
        self.params = init_params(x.shape[1], h, np.random.default_rng(0))
        self.compressor, self.x_unit = Model(self.params, k), unit_rows(self.x, np.float32)
        self.backend, self.kernels, device = backend, get_backend(backend), device_of(backend)
        self.state, self.config = init_state(self.params, self.kernels), TrainConfig(n_latents=h, k=k)
        self.rows = self.kernels.place(self.x)  # on a GPU both sides have them there
        self.x_torch = torch.tensor(self.x, device=device)
        self.model = oracle.Oracle(*(each.detach().to(device).requires_grad_() for each in oracle.leaves(self.params)))
        self.factors = [torch.tensor(each, device=device) for each in (self.x_unit, np.array(self.params.W_enc))]
        self.optimizer = torch.optim.Adam(self.model, lr=LR, fused=True)

    def product(self) -> None:
        """The one dense product, in blocks as large as those of the package."""
        for start in range(0, len(self.x_unit), ROWS_PER_BLOCK):
            if self.backend == "cuda":
                self.factors[0][start : start + ROWS_PER_BLOCK] @ self.factors[1]
            else:
                self.x_unit[start : start + ROWS_PER_BLOCK] @ self.params.W_enc

    def step(self) -> None:
        """A training step of this package."""
        train_step(self.state, self.rows, self.config, self.kernels, LR)

    def step_torch(self) -> None:
        """A training step of PyTorch."""
        oracle.train_step(self.x_torch, self.model, self.k, self.optimizer)

    def encode(self, backend: str | None = None) -> None:
        """Codes of all rows."""
        backend = backend or self.backend
        self.compressor.encode(self.rows if backend == "cuda" else self.x, backend=backend)

    @torch.no_grad()
    def encode_torch(self) -> torch.Tensor:
        """The dense array of PyTorch that holds the codes of all rows."""
        pre = oracle.pre_activations(self.x_torch, self.model)
        return torch.where(oracle.mask_of(pre, self.k), pre, 0.0)

    def _selected(self, n: int) -> list[torch.Tensor]:
        """The entries of the first codes, short and long, as dense masks: PyTorch breaks ties as it likes."""
        acts = forward(self.x_unit[:n], self.params, self.k, self.kernels)
        codes = acts.codes_k, acts.codes_aux
        return [torch.tensor(each.to_dense() != 0, device=self.x_torch.device) for each in codes]

    def check(self) -> None:
        """Both sides give the same losses, gradients and codes, to the rounding of float32."""
        acts = forward(self.x_unit[:256], self.params, self.k, self.kernels)
        grads = self.params.zeros_like()
        losses = loss_and_grads(self.x[:256], self.params, self.k, self.kernels, grads)
        codes = self.kernels.encode(
            self.x_unit[:256], self.params.W_enc, self.params.b_enc, aux_k(self.k, self.params.n_latents)
        )
        truth = get_backend("numba").encode(self.x_unit[:256], self.params.W_enc, self.params.b_enc, codes.k)
        if not (np.array_equal(codes.indices, truth.indices) and np.array_equal(codes.values, truth.values)):
            sys.exit(f"codes: expected the same bits from backend {self.backend!r} as from 'numba', got others")
        masks = self._selected(256)
        loss = oracle.losses(self.x_torch[:256], self.model, self.k, masks)[0]
        loss.backward()
        same(losses.loss, loss.item(), 1e-6, "loss")
        for name, ours in grads.arrays().items():
            theirs = getattr(self.model, name).grad.cpu().numpy()
            same(ours, theirs, 1e-5 * np.abs(theirs).max(), f"gradient of {name}")
        self.optimizer.zero_grad()
        dense = self.encode_torch()[:256].cpu().numpy()
        shared = (dense != 0) & masks[0].cpu().numpy()
        same(shared.sum() / (len(dense) * self.k), 1, 1e-3, "share of the selections in common")
        same(acts.codes_k.to_dense()[shared], dense[shared], 1e-5, "codes")


class Distillation(Problem):
    """A training step with the similarity loss, beside one without it and beside PyTorch."""

    def __init__(self, x: np.ndarray, n: int, h: int, k: int, backend: str = "numba") -> None:
        super().__init__(x, n, h, k, backend)
        self.config = TrainConfig(n_latents=h, k=k, objective="distill")
        self.plain = Problem(x, n, h, k, backend).step
        self.theta = torch.zeros(2, device=self.x_torch.device, requires_grad=True)
        groups = [{"params": list(self.model)}, {"params": [self.theta], "lr": SCALE_LR}]
        self.optimizer = torch.optim.Adam(groups, lr=LR, fused=True)

    def step_torch(self) -> None:
        """A training step of PyTorch, with autograd."""
        oracle.train_step(self.x_torch, self.model, self.k, self.optimizer, more=self._similarity)

    def _similarity(self, x: torch.Tensor, masks: list[torch.Tensor] | None = None) -> torch.Tensor:
        return oracle.similarity_loss(x, self.model, self.k, self.config.temperature, self.theta, masks)

    def check(self) -> None:
        """Both sides give the same losses and gradients, to the rounding of float32."""
        super().check()
        x, masks = self.x_torch[:256], self._selected(256)
        state = init_state(self.params, self.kernels)
        losses, grad_theta = distill_loss_and_grads(self.x[:256], state, self.config, self.kernels)
        similarity = self._similarity(x, masks)
        (oracle.losses(x, self.model, self.k, masks)[0] + similarity).backward()
        same(losses.loss_similarity, similarity.item(), 1e-5, "similarity loss")
        grads = {name: getattr(self.model, name).grad for name in self.params.arrays()}
        ours = {name: self.kernels.fetch(each) for name, each in state.grads.arrays().items()}
        for name, theirs in {**grads, "theta": self.theta.grad}.items():
            their = theirs.cpu().numpy()
            same(ours.get(name, grad_theta), their, 1e-4 * np.abs(their).max(), f"gradient of {name}")
        self.optimizer.zero_grad()
