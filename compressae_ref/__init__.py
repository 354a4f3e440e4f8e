"""CompresSAE in NumPy and Numba: train a top-k sparse autoencoder on embeddings, store sparse codes, search them.

The names below stand in the order in which data flows. Each is imported when it is first used: importing the package
costs less than importing NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compressae_ref.backends import get_backend
    from compressae_ref.backends.ranking import Hits
    from compressae_ref.codes import Codes
    from compressae_ref.codesfile import load_codes, save_code_blocks, save_codes
    from compressae_ref.config import TrainConfig
    from compressae_ref.errors import (
        BackendError,
        CompressaeError,
        DomainError,
        DTypeError,
        FormatError,
        ShapeError,
        StoreError,
    )
    from compressae_ref.estimator import CompresSAE as CompresSAE
    from compressae_ref.evaluation.evaluate import evaluate
    from compressae_ref.fileformat import load_model, save_model
    from compressae_ref.index import Index, search
    from compressae_ref.metrics import bytes_per_row, dead_latents, effective_latents, mean_cosine, recall_at
    from compressae_ref.model import Model
    from compressae_ref.packedfile import load_packed, save_packed
    from compressae_ref.packing import PackedCodes, pack
    from compressae_ref.params import Params, init_params
    from compressae_ref.refinement import encode_refined, refine, refined_blocks
    from compressae_ref.similarity import asymmetric_cosine, expanded_cosine, gram, reconstructed_cosine, sparse_cosine
    from compressae_ref.train import FitResult, Progress, Record, fit

__version__ = "0.1.0"

__all__ = [
    "fit",
    "TrainConfig",
    "FitResult",
    "Progress",
    "Record",
    "Params",
    "init_params",
    "Model",
    "Codes",
    "pack",
    "PackedCodes",
    "refine",
    "encode_refined",
    "refined_blocks",
    "sparse_cosine",
    "reconstructed_cosine",
    "asymmetric_cosine",
    "expanded_cosine",
    "gram",
    "search",
    "Index",
    "Hits",
    "evaluate",
    "recall_at",
    "mean_cosine",
    "dead_latents",
    "effective_latents",
    "bytes_per_row",
    "save_model",
    "load_model",
    "save_codes",
    "save_code_blocks",
    "load_codes",
    "save_packed",
    "load_packed",
    "get_backend",
    "CompressaeError",
    "ShapeError",
    "DTypeError",
    "DomainError",
    "FormatError",
    "BackendError",
    "StoreError",
]

_HOME = {
    "train": ("fit", "FitResult", "Progress", "Record"),
    "config": ("TrainConfig",),
    "params": ("Params", "init_params"),
    "model": ("Model",),
    "codes": ("Codes",),
    "refinement": ("refine", "encode_refined", "refined_blocks"),
    "similarity": ("sparse_cosine", "reconstructed_cosine", "asymmetric_cosine", "expanded_cosine", "gram"),
    "index": ("search", "Index"),
    "backends.ranking": ("Hits",),
    "metrics": ("recall_at", "mean_cosine", "dead_latents", "effective_latents", "bytes_per_row"),
    "evaluation.evaluate": ("evaluate",),
    "fileformat": ("save_model", "load_model"),
    "codesfile": ("save_codes", "save_code_blocks", "load_codes"),
    "packing": ("pack", "PackedCodes"),
    "packedfile": ("save_packed", "load_packed"),
    "backends": ("get_backend",),
    "estimator": ("CompresSAE",),  # not in __all__: it needs scikit-learn
    "errors": (
        "CompressaeError",
        "ShapeError",
        "DTypeError",
        "DomainError",
        "FormatError",
        "BackendError",
        "StoreError",
    ),
}
"""The module of each name, said once more for Python than for those who read types."""


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            globals()[name] = getattr(import_module(f"compressae_ref.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module 'compressae_ref' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
