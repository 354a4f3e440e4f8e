"""One forward and one backward pass of a model small enough to print: every number, with its equation.

All gradients are compared with PyTorch autograd (if torch is installed), those of the parameters also with finite
differences along a random direction. Run it with ``python examples/04_backward_by_hand.py``.
"""

import numpy as np

from compressae_ref import reference as ref

try:
    import torch
except ImportError:
    torch = None

n, d, h, k, k_aux, aux_weight, step = 3, 5, 12, 2, 8, 1 / 8, 1e-3


def walk(x: np.ndarray, W_enc: np.ndarray, b_enc: np.ndarray, W_dec: np.ndarray) -> dict:
    """Compute forward, then the same lines in reverse. Return {name: (equation, value)}."""
    x_unit = ref.unit_rows(x, x.dtype)
    pre = ref.pre_activations(x_unit, W_enc, b_enc)
    (indices_k, values_k), (indices_rest, values_rest) = ref.split_code(*ref.abs_topk(pre, k_aux), k)
    x_hat_k = ref.decode(indices_k, values_k, W_dec)
    x_hat_aux = x_hat_k + ref.decode(indices_rest, values_rest, W_dec)
    cosines_k, cosines_aux = ref.cosine(x_unit, x_hat_k), ref.cosine(x_unit, x_hat_aux)
    loss = np.mean(1 - cosines_k) + aux_weight * np.mean(1 - cosines_aux)

    grad_x_hat_aux = ref.cosine_backward(np.full(n, -aux_weight / n), x_unit, x_hat_aux)
    # x_hat_k has two gradients: from its own loss, and as a term of x_hat_aux.
    grad_x_hat_k = ref.cosine_backward(np.full(n, -1 / n), x_unit, x_hat_k) + grad_x_hat_aux
    grad_values_k = ref.decode_backward_values(grad_x_hat_k, indices_k, W_dec)
    grad_values_rest = ref.decode_backward_values(grad_x_hat_aux, indices_rest, W_dec)
    grad_W_enc, grad_b_enc, grad_W_dec = np.zeros((d, h)), np.zeros(h), np.zeros((h, d))
    code_k = indices_k, values_k, grad_values_k, grad_x_hat_k
    code_rest = indices_rest, values_rest, grad_values_rest, grad_x_hat_aux
    for indices, values, grad_values, grad_x_hat in (code_k, code_rest):
        for i in range(n):
            ref.add_outer(values[i], indices[i], grad_x_hat[i], grad_W_dec)
            ref.add_outer(grad_values[i], indices[i], x_unit[i], grad_W_enc.T)
            ref.add_outer(grad_values[i], indices[i], np.ones(1), grad_b_enc[:, None])
    return {
        "x_unit": ("E3", x_unit), "pre": ("E4", pre),
        "indices_k": ("E5 E6", indices_k), "values_k": ("E5 E6", values_k),
        "indices_rest": ("E5 E6", indices_rest), "values_rest": ("E5 E6", values_rest),
        "x_hat_k": ("E7", x_hat_k), "x_hat_aux": ("E7", x_hat_aux),
        "cosines_k": ("E9", cosines_k), "cosines_aux": ("E9", cosines_aux), "loss": ("E13", loss),
        "grad_x_hat_aux": ("E9'", grad_x_hat_aux), "grad_x_hat_k": ("E9'", grad_x_hat_k),
        "grad_values_k": ("E7'", grad_values_k), "grad_values_rest": ("E7'", grad_values_rest),
        "grad_W_dec": ("E7''", grad_W_dec), "grad_W_enc": ("E5' E4'", grad_W_enc), "grad_b_enc": ("E5' E4'", grad_b_enc),
    }  # fmt: skip


def autograd(x: np.ndarray, W_enc: np.ndarray, b_enc: np.ndarray, W_dec: np.ndarray) -> dict:
    """Return the same gradients by PyTorch."""
    x, W_enc, b_enc, W_dec = (torch.tensor(array, requires_grad=True) for array in (x, W_enc, b_enc, W_dec))
    pre = x / x.norm(dim=1, keepdim=True) @ W_enc + b_enc
    order = pre.abs().argsort(dim=1, descending=True)
    indices_k, indices_rest = (part.sort().values for part in (order[:, :k], order[:, k:k_aux]))
    values_k, values_rest = pre.gather(1, indices_k), pre.gather(1, indices_rest)
    x_hat_k = (values_k[:, :, None] * W_dec[indices_k]).sum(dim=1)
    x_hat_aux = x_hat_k + (values_rest[:, :, None] * W_dec[indices_rest]).sum(dim=1)
    loss_k, loss_aux = (1 - torch.cosine_similarity(x, x_hat).mean() for x_hat in (x_hat_k, x_hat_aux))
    names = ["x_hat_aux", "x_hat_k", "values_k", "values_rest", "W_dec", "W_enc", "b_enc"]
    tensors = [x_hat_aux, x_hat_k, values_k, values_rest, W_dec, W_enc, b_enc]
    grads = torch.autograd.grad(loss_k + aux_weight * loss_aux, tensors)
    return {f"grad_{name}": grad.numpy() for name, grad in zip(names, grads, strict=True)}


def slope(x: np.ndarray, params: dict, name: str, direction: np.ndarray, size: float) -> float:
    """Return the central difference of the loss along a direction of one parameter."""
    low, mid, high = (walk(x, **params | {name: params[name] + t * direction}) for t in (-size, 0, size))
    if any((end[part][1] != mid[part][1]).any() for end in (low, high) for part in ("indices_k", "indices_rest")):
        raise RuntimeError(f"{name}: the selection changes within a step of {size}, where the loss has a kink")
    return (high["loss"][1] - low["loss"][1]) / (2 * size)


def main() -> None:
    np.set_printoptions(precision=4, suppress=True, linewidth=118)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    W_enc, _, W_dec = ref.initial(rng.random((d, h)), rng.random((h, d)), tied=False)
    params = {"W_enc": W_enc, "b_enc": 0.1 * rng.standard_normal(h), "W_dec": W_dec}
    steps, by_torch = walk(x, **params), autograd(x, **params) if torch else {}
    # Each number ends a chain of fewer than 100 rounded operations. The terms of a reconstruction sum to at most
    # `reach`, so its relative error is 100 u · reach / norm. A gradient divides by the norm again; a few errors add up.
    reach = k_aux * (np.linalg.norm(W_enc, axis=0) + np.abs(params["b_enc"])).max()
    shortest = min(np.linalg.norm(steps[name][1], axis=1).min() for name in ("x_hat_k", "x_hat_aux"))
    rounding = 500 * np.finfo(float).eps / 2 * (reach / shortest) ** 2

    print(f"n = {n}, d = {d}, h = {h}, k = {k}, k_aux = min(4k, h) = {k_aux}, aux_weight = {aux_weight}, float64.")
    print("A code is a pair of arrays (indices, values): the k largest entries, and the other k_aux − k entries.")
    print("Gradients are compared with " + ("PyTorch and " if torch else "") + "finite differences.")
    for name, (equation, value) in steps.items():
        gaps, param = {}, name.removeprefix("grad_")
        if name in by_torch:
            gaps["autograd"] = np.abs(value - by_torch[name]).max(), rounding
        if name != param and param in params:
            direction = np.random.default_rng(1).standard_normal(value.shape)
            direction /= np.linalg.norm(direction)
            once, twice = (slope(x, params, param, direction, size) for size in (step, 2 * step))
            # The error of a central difference grows with step², so it is a third of the change from step to 2 step.
            gaps["finite difference"] = abs(once - np.sum(value * direction)), abs(twice - once) + rounding / step
        note = "".join(f"   {source}: {gap:.0e} (bound {bound:.0e})" for source, (gap, bound) in gaps.items())
        print(f"\n{name:<17}{np.shape(value)!s:<9}{equation:<7}{note}".rstrip())
        print(np.round(value, 6))
        if not all(gap <= bound for gap, bound in gaps.values()):
            raise RuntimeError(f"{name}: expected differences within the bounds, got{note}")
    print("\nEvery gradient agrees with what it is compared with.")


if __name__ == "__main__":
    main()
