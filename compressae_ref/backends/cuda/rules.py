"""Register the rules of `compressae_ref.backends.rules` with Numba's CUDA compiler.

In the simulator, rules and kernels are plain Python and nothing is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cuda
from numba.cuda import config

from compressae_ref.backends import rules

SIMULATED = bool(config.ENABLE_CUDASIM)
"""True if kernels run in Numba's simulator (``NUMBA_ENABLE_CUDASIM=1``)."""


def piece(function: Callable[..., Any]) -> Any:
    """Compile a function that only kernels call."""
    return cuda.jit(device=True)(function)


def _register() -> None:
    from llvmlite import ir
    from numba.core import types
    from numba.cuda import extending

    intrinsic: Any = extending.intrinsic
    overload = extending.overload

    def rounded_product(typing_context: Any, a: Any, b: Any) -> Any:
        """Generate PTX's ``mul.rn``, which is never contracted to a fused multiply-add."""
        name = {types.float32: "llvm.nvvm.mul.rn.f", types.float64: "llvm.nvvm.mul.rn.d"}[a]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = arguments[0].type
            function = builder.module.globals.get(name)
            if function is None:
                function = ir.Function(builder.module, ir.FunctionType(number, [number, number]), name)
            return builder.call(function, arguments)

        return a(a, b), generate

    rounded = intrinsic(rounded_product)

    def product(a: Any, b: Any) -> Any:
        if isinstance(a, types.Float) and a == b:
            return lambda a, b: rounded(a, b)
        return None  # mixed precisions are a mistake: refuse to compile

    overload(rules.mul_rounded, target="cuda", strict=False)(product)
    for rule in rules.RULES:
        if rule is not rules.mul_rounded:
            overload(rule, target="cuda", strict=False)(rules.as_overload(rule))


if not SIMULATED:
    _register()
