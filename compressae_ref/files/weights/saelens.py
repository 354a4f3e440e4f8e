"""SAELens' AbsTopK: a folder with ``cfg.json`` and ``sae_weights.safetensors``.

It encodes as we do, but it takes embeddings as they come: give it unit rows. Where it was trained with a bias of the
decoder, a normalisation of its own, or atoms of any length, it says something that a CompresSAE cannot say.
"""

from __future__ import annotations

import numpy as np

from compressae_ref.errors import FormatError
from compressae_ref.files.npz import PathLike
from compressae_ref.files.weights.folders import read_folder, tensor, write_folder
from compressae_ref.files.weights.original import model_of
from compressae_ref.model import Model

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"

REQUIRED = {"architecture": "abstopk", "normalize_activations": "none", "reshape_activations": "none"}
"""Settings with which it is what a CompresSAE is on unit rows."""


def load_saelens(path: PathLike, k: int | None = None) -> Model:
    """A model from the folder of an AbsTopK.

    Raises
    ------
    FormatError
        Naming the folder, and why it cannot be one: another architecture or normalisation, a bias of the decoder, atoms
        that are not unit.
    """
    config, tensors = read_folder(path, CONFIG, WEIGHTS)
    for name, needed in REQUIRED.items():
        if (found := config.get(name, needed if name != "architecture" else None)) != needed:
            raise FormatError(
                f"expected {name} {needed!r}, as a CompresSAE encodes unit rows, got {found!r}", path=path
            )
    W_enc, W_dec = tensor(tensors, "W_enc", path, 2), tensor(tensors, "W_dec", path, 2)
    b_enc, b_dec = tensor(tensors, "b_enc", path, 1), tensor(tensors, "b_dec", path, 1)
    if b_dec.any():
        raise FormatError(
            "expected b_dec of zeros, as a CompresSAE's decoder has no bias, got other numbers", path=path
        )
    if config.get("rescale_acts_by_decoder_norm"):  # it multiplies by the norms of the atoms, and divides them by those
        norms = np.linalg.norm(W_dec.astype(np.float64), axis=1)
        W_enc, b_enc, W_dec = W_enc * norms, b_enc * norms, W_dec / norms[:, None]
        W_enc, b_enc, W_dec = (array.astype(tensors["W_dec"].dtype) for array in (W_enc, b_enc, W_dec))
    arrays = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec}
    return model_of(path, arrays, config.get("k") if k is None else k)


def save_saelens(path: PathLike, model: Model) -> None:
    """Write a new folder that SAELens loads as an AbsTopK; it is to be given unit rows.

    Raises
    ------
    DomainError
        If there is something at ``path``. OSError if it cannot be written.
    """
    params = model.params
    config = {
        **REQUIRED,
        "d_in": params.d,
        "d_sae": params.n_latents,
        "k": model.k,
        "dtype": params.dtype.name,
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "rescale_acts_by_decoder_norm": False,
        "metadata": {},
    }
    weights = {**params.arrays(), "b_dec": np.zeros(params.d, params.dtype)}
    write_folder(path, {CONFIG: config, WEIGHTS: weights})
