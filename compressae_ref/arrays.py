"""Type aliases for arrays. Shapes stand in the docstrings, in the alphabet n, d, h, k."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float32 or float64; every function keeps the dtype of what comes in."""
Indices = NDArray[np.int32]
"""Numbers of latents."""
Bools = NDArray[np.bool_]
