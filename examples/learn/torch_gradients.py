"""The gradients of chapter 3 by PyTorch's autograd, which the chapter reads from a file.

    pip install torch
    python examples/learn/torch_gradients.py          write 3_autograd.json

The model is in float64. Its numbers have two digits, so that the file can be read. Its atoms are therefore not exactly unit
rows; no gradient depends on that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent / "3_autograd.json"
n, d, h, k = 3, 5, 12, 2


def small_model(seed: int) -> dict[str, NDArray[np.float64]]:
    """Return a batch and the parameters of a model, of numbers within ±1."""
    rng = np.random.default_rng(seed)
    shapes = {"batch": (n, d), "W_enc": (d, h), "b_enc": (h,), "W_dec": (h, d)}
    return {name: np.round(2 * rng.random(shape) - 1, 2) for name, shape in shapes.items()}


def autograd(
    batch: NDArray, W_enc: NDArray, b_enc: NDArray, W_dec: NDArray, k: int, aux_weight: float = 1 / 8
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Return the loss, and its gradients with respect to the parameters, the stored values and the reconstructions."""
    import torch

    x = torch.tensor(batch)
    W_enc, b_enc, W_dec = (torch.tensor(param, requires_grad=True) for param in (W_enc, b_enc, W_dec))
    pre = x / x.norm(dim=1, keepdim=True) @ W_enc + b_enc
    order = pre.abs().argsort(dim=1, descending=True, stable=True)
    indices_k, indices_rest = order[:, :k].sort().values, order[:, k : min(4 * k, len(b_enc))].sort().values
    values_k, values_rest = pre.gather(1, indices_k), pre.gather(1, indices_rest)
    x_hat_k = (values_k[:, :, None] * W_dec[indices_k]).sum(dim=1)
    x_hat_aux = x_hat_k + (values_rest[:, :, None] * W_dec[indices_rest]).sum(dim=1)
    loss_k, loss_aux = (1 - torch.cosine_similarity(x, x_hat).mean() for x_hat in (x_hat_k, x_hat_aux))
    loss = loss_k + aux_weight * loss_aux
    of = {
        "x_hat_k": x_hat_k, "x_hat_aux": x_hat_aux, "values_k": values_k, "values_rest": values_rest,
        "W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec,
    }  # fmt: skip
    grads = torch.autograd.grad(loss, list(of.values()))
    return float(loss.detach()), {name: grad.numpy() for name, grad in zip(of, grads, strict=True)}


def stored() -> dict[str, Any]:
    """Return what is in the file: the model, the loss and the gradients, by name."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    for part in ("model", "gradients"):
        found[part] = {name: np.array(values) for name, values in found[part].items()}
    return found


def main() -> None:
    model = small_model(3)
    loss, gradients = autograd(**model, k=k)
    lines = [f'"k": {k}', f'"loss": {loss!r}']
    for part, arrays in (("model", model), ("gradients", gradients)):
        entries = ",\n  ".join(f'"{name}": {json.dumps(array.tolist())}' for name, array in arrays.items())
        lines.append(f'"{part}": {{\n  {entries}\n}}')
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
