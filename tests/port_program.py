"""A program for `verify --program`: it answers with this package, optionally with a typical fault of programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from compressae_ref.backends import get_backend
from compressae_ref.verify.operations import OPERATIONS
from compressae_ref.verify.self_test import answer
from compressae_ref.verify.vectors import array_to_json, compact, values_from_json

NOISE = {"chats once": ("3",), "chats": ("3", "4", "5", "6")}
"""The tests before whose answers a fault prints a line that is no answer, and an empty one."""


def main(fault: str) -> None:
    backend = get_backend("numpy")
    for line in sys.stdin:
        request = json.loads(line)
        if fault in NOISE and request["id"].rpartition("-")[2] in NOISE[fault]:
            print(f"working on {request['id']}\n", flush=True)
        wrong_line = faulty(fault, request)
        if wrong_line is not None:
            print(wrong_line, flush=True)
            continue
        reply = answer(request["operation"], values_from_json(request["inputs"]), backend)
        if fault == "float64" and "outputs" in reply:
            reply["outputs"] = {name: wider(value) for name, value in reply["outputs"].items()}
        if "outputs" in reply:
            arrays = {name: value for name, value in reply["outputs"].items() if isinstance(value, np.ndarray)}
            reply["outputs"] |= {name: array_to_json(value) for name, value in arrays.items()}
        if fault == "extra":
            reply.get("outputs", {})["more"] = 1
        print(compact({"id": request["id"], **reply}), flush=True)


def wider(value: Any) -> Any:
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value


def faulty(fault: str, request: dict[str, Any]) -> str | None:
    """Return a line that is not the right answer, or exit, or hang; None: answer correctly."""
    name = request["id"]
    if fault == "unsupported" and OPERATIONS[request["operation"]].level == "L3":
        return compact({"id": name, "unsupported": True})
    if fault == "float32" and any(
        isinstance(each, dict) and each["dtype"] == "F64" for each in request["inputs"].values()
    ):
        return compact({"id": name, "unsupported": True})
    if name != "abs_topk-3":
        return None
    if fault == "exits":
        sys.exit(7)
    if fault == "hangs":
        time.sleep(60)
    return {
        "not JSON": "hello",
        "a list": "[1]",
        "another id": compact({"id": "abs_topk-99", "outputs": {}}),
        "two kinds": compact({"id": name, "outputs": {}, "error": "DomainError"}),
        "nothing": compact({"id": name}),
        "no outputs": compact({"id": name, "outputs": {}}),
        "outputs are a list": compact({"id": name, "outputs": [1]}),
        "bad hex": compact({"id": name, "outputs": {"indices": {"dtype": "I32", "shape": [1], "hex": "00"}}}),
        "error": compact({"id": name, "error": "DomainError", "row": 3}),
    }.get(fault)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
