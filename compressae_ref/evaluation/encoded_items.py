"""Items and their codes of one model, each computed when it is first needed, and once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.codes import Codes
from compressae_ref.extensions.refine import encode_refined, refine
from compressae_ref.model import Model, aux_k


class EncodedItems:
    """The codes of items for any number of entries. Zero items have codes of zeros.

    Parameters
    ----------
    x : (n, d) items
    longest : codes of at most so many entries are the first entries of one encoding; longer ones are encoded anew
    """

    def __init__(self, model: Model, x: Floats, longest: int, backend: Backend) -> None:
        self.model, self.x, self.longest, self.backend = model, x, longest, backend
        self._settings: dict[str, Any] = {"zero_rows": "empty", "backend": backend}
        self._refined: dict[int, Codes] = {}

    @cached_property
    def _longest(self) -> Codes:
        return self.model.encode(self.x, self.longest, **self._settings)

    def codes(self, k: int) -> Codes:
        """Return the codes of k entries (`Model.encode`)."""
        return self._longest.truncate(k) if k <= self.longest else self.model.encode(self.x, k, **self._settings)

    def refined(self, k: int) -> Codes:
        """Return the refined codes of k entries (`refine.encode_refined`), and keep them."""
        if k not in self._refined:
            m = aux_k(k, self.model.params.n_latents)
            if m <= self.longest:
                refined = refine(self.codes(m), self.x, self.model.params, k, **self._settings)
            else:
                refined = encode_refined(self.x, self.model, k, **self._settings)
            self._refined[k] = refined
        return self._refined[k]

    def forget(self, k: int) -> None:
        """Free the refined codes of k entries."""
        self._refined.pop(k, None)
