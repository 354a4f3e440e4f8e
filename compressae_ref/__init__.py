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
    from compressae_ref.extensions.packed_codes import PackedCodes, pack
    from compressae_ref.extensions.refine import encode_refined, refine, refined_blocks
    from compressae_ref.files.codes_file import load_codes, save_code_blocks, save_codes
    from compressae_ref.files.model_file import load_model, save_model
    from compressae_ref.files.packed_file import load_packed, save_packed
    from compressae_ref.metrics import bytes_per_row, dead_latents, effective_latents, mean_cosine, recall_at
    from compressae_ref.model import Model
    from compressae_ref.params import Params, init_params
    from compressae_ref.retrieval.index import Index, search
    from compressae_ref.retrieval.similarity import (
        asymmetric_cosine,
        expanded_cosine,
        gram,
        reconstructed_cosine,
        sparse_cosine,
    )
    from compressae_ref.training.fit import FitResult, Progress, Record, fit
    from compressae_ref.training.settings import TrainConfig

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
    "training.fit": ("fit", "FitResult", "Progress", "Record"),
    "training.settings": ("TrainConfig",),
    "params": ("Params", "init_params"),
    "model": ("Model",),
    "codes": ("Codes",),
    "extensions.refine": ("refine", "encode_refined", "refined_blocks"),
    "retrieval.similarity": ("sparse_cosine", "reconstructed_cosine", "asymmetric_cosine", "expanded_cosine", "gram"),
    "retrieval.index": ("search", "Index"),
    "backends.ranking": ("Hits",),
    "metrics": ("recall_at", "mean_cosine", "dead_latents", "effective_latents", "bytes_per_row"),
    "evaluation.evaluate": ("evaluate",),
    "files.model_file": ("save_model", "load_model"),
    "files.codes_file": ("save_codes", "save_code_blocks", "load_codes"),
    "extensions.packed_codes": ("pack", "PackedCodes"),
    "files.packed_file": ("save_packed", "load_packed"),
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
