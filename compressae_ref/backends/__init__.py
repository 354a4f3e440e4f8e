"""The kernels that a backend supplies, and the choice of a backend.

A backend is a set of functions that compute what `compressae_ref.reference` computes, with **the same bits**. "numpy"
runs array operations on blocks of rows. "numba" compiles loops with the same order of every sum. So does "cuda" for a
GPU, which is only used when it is named. Whatever is not in the contract is NumPy in every backend.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from compressae_ref.arrays import Floats
from compressae_ref.backends.cuda_requirements import what_cuda_lacks
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError
from compressae_ref.optional import install_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compressae_ref.backends.search_types import Hits, Items, Queries
    from compressae_ref.params import AnyParams

BACKENDS = ("numpy", "numba", "cuda")


class Backend(Protocol):
    """The contract: the kernels, each with the function of `compressae_ref.reference` that states its meaning."""

    name: str

    def place(self, array: Any) -> Any:
        """An array where the kernels run: itself, or a copy on a device. What a kernel makes of it is there, too."""

    def fetch(self, array: Any) -> Any:
        """An array in the memory of the processor: itself, or a copy of one on a device."""

    def place_params(self, params: AnyParams) -> AnyParams:
        """The parameters of a model where the kernels run: themselves, or a copy that is made once."""

    def unit_rows(self, x: Floats, dtype: Any) -> Floats:
        """`reference.unit_rows`."""

    def encode(self, x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
        """`reference.abs_topk` of `reference.pre_activations`."""

    def refine_unit(self, codes: Codes, x_unit: Floats, W_dec: Floats, k: int, dots: Floats | None) -> Codes:
        """Refined codes (``spec/refine.md``)."""

    def pack_rows(self, codes: Codes, bits: int) -> NDArray[np.uint8]:
        """The bytes of codes (``spec/packed.md``)."""

    def unpack_rows(self, data: NDArray[np.uint8], n_latents: int, k: int, bits: int) -> tuple[Any, Floats]:
        """Indices and values from bytes (``spec/packed.md``)."""

    def split_codes(self, codes: Codes, k: int) -> tuple[Codes, Codes]:
        """`reference.split_code`."""

    def decode(self, codes: Codes, W_dec: Floats) -> Floats:
        """`reference.decode`."""

    def decode_nested(self, codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Floats, Floats]:
        """x̂_k, and x̂_aux = x̂_k + the reconstruction of the rest."""

    def loss_backward(
        self, x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float
    ) -> tuple[Floats, Sequence[Floats] | Floats]:
        """Cosines with x̂_k and x̂_aux, and the gradients with respect to both (E13'); these may be two arrays or one."""

    def decode_backward_values(self, grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
        """`reference.decode_backward_values`."""

    def weights_backward(
        self,
        parts: Sequence[tuple[Codes, Floats]],
        grad_pre: Sequence[Codes],
        x_unit: Floats,
        grad_W_enc: Floats,
        grad_b_enc: Floats,
        grad_W_dec: Floats,
        add: bool,
    ) -> None:
        """The gradients of all weights (E7'', E4'); without ``add`` they are overwritten."""

    def adam_update(self, param: Floats, grad: Floats, m: Floats, v: Floats, constants: Floats) -> None:
        """`reference.adam`, with the constants of the step."""

    def renormalize_decoder(self, W_dec: Floats) -> None:
        """`reference.renormalize`."""

    def project_decoder_gradient(self, grad_W_dec: Floats, W_dec: Floats) -> None:
        """`reference.project`."""

    def count_latents(self, codes: Codes) -> NDArray[np.int64]:
        """How many rows store each latent. → (h,), in the computer's memory."""

    def pair_dots(self, a: Floats, b: Floats) -> Floats:
        """`reference.over_latents`: dots of all pairs of rows."""

    def codes_dot(self, u: Floats, codes: Codes) -> Floats:
        """`reference.gather`."""

    def softmax_others(self, cosines: Floats, factor: float) -> tuple[Floats, NDArray[np.float64]]:
        """Softmax of factor · cosines (n, n) over the other rows (E30), and log denominators (n,), in host memory."""

    def shares_beside(self, cosines: Floats, factor: float, totals: NDArray[np.float64]) -> Floats:
        """Shares of cosines (n, m) beside others, whose totals (m,) are known (E36), in host memory."""

    def latent_sums(self, codes: Codes, y: Floats) -> Floats:
        """Σᵢ s[i, j] · y[i] for every latent j (E8): (n, m) → (h, m), in host memory."""

    def descend(self, codes: Codes, grad: Floats, rate: float) -> Codes:
        """Codes of norm 1 after a step of projected gradient descent (E37, E38), in host memory."""

    def build_index(self, codes: Codes, norms: Floats) -> Any:
        """Build this backend's search index, or return None. Index files save it if it is a NamedTuple."""

    def load_index(self, fields: Mapping[str, Any], codes: Codes, check: bool) -> Any:
        """Rebuild that index from the fields of an index file."""

    def best_items(self, queries: Queries, items: Items, top: int) -> Hits:
        """The best items by score, as `reference.best` orders them."""


SMALL_SECONDS = 1.0
"""Work that takes NumPy no longer than this is not worth compiling kernels that cannot be cached."""


def get_backend(backend: str | Backend | None = None, *, numpy_seconds: float = math.inf) -> Backend:
    """The backend of that name; None gives "numba" where it is installed, else "numpy".

    The choice affects speed only.

    Parameters
    ----------
    numpy_seconds : estimated time of the work with "numpy". None gives "numpy" for up to `SMALL_SECONDS` if Numba would
        have to compile its kernels again in each process

    Raises
    ------
    BackendError
        If there is no such backend, or what it needs is missing; the message says what, and what to install.
    """
    if backend is None:
        return _default() if numpy_seconds > SMALL_SECONDS or _can_cache() else _load("numpy")
    if not isinstance(backend, str):
        return backend
    if backend not in BACKENDS:
        raise BackendError(f"expected one of {', '.join(BACKENDS)}, got {backend!r}", argument="backend")
    if backend == "numba" and not _numba_is_installed():
        raise BackendError("backend 'numba' needs the package numba", hint=install_command("numba"))
    if backend == "cuda" and (missing := what_cuda_lacks()):
        raise BackendError(f"backend 'cuda' needs {missing}")
    try:
        return _load(backend)
    except ImportError as error:
        raise BackendError(f"backend {backend!r} is installed, but cannot be used: {error}") from error


def seconds_to_encode(rows: int, d: int, n_latents: int) -> float:
    """The time that "numpy" takes to encode rows on one core, for `get_backend`. A rough estimate."""
    return rows * (3e-5 + n_latents * (4e-8 + 6e-11 * d))


def seconds_to_search(queries: int, items: int) -> float:
    """The time that "numpy" takes to search, for `get_backend`. A rough estimate."""
    return 1e-6 * queries * items


@cache
def _can_cache() -> bool:
    """Whether Numba, if it is the default, can keep its kernels for later processes."""
    if _default().name != "numba":
        return True
    from compressae_ref.backends.numba.jit import can_cache

    return can_cache()


@cache
def _default() -> Backend:
    """Numba where it works: a NumPy that is newer than Numba supports makes its import fail."""
    if _numba_is_installed():
        try:
            return _load("numba")
        except ImportError as error:
            warnings.warn(f"Numba is installed, but cannot be used; using NumPy alone: {error}", stacklevel=3)
    return _load("numpy")


def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _require_compiler() -> None:
    """Raise ImportError if Numba is told to compile nothing: kernels use types that Python alone does not have."""
    from numba import config

    if config.DISABLE_JIT:
        raise ImportError("its compiler is switched off by NUMBA_DISABLE_JIT")


@cache
def _load(name: str) -> Backend:
    """Import on first use: Numba alone takes longer to import than this whole package."""
    if name == "numba":
        _require_compiler()
        from compressae_ref.backends import numba

        return numba
    if name == "cuda":
        from compressae_ref.backends import cuda

        return cuda
    from compressae_ref.backends import numpy

    return numpy
