"""Read and write sentence-transformers' ``SparseAutoEncoder``: a folder with ``config.json``, ``model.safetensors``.

That module keeps the k largest pre-activations instead of the k largest magnitudes, and sets negative ones to zero. It
still computes our codes, with split signs (`codes.Codes.split_signs`): latent j becomes latent 2j with the weights of
j, and latent 2j + 1 with their negatives. One of the two is |pre|, the other −|pre|. The k largest of all 2h are
therefore the k largest magnitudes. The module does not normalise embeddings: put ``Normalize`` in front of it.

Its decoder is the transpose of its encoder, but ours is not. Our decoder is stored in a separate file in the same
folder, which only this package reads. The module's ``decode`` is therefore not our reconstruction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.safetensors import open_tensors
from compressae_ref.files.npz import PathLike
from compressae_ref.files.weights.folders import read_folder, require_zeros, tensor, write_folder
from compressae_ref.files.weights.original import model_of, require_no_mean
from compressae_ref.model import Model

CONFIG, WEIGHTS, DECODER = "config.json", "model.safetensors", "compressae_decoder.safetensors"


def load_sentence_transformers(path: PathLike, k: int | None = None) -> Model:
    """Load a model from the folder of a ``SparseAutoEncoder`` whose latents come in pairs of opposite weights.

    Raises
    ------
    FormatError
        If the module cannot be represented as a CompresSAE.
    """
    config, tensors = read_folder(path, CONFIG, WEIGHTS)
    if config.get("normalize"):
        raise FormatError(
            f"expected a module without layer normalisation, as a CompresSAE, got normalize {config['normalize']!r}",
            path=path,
        )
    # the weights are tied, so the file stores one array under either name
    shared = "decoder.linear.weight" if "encoder.weight" not in tensors else "encoder.weight"
    weight, bias = tensor(tensors, shared, path, 2), tensor(tensors, "latent_bias", path, 1)
    require_zeros(tensors, "pre_bias", path)
    if not (_paired(weight) and _paired(bias)):
        raise FormatError(
            "expected latents in pairs of weights and their negatives, as a CompresSAE with split signs has, "
            f"got {len(weight)} latents that are not such pairs",
            path=path,
        )
    arrays = {"W_enc": weight[::2].T, "b_enc": bias[::2], "W_dec": _decoder(Path(path), weight[::2])}
    return model_of(path, arrays, config.get("k") if k is None else k)


def _paired(array: NDArray[Any]) -> bool:
    return len(array) % 2 == 0 and np.array_equal(array[::2], -array[1::2])


def _decoder(folder: Path, tied: Floats) -> Floats:
    """Read our decoder if the folder has it, else return the transpose of the encoder."""
    if (folder / DECODER).exists():
        return tensor(open_tensors(folder / DECODER)[0], "decoder_w", folder / DECODER, 2)
    return tied


def save_sentence_transformers(path: PathLike, model: Model) -> None:
    """Write a new folder that sentence-transformers loads as a ``SparseAutoEncoder``. Its codes have split signs.

    Raises
    ------
    DomainError
        If ``path`` exists, or for a centred model. OSError if it cannot be written.
    """
    params = require_no_mean(model)
    width = 2 * params.n_latents
    config = {
        "input_dim": params.d,
        "hidden_dim": width,
        "k": model.k,
        "k_aux": min(512, width),
        "normalize": False,
        "dead_threshold": 30,
    }
    weights = {
        "pre_bias": np.zeros(params.d, params.dtype),
        "latent_bias": _with_negatives(params.b_enc),
        "stats_last_nonzero": np.zeros(width, np.int64),
        "encoder.weight": _with_negatives(params.W_enc.T),
    }
    write_folder(path, {CONFIG: config, WEIGHTS: weights, DECODER: {"decoder_w": params.W_dec}})


def _with_negatives(rows: Floats) -> Floats:
    """Return each row followed by its negative."""
    paired: Floats = np.stack([rows, -rows], axis=1).reshape(2 * len(rows), *rows.shape[1:])
    return paired
