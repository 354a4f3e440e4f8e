"""The steps of ``inspect``: gather facts about a file and format them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.center import MeanDirection
from compressae_ref.cli.any_model import load_any_encoder
from compressae_ref.cli.ids_option import without_ids
from compressae_ref.cli.terminal import printable
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, FormatError
from compressae_ref.extensions.residual_codes import ResidualCodes
from compressae_ref.files.codes_file import load_codes_and_ids
from compressae_ref.files.detect import content_of
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings, place_of
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.model_file import (
    CODES_FORMAT,
    INDEX_FORMAT,
    MODEL_FORMAT,
    PACKED_FORMAT,
    RESIDUAL_FORMAT,
    describe,
    is_ours,
    load_model_or_encoder,
)
from compressae_ref.files.npz import member_names
from compressae_ref.files.packed_file import load_packed_and_ids
from compressae_ref.files.residual_file import load_residual_and_ids
from compressae_ref.metrics import bytes_per_row, effective_latents, used_latents
from compressae_ref.model import Encoder, Model
from compressae_ref.params import Params
from compressae_ref.reference import norm, unit_rows
from compressae_ref.retrieval.index_file import codes_of, read_index, reading_index
from compressae_ref.retrieval.index_file import ids_of as ids_of_index
from compressae_ref.training.checkpoint import FORMAT as CHECKPOINT_FORMAT
from compressae_ref.training.history import read_history
from compressae_ref.training.resume import load_checkpoint


def inspect_file(path: str, follow_links: bool = False) -> dict[str, Any]:
    """Return facts about a model, codes, embeddings, an index or a checkpoint of a training.

    Raises
    ------
    FormatError
        If the file is none of these, or is damaged.
    """
    if path == "-" or not Path(path).is_file() or place_of(path).entry is not None:
        return _foreign_facts(path, follow_links)
    names = member_names(path)
    if names >= {"meta", "indices", "norms"}:
        return {"file": path, "kind": INDEX_FORMAT, **_index_facts(path)}
    if names >= {"meta", "records", "blocks"}:
        return {"file": path, "kind": CHECKPOINT_FORMAT, **_checkpoint_facts(path)}
    if not is_ours(path):
        return _foreign_facts(path, follow_links)
    kind = describe(path)["format"]
    if kind == MODEL_FORMAT:
        model = load_model_or_encoder(path)
        return {"file": path, "kind": kind, **_stored_facts(path, model), **_model_facts(model)}
    if kind == PACKED_FORMAT:
        packed, ids = load_packed_and_ids(path)
        stored = {"bytes_per_code": packed.bytes_per_item, "bits_per_value": packed.bits, "ids": ids is not None}
        return {"file": path, "kind": kind, **_codes_facts(packed.unpack()), **stored}
    if kind == RESIDUAL_FORMAT:
        residual, ids = load_residual_and_ids(path)
        return {"file": path, "kind": kind, **_residual_facts(residual), "ids": ids is not None}
    codes, ids = load_codes_and_ids(path)
    return {"file": path, "kind": CODES_FORMAT, **_codes_facts(codes), "ids": ids is not None}


def _foreign_facts(path: str, follow_links: bool) -> dict[str, Any]:
    content = content_of(path)
    if content == "embeddings":
        return _embeddings_facts(path, follow_links)
    if content == "codes":
        rows = open_codes(path)
        return {"file": path, "kind": "codes", **_codes_facts(rows.load()), "ids": rows.ids is not None}
    return {"file": path, "kind": f"model ({content})", **_model_facts(load_any_encoder(path))}


def explain(facts: dict[str, Any]) -> str:
    """Format the facts as lines with a name and a value; nested facts are indented, and records are one line each."""
    if "history" in facts:
        training = {name: value for name, value in facts["training"].items() if name != "history"}
        facts = {**facts, "training": training, "history": _history_lines(facts["history"])}
    return "\n".join(_lines(facts, ""))


def _history_lines(history: dict[str, Any] | None) -> Any:
    if history is None:
        return "not stored: the model was made elsewhere, or by an earlier version"
    lines = {name: _record_text(history[name]) for name in ("first", "best", "last") if history[name] is not None}
    return {"records": history["records"], **lines}


def _record_text(record: dict[str, Any]) -> str:
    cosine = record["validation_cosine"]
    measured = "" if cosine is None else f"validation cosine {cosine:.4f}, "
    return f"step {record['step']}: loss {record['loss']:.4f}, {measured}{record['dead_latents']} dead latents"


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        else:
            text = f"{value:.4g}" if isinstance(value, float) else printable(value)
            lines.append(f"{indent}{name.replace('_', ' '):<{30 - len(indent)}} {text}")
    return lines


def _model_facts(model: Encoder) -> dict[str, Any]:
    params = model.params
    return {
        "digest": model.digest,
        "dense_dimension_d": params.d,
        "latents_h": params.n_latents,
        "stored_entries_k": model.k,
        "dtype": params.dtype.name,
        **({} if params.mean is None else {"norm_of_the_mean": float(norm(params.mean))}),
        "bytes_per_code": model.k * (4 + params.dtype.itemsize),
        **(_atom_facts(params) if isinstance(params, Params) else {}),
        "training": dict(model.training),
        "history": history_facts(model),
    }


def _stored_facts(path: str, model: Encoder) -> dict[str, Any]:
    """Return how a model file stores a model (``spec/small.md``)."""
    weights = describe(path).get("weights", model.params.dtype.name)
    only = not isinstance(model, Model)
    return {"weights": weights, "encoder_only": only, "bytes_of_the_file": Path(path).stat().st_size}


def _atom_facts(params: Params) -> dict[str, Any]:
    similar = params.W_dec @ params.W_dec[: min(512, params.n_latents)].T
    np.fill_diagonal(similar, 0)
    return {"mean_cosine_of_atom_with_closest": float(np.abs(similar).max(axis=0).mean())}


def history_facts(model: Encoder) -> dict[str, Any] | None:
    """Return the number of stored records, the first, the best by validation cosine, and the last; None for none."""
    records = read_history(model.training)
    if not records:
        return None
    measured = [record for record in records if record["validation_cosine"] is not None]
    best = max(measured, key=lambda record: record["validation_cosine"], default=None)
    return {"records": len(records), "first": records[0], "best": best, "last": records[-1]}


def _index_facts(path: str) -> dict[str, Any]:
    meta, arrays, _ = read_index(path, check=True)
    with reading_index(path):
        ids_of_index(path, meta, arrays, check=True)
        return {**_codes_facts(codes_of(meta, arrays, check=True)), "space": meta["space"]}


def _checkpoint_facts(path: str) -> dict[str, Any]:
    saved = load_checkpoint(path)
    return {
        "step": saved.meta["step"],
        "steps": saved.settings.steps,
        "rows_n": saved.data.rows,
        "dense_dimension_d": saved.data.d,
        "dtype": saved.data.dtype,
        "started_from_model": saved.meta["start"],
        "training": saved.meta["training"],
    }


def _codes_facts(codes: Codes) -> dict[str, Any]:
    usage = used_latents(codes)
    magnitudes = np.abs(codes.values)
    return {
        "rows_n": len(codes),
        "latents_h": codes.n_latents,
        "stored_entries_k": codes.k,
        "dtype": codes.values.dtype.name,
        "bytes_per_code": bytes_per_row(codes),
        "made_by_model": codes.model,
        "refined": codes.refined,
        "latents_in_use": len(usage),
        "effective_latents": effective_latents(codes),
        "share_of_rows_with_the_most_used_latent": float(usage.max(initial=0) / max(len(codes), 1)),
        "share_of_negative_values": float((codes.values < 0).mean()) if codes.values.size else 0.0,
        "median_magnitude": float(np.median(magnitudes)) if magnitudes.size else 0.0,
        "rows_of_zeros": int((magnitudes.max(axis=1) == 0).sum()) if magnitudes.size else 0,
    }


def _residual_facts(codes: ResidualCodes) -> dict[str, Any]:
    codec = codes.codec
    return {
        **_codes_facts(codes.sparse.unpack()),
        "bytes_per_code": codes.bytes_per_item,
        "bytes_of_the_sparse_part": codec.sparse_bytes,
        "bits_per_value": codec.value_bits,
        "components": len(codec.bits),
        "bits_of_components": codec.total_bits,
        "bytes_of_the_codec": codec.nbytes,
    }


def _embeddings_facts(path: str, follow_links: bool) -> dict[str, Any]:
    array, why_not = _with_ids(path, follow_links)
    sample = np.asarray(array[:10_000], np.float64)
    norms = _norms(sample)
    return {
        "file": path,
        "kind": "embeddings",
        "rows_n": len(array),
        "dense_dimension_d": int(array.shape[1]),
        "dtype": array.dtype.name,
        "bytes_per_row": int(array.shape[1]) * array.dtype.itemsize,
        "ids": why_not is None,
        **({"id_column": array.id_name} if why_not is None else {"why_no_ids": why_not}),
        "rows_looked_at": len(sample),
        "smallest_norm": float(norms.min()),
        "largest_norm": float(norms.max()),
        "rows_not_finite": int((~np.isfinite(sample).all(axis=1)).sum()),
        "rows_of_zeros": int((~sample.any(axis=1)).sum()),
        "mean_cosine_of_pairs": _mean_cosine(sample),
    }


def _with_ids(path: str, follow_links: bool) -> tuple[Any, str | None]:
    """Open embeddings. Return them, and why no ids are found, or None if there are ids.

    Ids that other commands refuse are a fact about the file, so they are no error here.
    """
    try:
        array = open_embeddings(path, follow_links=follow_links)
    except FormatError as error:  # such as two columns of usual names
        return open_embeddings(path, ids=False, follow_links=follow_links), _without_place(error)
    try:
        if ids_of(array) is not None:
            return array, None
    except CompressaeError as error:
        return array, _without_place(error)
    return array, without_ids(array) if array.columns else "the file has no column beside the embeddings"


def _without_place(error: CompressaeError) -> str:
    error.path, error.hint = None, None
    return str(error)


def _mean_cosine(sample: NDArray[np.float64]) -> float | None:
    """Return the mean cosine of two rows that are finite and nonzero; None if there are fewer than two."""
    usable = sample[np.isfinite(sample).all(axis=1) & sample.any(axis=1)]
    if len(usable) < 2:
        return None
    direction = MeanDirection(sample.shape[1])
    direction.add(unit_rows(usable, np.float64))
    return direction.mean_cosine()


def _norms(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norms of all rows that are finite and nonzero, or a single 0 if there are none.

    Rows are scaled before they are squared, so that very large or small numbers do not overflow or vanish.
    """
    largest = np.abs(sample).max(axis=1, initial=0)
    usable = np.isfinite(largest) & (largest > 0)
    if not usable.any():
        return np.zeros(1)
    norms: NDArray[np.float64] = np.linalg.norm(sample[usable] / largest[usable, None], axis=1) * largest[usable]
    return norms
