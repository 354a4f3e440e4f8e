"""CompresSAE in NumPy and Numba: train a top-k sparse autoencoder on embeddings, store sparse codes, search them.

The public names are listed in the order of the data flow. Each one is imported at its first use, so ``import
compressae_ref`` costs less than importing NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Type checkers read these imports instead of the table below. A test compares the two.
    from compressae_ref.backends import get_backend as get_backend
    from compressae_ref.backends.search_types import Hits as Hits
    from compressae_ref.codes import Codes as Codes
    from compressae_ref.errors import BackendError as BackendError
    from compressae_ref.errors import CompressaeError as CompressaeError
    from compressae_ref.errors import DomainError as DomainError
    from compressae_ref.errors import DTypeError as DTypeError
    from compressae_ref.errors import FormatError as FormatError
    from compressae_ref.errors import ShapeError as ShapeError
    from compressae_ref.errors import StoreError as StoreError
    from compressae_ref.estimator import CompresSAE as CompresSAE
    from compressae_ref.evaluation.evaluate import evaluate as evaluate
    from compressae_ref.extensions.fitted_codes import Anchors as Anchors
    from compressae_ref.extensions.fitted_codes import encode_fitted as encode_fitted
    from compressae_ref.extensions.fitted_codes import fitted_blocks as fitted_blocks
    from compressae_ref.extensions.packed_codes import PackedCodes as PackedCodes
    from compressae_ref.extensions.packed_codes import pack as pack
    from compressae_ref.extensions.refine import encode_refined as encode_refined
    from compressae_ref.extensions.refine import refine as refine
    from compressae_ref.extensions.refine import refined_blocks as refined_blocks
    from compressae_ref.extensions.residual_codec import ResidualCodec as ResidualCodec
    from compressae_ref.extensions.residual_codes import ResidualCodes as ResidualCodes
    from compressae_ref.extensions.residual_codes import encode_residual as encode_residual
    from compressae_ref.extensions.residual_codes import residual_blocks as residual_blocks
    from compressae_ref.extensions.residual_fit import residual_codec as residual_codec
    from compressae_ref.files.codes_file import load_codes as load_codes
    from compressae_ref.files.codes_file import save_code_blocks as save_code_blocks
    from compressae_ref.files.codes_file import save_codes as save_codes
    from compressae_ref.files.model_file import load_encoder as load_encoder
    from compressae_ref.files.model_file import load_model as load_model
    from compressae_ref.files.model_file import save_model as save_model
    from compressae_ref.files.packed_file import load_packed as load_packed
    from compressae_ref.files.packed_file import save_packed as save_packed
    from compressae_ref.files.relevance import relevance_by_ids as relevance_by_ids
    from compressae_ref.files.residual_file import load_residual as load_residual
    from compressae_ref.files.residual_file import save_residual as save_residual
    from compressae_ref.metrics import bytes_per_row as bytes_per_row
    from compressae_ref.metrics import dead_latents as dead_latents
    from compressae_ref.metrics import effective_latents as effective_latents
    from compressae_ref.metrics import mean_cosine as mean_cosine
    from compressae_ref.metrics import recall_at as recall_at
    from compressae_ref.model import Encoder as Encoder
    from compressae_ref.model import Model as Model
    from compressae_ref.params import Params as Params
    from compressae_ref.params import init_params as init_params
    from compressae_ref.retrieval.index import Index as Index
    from compressae_ref.retrieval.index import search as search
    from compressae_ref.retrieval.packed_index import PackedIndex as PackedIndex
    from compressae_ref.retrieval.residual_index import ResidualIndex as ResidualIndex
    from compressae_ref.retrieval.similarity import asymmetric_cosine as asymmetric_cosine
    from compressae_ref.retrieval.similarity import expanded_cosine as expanded_cosine
    from compressae_ref.retrieval.similarity import gram as gram
    from compressae_ref.retrieval.similarity import reconstructed_cosine as reconstructed_cosine
    from compressae_ref.retrieval.similarity import sparse_cosine as sparse_cosine
    from compressae_ref.row_source import nonzero_rows as nonzero_rows
    from compressae_ref.segments.segments import Segments as Segments
    from compressae_ref.training.fit import FitResult as FitResult
    from compressae_ref.training.fit import Progress as Progress
    from compressae_ref.training.fit import fit as fit
    from compressae_ref.training.history import Record as Record
    from compressae_ref.training.settings import TrainConfig as TrainConfig

__version__ = "0.1.0"

SPEC_VERSION = "1.7"
"""Version of the specification; ``spec/CHANGELOG.md`` lists the changes."""

_NAMES = {
    "training.fit": "fit FitResult Progress",
    "training.history": "Record",
    "training.settings": "TrainConfig",
    "params": "Params init_params",
    "model": "Model Encoder",
    "codes": "Codes",
    "extensions.fitted_codes": "Anchors encode_fitted fitted_blocks",
    "extensions.packed_codes": "pack PackedCodes",
    "extensions.refine": "refine encode_refined refined_blocks",
    "extensions.residual_codes": "encode_residual residual_blocks ResidualCodes",
    "extensions.residual_fit": "residual_codec",
    "extensions.residual_codec": "ResidualCodec",
    "retrieval.similarity": "sparse_cosine reconstructed_cosine asymmetric_cosine expanded_cosine gram",
    "retrieval.index": "search Index",
    "retrieval.packed_index": "PackedIndex",
    "retrieval.residual_index": "ResidualIndex",
    "backends.search_types": "Hits",
    "evaluation.evaluate": "evaluate",
    "segments.segments": "Segments",
    "row_source": "nonzero_rows",
    "metrics": "recall_at mean_cosine dead_latents effective_latents bytes_per_row",
    "files.relevance": "relevance_by_ids",
    "files.model_file": "save_model load_model load_encoder",
    "files.codes_file": "save_codes save_code_blocks load_codes",
    "files.packed_file": "save_packed load_packed",
    "files.residual_file": "save_residual load_residual",
    "backends": "get_backend",
    "errors": "CompressaeError ShapeError DTypeError DomainError FormatError BackendError StoreError",
}
"""The public names of each module."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers export the imports above, and would take a computed __all__ for an empty one
    __all__ = list(_MODULES)

_MODULES["CompresSAE"] = "estimator"  # not in __all__: ``import *`` must not need scikit-learn


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'compressae_ref' has no attribute {name!r}")
    globals()[name] = getattr(import_module(f"compressae_ref.{_MODULES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
