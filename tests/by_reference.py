"""`compressae_ref.reference` with the arguments of a backend's kernels, so that tests compare both with ``==``."""

from __future__ import annotations

import numpy as np

from compressae_ref import reference
from compressae_ref.codes import Codes


def as_codes(code, n_latents):
    indices, values = code
    return Codes.trusted(indices.astype(np.int32), values, n_latents)


def pair(codes):
    return codes.indices, codes.values


def normalize_rows(x):
    return reference.unit_rows(x, x.dtype)


def abs_topk(pre, k):
    return as_codes(reference.abs_topk(pre, k), pre.shape[1])


def encode(x_unit, W_enc, b_enc, k):
    return abs_topk(reference.pre_activations(x_unit, W_enc, b_enc), k)


def split_codes(codes, k):
    return [as_codes(part, codes.n_latents) for part in reference.split_code(*pair(codes), k)]


def decode(codes, W_dec):
    return reference.decode(*pair(codes), W_dec)


def decode_backward_values(grad_x_hat, codes, W_dec):
    return reference.decode_backward_values(grad_x_hat, codes.indices, W_dec)


def weights_backward(parts, grad_pre, x_unit, grad_W_enc, grad_b_enc, grad_W_dec, add):
    """Row by row, all parts of a row before the next one (E8, E14)."""
    for out in () if add else (grad_W_enc, grad_b_enc, grad_W_dec):
        out[...] = 0
    for i in range(len(x_unit)):
        for (codes, grad_x_hat), grad in zip(parts, grad_pre, strict=True):
            reference.add_outer(codes.values[i], codes.indices[i], grad_x_hat[i], grad_W_dec)
            reference.add_outer(grad.values[i], grad.indices[i], x_unit[i], grad_W_enc.T)
            reference.add_outer(grad.values[i], grad.indices[i], np.ones(1, x_unit.dtype), grad_b_enc[:, None])


def loss_backward(x_unit, x_hat_k, x_hat_aux, n_batch, aux_weight):
    """Cosines and gradients of E13', as in `reference.loss_and_gradients`."""
    grad_cos = np.full(len(x_unit), -1 / n_batch, x_unit.dtype)
    grad_aux = reference.cosine_backward(grad_cos * x_unit.dtype.type(aux_weight), x_unit, x_hat_aux)
    grad_k = reference.cosine_backward(grad_cos, x_unit, x_hat_k) + grad_aux
    cos = np.stack([reference.cosine(x_unit, x_hat) for x_hat in (x_hat_k, x_hat_aux)])
    return cos, np.stack([grad_k, grad_aux])


def codes_dot(u, codes):
    return reference.gather(u, *pair(codes))


def code_norms(codes):
    return reference.code_norm(codes.values)
