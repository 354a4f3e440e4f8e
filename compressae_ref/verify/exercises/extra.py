"""Inputs for sentences of the tasks that no vector tests, with what `compressae_ref.reference` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.verify.vectors import Test, Values

DTYPES = ("float32", "float64")


def tests_of(name: str) -> Iterator[Test]:
    """Yield the extra tests of a function, in both dtypes."""
    for made in EXTRA.get(name, ()):
        for dtype in DTYPES:
            place, comment, inputs, outputs = made(np.dtype(dtype).type)
            yield Test(f"extra/{name}-{place}-{dtype}", name, (), f"{comment}, {dtype}", inputs, outputs)


Made = tuple[str, str, Values, Values]


def _rows(real: Any, clamped: str) -> Values:
    """Return a long and a tiny row: the product of their norms is above 1e-8, and one norm is below it."""
    rows = np.array([[60.0, 80.0]], real), np.array([[6e-10, 0.0]], real)
    x_unit, x_hat = rows if clamped == "x_hat" else rows[::-1]
    return {"x_unit": x_unit, "x_hat": x_hat}


def _cosine(clamped: str) -> Callable[[Any], Made]:
    def made(real: Any) -> Made:
        inputs = _rows(real, clamped)
        return clamped, f"only the norm of {clamped} is clamped", inputs, {"cos": reference.cosine(**inputs)}

    return made


def _cosine_backward(clamped: str) -> Callable[[Any], Made]:
    def made(real: Any) -> Made:
        inputs = {"grad_cos": np.array([1.0], real), **_rows(real, clamped)}
        outputs = {"grad_x_hat": reference.cosine_backward(**inputs)}
        return clamped, f"only the norm of {clamped} is clamped", inputs, outputs

    return made


def _search_sparse(clamped: str) -> Callable[[Any], Made]:
    def made(real: Any) -> Made:
        values = {"queries": np.array([[60.0, 80.0]], real), "items": np.array([[60.0, 80.0]], real)}
        values[clamped] = np.array([[6e-10, 0.0]], real)
        indices = np.array([[0, 1]], np.int32)
        query, item = (indices, values["queries"]), (indices, values["items"])
        inputs = {"query_indices": indices, "query_values": query[1], "indices": indices, "values": item[1]}
        outputs = {"ids": np.array([[0]]), "scores": reference.sparse_cosine(query, item, 2)}
        comment = f"only the norms of {clamped} are clamped"
        return clamped, comment, inputs | {"n_latents": 2, "top": 1}, outputs

    return made


def _scales(real: Any) -> Made:
    """Rows of very different scales: no power of two is right for both."""
    largest = {np.float32: 1e25}.get(real, 1e200)
    x = np.array([[3 * largest, 4 * largest], [3 / largest, 4 / largest]], real)
    return "scales", "rows of very different scales", {"x": x}, {"x_unit": reference.unit_rows(x, x.dtype)}


def _vanishing(real: Any) -> Made:
    """Moments that one step makes subnormal. No other number hides them: the bound of zeros is 0."""
    tiny, zeros = np.finfo(real).tiny, np.zeros(2, real)
    param, m, v = np.array([1.0, -2.0], real), np.array([tiny, -tiny], real), np.array([tiny, tiny], real)
    inputs: Values = {"param": param, "grad": zeros, "m": m, "v": v, "step": 3, "lr": 0.25}
    outputs: Values = {"param": param.copy(), "m": m.copy(), "v": v.copy()}
    reference.adam(outputs["param"], zeros, outputs["m"], outputs["v"], 3, 0.25)
    return "subnormal", "moments that become subnormal", inputs, outputs


EXTRA: dict[str, tuple[Callable[[Any], Made], ...]] = {
    "unit_rows": (_scales,),
    "cosine": (_cosine("x_unit"), _cosine("x_hat")),
    "cosine_backward": (_cosine_backward("x_unit"), _cosine_backward("x_hat")),
    "adam": (_vanishing,),
    "search_sparse": (_search_sparse("queries"), _search_sparse("items")),
}
"""By function: what makes its extra tests in a dtype."""
