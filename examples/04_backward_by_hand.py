"""One forward and one backward pass by hand: a model small enough to read, every number with its equation.

Beside each gradient stands its largest difference to PyTorch autograd (where torch is installed) and, for parameters,
that of its slope along a random direction to a finite difference. Run it with ``python examples/04_backward_by_hand.py``.
"""

from dataclasses import replace

import numpy as np

from compressae_ref import Codes, Params, init_params, ops

try:
    import torch
except ImportError:
    torch = None

n, d, h, k, aux_weight = 3, 5, 12, 2, 1 / 8
k_aux = min(4 * k, h)
EQUATIONS = """x_unit E3, pre E4, codes_k E5 E6, codes_rest E5 E6, x_hat_k E7, x_hat_aux E7, cosines_k E9, cosines_aux E9,
loss_k E9, loss_aux E9, loss E13, grad_x_hat_aux E9', grad_x_hat_k E9', grad_values_k E7', grad_values_rest E7',
grad_W_dec E7'', grad_W_enc E5' E4', grad_b_enc E5' E4'"""


def walk(x: np.ndarray, p: Params) -> dict:
    """Forward, and then the same lines in reverse; returns all of it by name."""
    x_unit = ops.normalize_rows(x)
    pre = ops.pre_activations(x_unit, p.W_enc, p.b_enc)
    codes_k, codes_rest = ops.split_codes(ops.abs_topk(pre, k_aux), k)
    x_hat_k = ops.decode(codes_k, p.W_dec)
    x_hat_aux = x_hat_k + ops.decode(codes_rest, p.W_dec)
    cosines_k, cosines_aux = ops.cosines(x_unit, x_hat_k), ops.cosines(x_unit, x_hat_aux)
    loss_k, loss_aux = 1 - cosines_k.mean(), 1 - cosines_aux.mean()
    loss = loss_k + aux_weight * loss_aux

    grad_x_hat_aux = ops.cosines_backward(np.full(n, -aux_weight / n), x_unit, x_hat_aux)
    # The reconstruction at k counts twice: for itself, and as the first part of x_hat_aux.
    grad_x_hat_k = ops.cosines_backward(np.full(n, -1 / n), x_unit, x_hat_k) + grad_x_hat_aux
    grad_values_k = ops.decode_backward_values(grad_x_hat_k, codes_k, p.W_dec)
    grad_values_rest = ops.decode_backward_values(grad_x_hat_aux, codes_rest, p.W_dec)
    grad_W_enc, grad_b_enc, grad_W_dec = p.zeros_like().arrays().values()
    ops.decode_backward_weights([(codes_k, grad_x_hat_k), (codes_rest, grad_x_hat_aux)], grad_W_dec)
    pairs = (grad_values_k, codes_k), (grad_values_rest, codes_rest)
    ops.pre_activations_backward([ops.abs_topk_backward(*pair) for pair in pairs], x_unit, grad_W_enc, grad_b_enc)
    return locals()


def autograd(x: np.ndarray, p: Params) -> dict:
    """The gradients by PyTorch from the dense equations, where a code is the pre-activations times a mask."""
    x, W_enc, b_enc, W_dec = (torch.tensor(array, requires_grad=True) for array in (x, *p.arrays().values()))
    pre = x / x.norm(dim=1, keepdim=True) @ W_enc + b_enc
    rank = pre.abs().argsort(dim=1, descending=True).argsort(dim=1)
    x_hat_k = (pre * (rank < k)) @ W_dec
    x_hat_aux = x_hat_k + (pre * ((k <= rank) & (rank < k_aux))) @ W_dec
    for tensor in (inner := (pre, x_hat_k, x_hat_aux)):
        tensor.retain_grad()
    loss_k, loss_aux = (1 - torch.cosine_similarity(x, x_hat).mean() for x_hat in (x_hat_k, x_hat_aux))
    (loss_k + aux_weight * loss_aux).backward()
    names = ("pre", "x_hat_k", "x_hat_aux", "W_enc", "b_enc", "W_dec")
    return {f"grad_{m}": t.grad.numpy() for m, t in zip(names, (*inner, W_enc, b_enc, W_dec), strict=True)}


def slope(x: np.ndarray, p: Params, name: str, direction: np.ndarray, step: float) -> float:
    """Central difference of the loss; across a change of the selection it would mean nothing."""
    low, here, high = (walk(x, replace(p, **{name: getattr(p, name) + t * direction})) for t in (-step, 0, step))
    if any((end[c].indices != here[c].indices).any() for end in (low, high) for c in ("codes_k", "codes_rest")):
        raise RuntimeError(f"{name}: the selection changes within a step of {step}, where the loss has a kink")
    return (high["loss"] - low["loss"]) / (2 * step)


def differences(name: str, x: np.ndarray, p: Params, steps: dict, theirs: dict) -> dict:
    """What a gradient is compared with: how far apart, and how far apart rounding and the finite step may put them."""
    of, found, step = name.removeprefix("grad_"), {}, 1e-3
    # Each number ends a chain of under 100 rounded operations. Terms of a reconstruction add up to at most `reach`, so
    # one of norm r is off by 100 u · reach / r of itself; a gradient divides by r again, and a few such errors add up.
    reach = k_aux * (np.linalg.norm(p.W_enc, axis=0) + np.abs(p.b_enc)).max()
    shortest = min(np.linalg.norm(steps[x_hat], axis=1).min() for x_hat in ("x_hat_k", "x_hat_aux"))
    rounding = 500 * np.finfo(float).eps / 2 * (reach / shortest) ** 2
    if theirs:
        if "values" in of:  # the gradients of the stored values are entries of that of pre
            stored = steps[of.replace("values", "codes")].indices
            theirs = {name: np.take_along_axis(theirs["grad_pre"], stored, axis=1)}
        found["autograd"] = np.abs(steps[name] - theirs[name]).max(), rounding
    if of in p.arrays():
        direction = np.random.default_rng(1).standard_normal(steps[name].shape)
        direction /= np.linalg.norm(direction)
        once, twice = slope(x, p, of, direction, step), slope(x, p, of, direction, 2 * step)
        # The error of a central difference grows with step²: from one step to two, by three times itself.
        bound = abs(twice - once) + rounding / step
        found["finite difference"] = abs(once - (steps[name] * direction).sum()), bound
    return found


def main() -> None:
    np.set_printoptions(precision=4, suppress=True, linewidth=118)
    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((n, d)), init_params(d, h, rng, init="original", dtype="float64")
    p = replace(p, b_enc=0.1 * rng.standard_normal(h))
    steps, theirs = walk(x, p), autograd(x, p) if torch else {}
    print(f"n = {n}, d = {d}, h = {h}, k = {k}, k_aux = min(4k, h) = {k_aux}, aux_weight = {aux_weight}, float64.")
    print("Codes store k entries of each row, and the rest k_aux − k; they are shown dense, (n, h).")
    if not torch:
        print("PyTorch is not installed: the differences to autograd are left out.")
    for name, equation in (entry.split(maxsplit=1) for entry in EQUATIONS.split(",")):
        value, note = steps[name], ""
        for what, (gap, bound) in differences(name, x, p, steps, theirs).items() if "grad_" in name else ():
            note += f"   {what}: {gap:.0e} (bound {bound:.0e})"
            if not gap <= bound:
                raise RuntimeError(f"{name}: expected a difference to {what} within {bound:.1e}, got {gap:.1e}")
        shape = value.values.shape if isinstance(value, Codes) else np.shape(value)
        print(f"\n{name:<17}{shape!s:<9}{equation:<7}{note}".rstrip())
        print(value.to_dense() if isinstance(value, Codes) else np.round(value, 6))
    print("\nEvery gradient agrees with what it is compared with.")


if __name__ == "__main__":
    main()
