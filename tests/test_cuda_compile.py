"""Every CUDA kernel compiles for real devices, and what it is compiled to keeps the promises of the backend.

Needs the packages of the extra ``cuda``, and no GPU: nothing is run. What is run is in `test_cuda`.
"""

from __future__ import annotations

import importlib.util
import re

import pytest

from compressae_ref.backends import get_backend
from compressae_ref.backends.rules import mul_rounded
from compressae_ref.errors import BackendError
from tests.conftest import SIMULATED

if SIMULATED or importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("needs numba-cuda[cu12], and no simulator", allow_module_level=True)

from tests import cuda_report
from tests.cuda_report import GENERATIONS, compile_all, compiled_for

ANY_ORDER = {"product.product", "encode.squares"}
"""Kernels whose sums may be fused: no bit of a result depends on them."""

ARITHMETIC = re.compile(r"^\s*(?:add|sub|mul|fma|div|sqrt|rcp|ex2|lg2|neg|abs|setp\.\w+|min|max)\b\S*\.f(\d\d)", re.M)


@pytest.fixture(scope="module")
def compiled():
    return compile_all()


def test_all_are_compiled_for_both_generations_and_both_kinds_of_floats(compiled):
    from compressae_ref.backends.cuda.launch import KERNELS

    assert len(KERNELS) > 30
    expected = {(each.name, of) for each in KERNELS for of in GENERATIONS}
    assert {(each.name, each.capability) for each in compiled} == expected
    assert len(compiled) == len(GENERATIONS) * sum(len(each.signatures()) for each in KERNELS)


def test_nothing_is_spilled_and_a_block_fits_a_device(compiled):
    for each in compiled:
        assert (each.spilled, each.local) == (0, 0), each[:4]
        assert each.registers * each.threads <= 64 << 10, each[:4]
        assert each.shared <= 48 << 10, each[:4]
        assert each.cubin.startswith(b"\x7fELF")


def test_products_and_sums_are_rounded_one_by_one(compiled):
    fused = {each.name for each in compiled if re.search(r"\bfma\.", each.ptx)}
    assert fused == ANY_ORDER
    for each in compiled:
        assert not re.search(r"\.ftz|\.approx|div\.full|sqrt\.approx", each.ptx), each[:3]
        if each.name not in ANY_ORDER:
            assert not re.search(r"\bmul\.f\d\d", remaining(each)), f"{each[:3]}: a product that could be fused"


def remaining(each):
    """PTX without the scaling of ``frexp``: it multiplies by a power of two, and compares."""
    return re.sub(r"mul\.f\d\d\s+%\w+, %\w+, 0[fd][0-9A-F]+;", "", each.ptx)


def test_sums_are_made_of_products_that_may_not_be_fused(compiled):
    for name in ("products.decode", "products.add", "sums.chosen_dots", "search.scores", "adam.adam_update"):
        for each in compiled:
            assert each.name != name or re.search(r"\bmul\.rn\.f\d\d", each.ptx), each[:3]


def test_floats_of_one_width_are_not_widened(compiled):
    for each in compiled:
        widths = set(ARITHMETIC.findall(each.ptx))
        assert widths <= {each.floats.removeprefix("float")}, each[:3]


def test_nothing_is_atomic(compiled):
    for each in compiled:
        assert not re.search(r"\b(atom|red)\.", each.ptx), each[:3]


def test_what_is_not_typed_does_not_compile():
    """The simulator would run both."""
    from numba import types

    def two_widths(x, y):
        y[0] = mul_rounded(x[0], y[0])

    def no_attribute(x, y):
        y[0] = x[0].dtype.type(1)

    narrow, wide = (types.Array(number, 1, "C") for number in (types.float32, types.float64))
    for function, why in (
        (two_widths, r"mul_rounded\(float32, float64\)"),
        (no_attribute, "Unknown attribute 'dtype'"),
    ):
        with pytest.raises(Exception, match=why) as info:
            compiled_for(function, (narrow, wide), (8, 0))
        assert info.typename == "TypingError"


def test_a_product_that_is_not_kept_apart_is_fused():
    """So that nothing fused is found above says something."""
    from numba import types

    def plain(x, y):
        y[0] = x[0] * x[1] + y[0]

    assert "fma.rn.f32" in compiled_for(plain, (types.Array(types.float32, 1, "C"),) * 2, (8, 0))


def test_without_a_driver_the_backend_says_so():
    with pytest.raises(
        BackendError, match=r"^backend 'cuda' needs (the driver of an NVIDIA GPU|an NVIDIA GPU)"
    ) as info:
        get_backend("cuda")
    assert "\n" not in str(info.value)


def test_the_report_is_a_table(compiled, monkeypatch, capsys):
    monkeypatch.setattr(cuda_report, "compile_all", lambda: compiled)
    cuda_report.main()
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 1 + len(compiled)
    with capsys.disabled():
        print(f"\n{table}")
