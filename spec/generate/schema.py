"""Make the JSON Schemas of the files of tests, one for each operation and one for common parts."""

from __future__ import annotations

from typing import Any

from compressae_ref.verify.operations import OPERATIONS, STEP_OUTPUTS, Operation, words
from compressae_ref.verify.vectors import DTYPES

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def common() -> dict[str, Any]:
    """Return the schema of arrays, as they occur in files and in the protocol."""
    hex_array = {
        "type": "object",
        "required": ["dtype", "shape", "hex"],
        "additionalProperties": False,
        "properties": {
            "dtype": {"enum": list(DTYPES)},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "hex": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
        },
    }
    drawn = {
        "type": "object",
        "required": ["dtype", "shape", "shake128"],
        "additionalProperties": False,
        "properties": {
            "dtype": {"const": "F32"},
            "shape": hex_array["properties"]["shape"],  # type: ignore[index]
            "shake128": {"type": "string"},
        },
    }
    path = {
        "type": "object",
        "required": ["path"],
        "additionalProperties": False,
        "properties": {"path": {"type": "string"}},
    }
    return {"$schema": DRAFT, "$id": "common.schema.json", "$defs": {"array": hex_array, "drawn": drawn, "path": path}}


def of_operation(name: str) -> dict[str, Any]:
    """Return the schema of a file of tests of one operation."""
    operation = OPERATIONS[name]
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "$schema": DRAFT,
        "$id": f"{name}.schema.json",
        "title": f"{name}: {operation.what}",
        "type": "object",
        "additionalProperties": False,
        "required": ["spec", "operation", "level", "section", "equations", "rules", "header", "flags", "tests"],
        "properties": {
            "spec": {"type": "string"},
            "operation": {"const": name},
            "level": {"const": operation.level},
            "section": {"const": operation.section},
            "equations": texts,
            "rules": texts,
            "header": texts,
            "flags": {"type": "object", "additionalProperties": _flag()},
            "tests": {"type": "array", "minItems": 1, "items": _test(name, operation)},
        },
    }


def _flag() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["why", "cites"],
        "properties": {
            "why": {"type": "string", "pattern": "^fails if "},
            "cites": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "^[ER][0-9]+'*$"}},
            "bits": {"const": True},
        },
    }


def _test(name: str, operation: Operation) -> dict[str, Any]:
    outputs = _outputs(name, operation)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "comment", "flags", "result", "inputs"],
        "properties": {
            "id": {"type": "string"},
            "comment": {"type": "string"},
            "flags": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "result": {"enum": ["valid", "invalid"]},
            "error": {"enum": ["ShapeError", "DTypeError", "DomainError", "FormatError"]},
            "row": {"type": "integer", "minimum": 0},
            "needs": {"type": "array", "items": {"const": "float64"}},
            "inputs": _values(operation.inputs),
            "outputs": outputs,
            "bounds": {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
        },
        "if": {"properties": {"result": {"const": "valid"}}},
        "then": {"required": ["outputs"], "properties": {"error": False, "row": False}},
        "else": {"required": ["error"], "properties": {"outputs": False, "bounds": False}},
    }


def _outputs(name: str, operation: Operation) -> dict[str, Any]:
    if name != "train_steps":
        return _values(operation.outputs)
    inner = "|".join(STEP_OUTPUTS)
    arrays = {"$ref": "common.schema.json#/$defs/array"}
    return {"type": "object", "additionalProperties": False, "patternProperties": {f"^[0-9]+\\.({inner})$": arrays}}


def _values(kinds: dict[str, str]) -> dict[str, Any]:
    required = [name for name, kind in kinds.items() if not kind.endswith(")?") and kind != "str?"]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {name: _value(kind) for name, kind in kinds.items()},
    }


def _value(kind: str) -> dict[str, Any]:
    if words(kind):
        return {"enum": words(kind)}
    if kind in ("int", "str", "str?"):
        types: dict[str, Any] = {"int": "integer", "str": "string", "str?": ["string", "null"]}
        return {"type": types[kind]}
    if kind.startswith("["):
        return {"type": "array", "items": _value(kind.split(" (")[0].strip("[]"))}
    dtypes, sizes = kind.rstrip("?").split(" (")
    rank = len([size for size in sizes.rstrip(")").split(",") if size.strip()])
    hex_array = {
        "$ref": "common.schema.json#/$defs/array",
        "properties": {"dtype": {"enum": dtypes.split("|")}, "shape": {"minItems": rank, "maxItems": rank}},
    }
    others = ["path"] if dtypes == "U8" else ["drawn"]
    return {"oneOf": [hex_array, *({"$ref": f"common.schema.json#/$defs/{other}"} for other in others)]}


def schemas() -> dict[str, dict[str, Any]]:
    """Return all schemas by their path in the folder of vectors."""
    made = {f"schema/{name}.schema.json": of_operation(name) for name in OPERATIONS}
    return {"schema/common.schema.json": common()} | made
