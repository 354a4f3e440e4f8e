"""CompresSAE in PyTorch, dense and with autograd, written from the equations and rules: the judge of this package.

It shares no code with the package. Ties are not judged by it: `torch.topk` breaks them as it likes, so the selection
may be given from outside, and tests compare free selections only where the margin is wider than rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tests.lazy import LazyModule

torch = LazyModule("torch")

EPS = 1e-8


class Oracle(NamedTuple):
    """Leaves with gradients, in the shapes of `Params`."""

    W_enc: torch.Tensor
    b_enc: torch.Tensor
    W_dec: torch.Tensor


def leaves(params) -> Oracle:
    return Oracle(*(torch.tensor(np.array(a, order="C"), requires_grad=True) for a in params.arrays().values()))


def unit(x: torch.Tensor) -> torch.Tensor:
    """Unit rows at any scale: the division by the largest entry comes first."""
    scaled = x / x.abs().amax(dim=1, keepdim=True)
    return scaled / scaled.norm(dim=1, keepdim=True)


def pre_activations(x: torch.Tensor, model: Oracle) -> torch.Tensor:
    return unit(x) @ model.W_enc + model.b_enc


def mask_of(pre: torch.Tensor, k: int) -> torch.Tensor:
    """Boolean mask of the k largest |pre|; for ties by `torch.topk`'s own choice."""
    chosen = pre.detach().abs().topk(k, dim=1).indices
    return torch.zeros_like(pre, dtype=torch.bool).scatter(1, chosen, True)


def losses(x, model: Oracle, k: int, masks=None):
    """loss, loss_k, loss_aux; ``masks`` gives the selections at k and at k_aux from outside."""
    pre = pre_activations(x, model)
    k_aux = min(4 * k, pre.shape[1])
    mask_k, mask_aux = (mask_of(pre, k), mask_of(pre, k_aux)) if masks is None else masks
    x_unit = unit(x)

    def loss(mask):
        x_hat = torch.where(mask, pre, torch.zeros_like(pre)) @ model.W_dec
        return (1 - torch.nn.functional.cosine_similarity(x_unit, x_hat, dim=1, eps=EPS)).mean()

    loss_k, loss_aux = loss(mask_k), loss(mask_aux)
    return loss_k + loss_aux / 8, loss_k, loss_aux


def similarity_loss(x, model: Oracle, k: int, temperature: float, theta, masks=None, pairs=None, relevance_weight=0.0):
    """The similarity loss of a batch (E31), from whole codes and rows of the matrices without their diagonal.

    ``pairs`` of related rows have the share ``relevance_weight`` of the target (E34).
    """
    pre, n = pre_activations(x, model), len(x)
    mask_k, mask_aux = (mask_of(pre, k), mask_of(pre, min(4 * k, pre.shape[1]))) if masks is None else masks
    others = ~torch.eye(n, dtype=torch.bool)
    code, long_code = (torch.where(mask, pre, torch.zeros_like(pre)) for mask in (mask_k, mask_aux))

    def log_shares(cosines):
        return (cosines[others].reshape(n, n - 1) / temperature).log_softmax(dim=1)

    target = log_shares(unit(x) @ unit(x).T).exp()
    if pairs:
        related = torch.zeros((n, n), dtype=target.dtype)
        related[tuple(torch.tensor(pairs).T)] = 1
        related = related[others].reshape(n, n - 1)
        count = related.sum(dim=1, keepdim=True)
        mixed = torch.lerp(target, related / count.clamp_min(1), relevance_weight)
        target = torch.where(count > 0, mixed, target)
    long_unit, item_unit = (each / each.norm(dim=1, keepdim=True).clamp_min(EPS) for each in (long_code, code))
    queries = zip(theta, (item_unit, long_unit), strict=True)
    log_r = [log_shares(scale.exp() * (query @ item_unit.T)) for scale, query in queries]
    return sum((torch.xlogy(target, target) - target * each).sum(dim=1).mean() for each in log_r)


def train_step(x, model: Oracle, k: int, optimizer: torch.optim.Optimizer, order="after_step", more=None) -> float:
    """``more`` returns what is added to the loss of a batch."""
    optimizer.zero_grad()
    loss = losses(x, model, k)[0] + (more(x) if more else 0.0)
    loss.backward()
    if order == "before_step":
        normalize(model)
        with torch.no_grad():
            along = (model.W_dec.grad * model.W_dec).sum(1, keepdim=True)
            model.W_dec.grad.sub_(along * model.W_dec)
    optimizer.step()
    if order == "after_step":
        normalize(model)
    return float(loss.detach())


def normalize(model: Oracle) -> None:
    with torch.no_grad():  # as a decorator it would import torch when tests are collected
        model.W_dec.div_(model.W_dec.norm(dim=1, keepdim=True))


def dense_codes(x, model: Oracle, mask: torch.Tensor) -> torch.Tensor:
    pre = pre_activations(x, model)
    return torch.where(mask, pre, torch.zeros_like(pre)).detach()


def cosine_matrix(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a[:, None, :], b[None, :, :], dim=2, eps=EPS)
