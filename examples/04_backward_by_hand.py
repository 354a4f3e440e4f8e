"""One forward and one backward pass of a model small enough to print: every number, with its equation.

The gradients of the parameters are compared with finite differences along a random direction; every gradient is
compared with PyTorch's autograd in ``tests/test_examples.py``. Run it with ``python examples/04_backward_by_hand.py``.
"""

import numpy as np

from compressae_ref import reference as ref

n, d, h, k, k_aux, aux_weight, size = 3, 5, 12, 2, 8, 1 / 8, 1e-5


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


def slope(x: np.ndarray, params: dict, name: str, direction: np.ndarray) -> float:
    """Return the central difference of the loss along a direction of one parameter."""
    low, high = (walk(x, **params | {name: params[name] + t * direction}) for t in (-size, size))
    return (high["loss"][1] - low["loss"][1]) / (2 * size)


def small_model(rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """Return rows and the parameters of a model."""
    W_enc, _, W_dec = ref.initial(rng.random((d, h)), rng.random((h, d)), tied=False)
    return rng.standard_normal((n, d)), {"W_enc": W_enc, "b_enc": 0.1 * rng.standard_normal(h), "W_dec": W_dec}


def main() -> None:
    np.set_printoptions(precision=4, suppress=True, linewidth=118)
    rng = np.random.default_rng(0)
    x, params = small_model(rng)
    steps = walk(x, **params)
    print(f"n = {n}, d = {d}, h = {h}, k = {k}, k_aux = min(4k, h) = {k_aux}, aux_weight = {aux_weight}, float64.")
    print("A code is a pair of arrays (indices, values): the k largest entries, and the other k_aux − k entries.")
    for name, (equation, value) in steps.items():
        print(f"\n{name:<17}{np.shape(value)!s:<9}{equation}\n{np.round(value, 6)}")
    print("\nSlope of the loss along a random direction, by the gradient and by finite differences:")
    for name, param in params.items():
        direction = rng.standard_normal(param.shape)
        by_gradient = np.sum(steps[f"grad_{name}"][1] * direction)
        print(f"{name:<8}{by_gradient:+.9f}  {slope(x, params, name, direction):+.9f}")


if __name__ == "__main__":
    main()
