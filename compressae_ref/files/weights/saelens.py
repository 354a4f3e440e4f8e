"""Read and write SAELens' AbsTopK: a folder with ``cfg.json`` and ``sae_weights.safetensors``.

AbsTopK encodes as CompresSAE does, but it does not normalise embeddings: pass it unit rows. A CompresSAE cannot
represent an AbsTopK with a decoder bias, a normalisation of its own, or atoms that are not unit rows.
"""

from __future__ import annotations

import numpy as np

from compressae_ref.errors import FormatError
from compressae_ref.files.npz import PathLike
from compressae_ref.files.weights.folders import read_folder, require_zeros, tensor, write_folder
from compressae_ref.files.weights.original import model_of, require_no_mean
from compressae_ref.model import Model

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"

REQUIRED = {"architecture": "abstopk", "normalize_activations": "none", "reshape_activations": "none"}
"""Settings for which AbsTopK equals a CompresSAE on unit rows."""


def load_saelens(path: PathLike, k: int | None = None) -> Model:
    """Load a model from the folder of an AbsTopK.

    Raises
    ------
    FormatError
        If the architecture or normalisation differs, the decoder has a bias, or atoms are not unit rows.
    """
    config, tensors = read_folder(path, CONFIG, WEIGHTS)
    for name, needed in REQUIRED.items():
        if (value := config.get(name, needed if name != "architecture" else None)) != needed:
            raise FormatError(f"expected {name} {needed!r}, as in a CompresSAE, got {value!r}", path=path)
    W_enc, W_dec = tensor(tensors, "W_enc", path, 2), tensor(tensors, "W_dec", path, 2)
    b_enc = tensor(tensors, "b_enc", path, 1)
    require_zeros(tensors, "b_dec", path)
    if config.get("rescale_acts_by_decoder_norm"):
        # SAELens then scales latents by the norms of the atoms: fold the norms into the encoder
        norms = np.linalg.norm(W_dec.astype(np.float64), axis=1)
        W_enc, b_enc, W_dec = W_enc * norms, b_enc * norms, W_dec / norms[:, None]
        W_enc, b_enc, W_dec = (array.astype(tensors["W_dec"].dtype) for array in (W_enc, b_enc, W_dec))
    arrays = {"W_enc": W_enc, "b_enc": b_enc, "W_dec": W_dec}
    return model_of(path, arrays, config.get("k") if k is None else k)


def save_saelens(path: PathLike, model: Model) -> None:
    """Write a new folder that SAELens loads as an AbsTopK. Its inputs must be unit rows.

    Raises
    ------
    DomainError
        If ``path`` exists, or for a centred model. OSError if it cannot be written.
    """
    params = require_no_mean(model)
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
