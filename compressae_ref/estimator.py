"""Provide the model as a scikit-learn estimator. No other module of this package imports scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from compressae_ref.arrays import Floats, reject_masked
from compressae_ref.backends import get_backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_params, reject, short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import BackendError, DomainError, reason
from compressae_ref.metrics import mean_cosine
from compressae_ref.model import Model
from compressae_ref.optional import install_command
from compressae_ref.params import init_params
from compressae_ref.reference import unit_rows
from compressae_ref.row_source import NonzeroRows
from compressae_ref.training.batches import ShuffledBatches
from compressae_ref.training.fit import fit, to_train_on
from compressae_ref.training.settings import TrainConfig, described, make_config, resolve
from compressae_ref.training.step import TrainState, init_state, train_step
from compressae_ref.unit_blocks import HostRows

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as missing:
    raise BackendError(
        f"expected scikit-learn 1.6 or newer, got an import error: {reason(missing)}",
        argument="CompresSAE",
        hint=install_command("sklearn"),
    ) from missing

SETTINGS = (
    "n_latents", "k", "init", "objective", "batch_size", "steps", "lr", "warmup_steps", "decay", "validation_rows",
    "patience", "dtype", "center", "relevance_weight",
)  # fmt: skip
"""Parameters of the estimator that are fields of TrainConfig."""

DTYPES = [np.float64, np.float32, np.float16]
"""Accepted dtypes; any other dtype is converted to float64."""


class CompresSAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sparse codes of dense embeddings by a top-k sparse autoencoder.

    Only the direction of a row matters: every row is normalized first, so a preceding ``Normalizer`` is unnecessary.

    Parameters
    ----------
    n_latents : h, number of columns of the codes; None: as in `compressae_ref.fit`
    k : stored entries per row; None: 32, and 8 with serve="segments"
    serve : "both", "dense" or "segments", as in `compressae_ref.fit`; it determines the settings that are None
    init, objective, batch_size, steps, lr, warmup_steps, decay, validation_rows, patience, dtype, center,
        relevance_weight : as in `settings.TrainConfig`
    zero_rows : "empty" gives zero rows codes of zeros and leaves them out of training; "error" refuses them; "skip"
        leaves them out of training and of `score`, and `transform` refuses them, because it returns a row for each row
    sparse_output : if False, `transform` returns a dense array, which ``set_output`` can convert to a data frame
    backend : "numpy", "numba" or "cuda", all with the same bits; None: numba if it is installed
    random_state : an integer for a reproducible model, a ``RandomState``, or None
    warm_start : if True, `fit` starts from the parameters of the last `fit`; ``n_latents``, ``k`` and ``dtype`` must
        not have changed since, and ``init`` is ignored

    Attributes
    ----------
    model_ : the trained `Model`
    components_ : (h, d) atoms, unit rows
    n_features_in_ : d
    n_iter_ : number of Adam steps
    history_ : records of the last `fit`, as in `FitResult.history`
    """

    def __init__(
        self,
        n_latents: int | None = None,
        k: int | None = None,
        *,
        serve: str | None = None,
        init: str = TrainConfig.init,
        objective: str | None = None,
        batch_size: int | None = None,
        steps: int | None = TrainConfig.steps,
        lr: float | None = None,
        warmup_steps: int = TrainConfig.warmup_steps,
        decay: str = TrainConfig.decay,
        validation_rows: int | None = TrainConfig.validation_rows,
        patience: int | None = TrainConfig.patience,
        dtype: str | None = TrainConfig.dtype,
        center: bool | None = None,
        relevance_weight: float | None = TrainConfig.relevance_weight,
        zero_rows: ZeroRows = "empty",
        sparse_output: bool = True,
        backend: str | None = None,
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.n_latents = n_latents
        self.k = k
        self.serve = serve
        self.init = init
        self.objective = objective
        self.batch_size = batch_size
        self.steps = steps
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.decay = decay
        self.validation_rows = validation_rows
        self.patience = patience
        self.dtype = dtype
        self.center = center
        self.relevance_weight = relevance_weight
        self.zero_rows = zero_rows
        self.sparse_output = sparse_output
        self.backend = backend
        self.random_state = random_state
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any = None, *, relevance: Any = None) -> CompresSAE:
        """Train a model on the rows of X (n, d).

        Parameters
        ----------
        relevance : pairs of related rows of X, as in `compressae_ref.fit`

        Raises
        ------
        ShapeError, DTypeError, DomainError
            As in `compressae_ref.fit`; all are subclasses of ``ValueError``.
        ValueError, TypeError
            From scikit-learn, if X is not a numeric array.
        """
        start = getattr(self, "model_", None) if self.warm_start else None
        reject_masked(X, "X")  # scikit-learn would drop the mask
        x = validate_data(self, X, reset=start is None, dtype=DTYPES)
        result = fit(
            x,
            start=start,
            zero_rows=self.zero_rows,
            backend=self.backend,
            serve=self.serve,
            relevance=relevance,
            **self._settings(),
        )
        self._state: tuple[TrainState, TrainConfig, np.random.Generator] | None = None
        self.history_ = result.history
        return self._fitted(result.model, result.record.step)

    def partial_fit(self, X: Any, y: Any = None) -> CompresSAE:
        """Train for one pass over the rows of X (n, d) in shuffled batches, at a constant learning rate.

        The first call determines ``n_latents`` and ``dtype`` if they are None. ``steps``, ``decay``, ``warmup_steps``,
        ``validation_rows`` and ``patience`` are ignored, because they depend on all rows. A constant rate should be
        lower than that of `fit`, for example 0.01; ``set_params(lr=...)`` changes it between calls.

        Raises
        ------
        DomainError
            If ``center`` is True, as with serve="segments": the mean of rows that come later is unknown. If
            ``relevance_weight`` is not None: partners of a row may come later.
        """
        given = {} if self.center is None else {"center": self.center}
        if make_config(None, None, given, self.serve).center:
            raise DomainError("expected center=False for partial_fit, got True", argument="center", hint="use fit")
        if (weight := self.relevance_weight) is not None:
            message = f"expected relevance_weight=None for partial_fit, got {short_repr(weight)}"
            raise DomainError(message, argument="relevance_weight", hint="use fit")
        state = getattr(self, "_state", None)
        reject_masked(X, "X")
        x: Floats = validate_data(self, X, reset=state is None, dtype=DTYPES)
        if to_train_on(self.zero_rows) == "skip":
            x = np.asarray(NonzeroRows(x, name="X"))
        if state is None:
            config = resolve(
                make_config(None, None, self._settings() | {"validation_rows": 0, "steps": 1}, self.serve), HostRows(x)
            )
            rng = np.random.default_rng(config.seed)
            params = init_params(
                x.shape[1], config.n_latents or 0, rng, init=config.init, dtype=config.dtype or "float32"
            )
            state = self._state = init_state(params), config, rng
            self.n_iter_ = 0
        train, config, rng = state
        now = make_config(None, None, self._settings(), self.serve)
        n_steps = -(-len(x) // now.batch_size)
        batches = ShuffledBatches(x, min(now.batch_size, len(x)), rng, held_out=np.empty(0, np.int64))
        for _ in range(n_steps):
            train_step(train, next(batches), config, get_backend(self.backend), now.lr)
        return self._fitted(Model(as_params(train.params.copy()), config.k, described(config)), self.n_iter_ + n_steps)

    def _fitted(self, model: Model, n_iter: int) -> CompresSAE:
        self.model_, self.n_iter_ = model, n_iter
        self.components_ = model.params.W_dec
        return self

    def transform(self, X: Any) -> Any:
        """Return the codes of the rows of X (n, d) (E5).

        Returns
        -------
        SciPy CSR array (n, h) with k stored entries in each row; a dense array if ``sparse_output`` is False
        """
        x = self._checked(X)
        if self.zero_rows == "skip":
            message = "expected rows that are not zero with 'skip', because each row needs a code, got a zero row"
            reject(~x.any(axis=1), message, "zero_rows", hint="use zero_rows='empty' for codes of zeros")
        codes = self._encoded(x)
        return codes.to_csr() if self.sparse_output else codes.to_dense()

    def inverse_transform(self, X: Any) -> Floats:
        """Return the reconstructions (n, d) of sparse or dense codes (n, h) (E7). Only their direction matters."""
        check_is_fitted(self)
        codes = Codes.from_csr(X if sparse.issparse(X) else sparse.csr_array(np.atleast_2d(np.asarray(X))))
        return self.model_.decode(codes, backend=self.backend)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean cosine of rows and their reconstructions, at most 1. With "empty" a zero row counts as 0."""
        x = self._checked(X)
        if self.zero_rows == "skip":
            x = np.asarray(NonzeroRows(x, name="X"))
        unit = unit_rows(np.where(x.any(axis=1, keepdims=True), x, 1), self.model_.params.dtype)
        return mean_cosine(unit, self.model_.decode(self._encoded(x), backend=self.backend))

    def _encoded(self, x: NDArray[Any]) -> Codes:
        return self.model_.encode(x, zero_rows=self.zero_rows, backend=self.backend)

    def _checked(self, X: Any) -> Floats:
        check_is_fitted(self)
        reject_masked(X, "X")  # scikit-learn would drop the mask
        return as_embeddings(validate_data(self, X, reset=False, dtype=DTYPES), name="X", zeros=True)

    def _settings(self) -> dict[str, Any]:
        """Return the training settings, with a seed from ``random_state``."""
        is_seed = isinstance(self.random_state, (int, np.integer))
        seed = self.random_state if is_seed else check_random_state(self.random_state).randint(2**31 - 1)
        given = {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}
        return given | {"seed": int(seed)}

    @property
    def _n_features_out(self) -> int:
        return self.model_.params.n_latents

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
