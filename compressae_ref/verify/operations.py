"""The operations of the protocol: level, section, and the names, dtypes and shapes of inputs and outputs.

Each letter is one size, the same in all arrays of a test: n rows, d dense dimensions, h latents, k stored entries,
m candidates of a selection, e remaining entries, q queries, r results, s steps, b bytes, a anchors, i entries of an
array, c components, z bytes of residuals, p pairs, S segments, T segments of an earlier build, B bins of time, u sites,
w words.
"""

from __future__ import annotations

from typing import NamedTuple

LEVELS = {
    "L0": "selection and reading files",
    "L1": "encode and decode",
    "L2": "retrieval in each space",
    "L3": "training and writing files",
}
"""The levels of conformance; each one includes the levels before it."""

EXTENSIONS = {
    "refine": "refined codes",
    "packed": "packed codes",
    "residual": "residual codes of a number of bytes",
    "expanded": "retrieval with sparse queries of m entries",
    "small": "model files with weights in fewer bytes, or without the decoder",
    "center": "models that subtract the mean of unit rows",
    "distill": "training with the similarity loss",
    "fitted": "codes that are fitted to the sparse queries of other rows",
    "segments": "segments of items: membership, names, trends",
}
"""Optional parts of an implementation, at any level from L1."""

PARTS = LEVELS | EXTENSIONS
"""All levels and extensions."""

REFERENCE = "reference"
"""The value of ``--backend`` that stands for `compressae_ref.reference`."""

IN_REFERENCE = (*LEVELS, "expanded")
"""The parts that the reference file implements: it has no files, no rounded weights, no refined, packed or residual
codes, no mean, no similarity loss, no fitted codes and no segments."""

F = "F32|F64"
"""Dtype of floats: the precision depends on the test."""


class Operation(NamedTuple):
    """One operation; ``level`` is one of PARTS.

    Inputs and outputs map a name to ``int``, ``str``, ``str?`` (string or null), ``word|word`` (one of these strings),
    ``dtype (sizes)``, or ``[str] (size)`` or ``[str?] (size)`` (list of strings, or of strings and nulls).
    """

    level: str
    section: str
    what: str
    inputs: dict[str, str]
    outputs: dict[str, str]


_CODES = {"indices": "I32 (n, k)", "values": f"{F} (n, k)"}
_MODEL = {"W_enc": f"{F} (d, h)", "b_enc": f"{F} (h)", "W_dec": f"{F} (h, d)"}
_GRADS = {f"grad_{name}": kind for name, kind in _MODEL.items()}
_FILE = {"file": "U8 (b)"}
_ROUNDED = {
    "W_enc_q": "I32 (d, h)",
    "W_enc_scales": "F32 (h)",
    "W_dec_q": "I32 (h, d)",
    "W_dec_scales": "F32 (h)",
}
_CODEC = {
    "basis": "F32 (c, d)",
    "scales": "F32 (c)",
    "bits": "U8 (c)",
    "lengths": "F32 (256)",
    "k": "int",
    "value_bits": "int",
}
_RESIDUAL = {"packed": "U8 (n, b)", "rest": "U8 (n, z)"}
_COUNTS = {"weights": "F64 (S, B, u)", "squares": "F64 (S, B, u)", "totals": "F64 (B, u)"}
_LARGEST = {"largest": "F64 (S, B)", "largest_item": "I64 (S, B)"}
_TOTAL_ITEMS = {"total_items": "I64 (B, u)"}
_SIMILARITY = {"temperature": "F64 ()", "weight": "F64 ()"}
_RELATED = {"rows": "I64 (n)", "pairs": "I64 (p, 2)", "relevance_weight": "F64 ()"}


TREND_KINDS = ("steady", "rising", "falling", "peak", "new", "gone")
"""The kinds of trends, by their numbers in answers."""


def words(kind: str) -> list[str]:
    """Return the strings that an input of this kind may be; [] for any other kind."""
    return kind.split("|") if "|" in kind and "(" not in kind else []


OPERATIONS = {
    "abs_topk": Operation(
        "L0",
        "3. Encoding",
        "the code that R1 and R2 make of pre-activations",
        {"pre": f"{F} (n, h)", "k": "int"},
        _CODES,
    ),
    "truncate": Operation(
        "L0",
        "3. Encoding",
        "the code for a smaller k: the first part of `split_code`",
        {"indices": "I32 (n, m)", "values": f"{F} (n, m)", "k": "int"},
        _CODES,
    ),
    "read_model": Operation(
        "L0", "3. The model file", "what a model file holds", _FILE, {**_MODEL, "k": "int", "digest": "str"}
    ),
    "read_codes": Operation(
        "L0", "4. The codes file", "what a codes file holds", _FILE, {**_CODES, "n_latents": "int", "model": "str?"}
    ),
    "write_codes": Operation(
        "L3",
        "4. The codes file",
        "a codes file; it is read, and must hold what was given",
        {**_CODES, "n_latents": "int", "model": "str?"},
        _FILE,
    ),
    "normalize_rows": Operation("L1", "2. Unit rows", "unit rows", {"x": f"{F} (n, d)"}, {"x_unit": f"{F} (n, d)"}),
    "encode": Operation(
        "L1",
        "3. Encoding",
        "codes of embeddings at any scale, in the precision of the model",
        {
            "x": f"{F} (n, d)",
            "W_enc": _MODEL["W_enc"],
            "b_enc": _MODEL["b_enc"],
            "k": "int",
            "zero_rows": "error|empty",
        },
        _CODES,
    ),
    "decode": Operation(
        "L1", "4. Decoding", "reconstructions", {**_CODES, "W_dec": _MODEL["W_dec"]}, {"x_hat": f"{F} (n, d)"}
    ),
    "search": Operation(
        "L2",
        "8. Similarity and search",
        "the best `top` items (all, if there are fewer) for each query. Queries are codes, or in asymmetric space "
        "dense embeddings; `W_dec` comes where it is needed",
        {
            "space": "sparse|reconstructed|asymmetric",
            "top": "int",
            "n_latents": "int",
            **_CODES,
            "W_dec": f"{_MODEL['W_dec']}?",
            "query_indices": "I32 (q, m)?",
            "query_values": f"{F} (q, m)?",
            "queries": f"{F} (q, d)?",
            "model": "str?",
            "query_model": "str?",
        },
        {"ids": "I64 (q, r)", "scores": f"{F} (q, r)"},
    ),
    "refine": Operation(
        "refine",
        "2. Values",
        "codes whose latents are chosen among the `m` candidates of each row, with the values of least squares",
        {
            "x": f"{F} (n, d)",
            "indices": "I32 (n, m)",
            "W_dec": _MODEL["W_dec"],
            "k": "int",
            "zero_rows": "error|empty",
        },
        _CODES,
    ),
    "pack": Operation(
        "packed",
        "1. Bits",
        "the bytes of codes, values with so many `bits`",
        {**_CODES, "n_latents": "int", "bits": "int"},
        {"packed": "U8 (n, b)"},
    ),
    "unpack": Operation(
        "packed",
        "1. Bits",
        "codes from their bytes",
        {"packed": "U8 (n, b)", "n_latents": "int", "k": "int", "bits": "int"},
        {"indices": "I32 (n, k)", "values": "F32 (n, k)"},
    ),
    "read_packed": Operation(
        "packed",
        "2. The file",
        "what a file of packed codes holds",
        _FILE,
        {"packed": "U8 (n, b)", "n_latents": "int", "k": "int", "bits": "int", "model": "str?"},
    ),
    "encode_residual": Operation(
        "residual",
        "1. Encoding",
        "the bytes behind the sparse part of rows at any scale",
        {"x": f"{F} (n, d)", "packed": "U8 (n, b)", "W_dec": _MODEL["W_dec"], **_CODEC},
        {"rest": _RESIDUAL["rest"]},
    ),
    "decode_residual": Operation(
        "residual",
        "2. Decoding and scores",
        "reconstructions from both parts of residual codes",
        {**_RESIDUAL, "W_dec": _MODEL["W_dec"], **_CODEC},
        {"x_hat": f"{F} (n, d)"},
    ),
    "search_residual": Operation(
        "residual",
        "2. Decoding and scores",
        "the best `top` items (all, if there are fewer) for each dense query, of all items",
        {"top": "int", "queries": f"{F} (q, d)", **_RESIDUAL, "W_dec": _MODEL["W_dec"], **_CODEC},
        {"ids": "I64 (q, r)", "scores": f"{F} (q, r)"},
    ),
    "expanded_search": Operation(
        "expanded",
        "8. Similarity and search",
        "the best `top` items in expanded space; queries keep `m` entries",
        {
            "top": "int",
            "m": "int",
            "n_latents": "int",
            **_CODES,
            "W_dec": _MODEL["W_dec"],
            "queries": f"{F} (q, d)",
        },
        {"ids": "I64 (q, r)", "scores": f"{F} (q, r)"},
    ),
    "center_rows": Operation(
        "center",
        "1. Rows without the mean",
        "the unit rows that a centred model encodes",
        {"x": f"{F} (n, d)", "mean": f"{F} (d)"},
        {"x_unit": f"{F} (n, d)"},
    ),
    "center_search": Operation(
        "center",
        "2. Scores",
        "the best `top` items for each query, by `space`: reconstructed (codes as queries) or asymmetric (dense ones)",
        {
            "space": "str",
            "top": "int",
            "n_latents": "int",
            **_CODES,
            "W_dec": _MODEL["W_dec"],
            "mean": f"{F} (d)",
            "query_indices": "I32 (q, m)?",
            "query_values": f"{F} (q, m)?",
            "queries": f"{F} (q, d)?",
        },
        {"ids": "I64 (q, r)", "scores": f"{F} (q, r)"},
    ),
    "softmax_others": Operation(
        "distill",
        "1. Softmax",
        "the shares of the other rows of a batch",
        {"cosines": f"{F} (n, n)", "factor": "F64 ()"},
        {"shares": f"{F} (n, n)"},
    ),
    "similarity_gradients": Operation(
        "distill",
        "3. Gradients of the similarity loss",
        "similarity loss of a batch, and gradients of the loss of training",
        {"x": f"{F} (n, d)", **_MODEL, "k": "int", **_SIMILARITY, "theta": "F64 (2)"},
        {"loss_similarity": "F64 ()", **_GRADS, "grad_theta": "F64 (2)"},
    ),
    "distill_steps": Operation(
        "distill",
        "4. Training",
        "parameters and θ after one step on each of the batches, in order",
        {"batches": f"{F} (s, n, d)", **_MODEL, "k": "int", "lr": "F64 ()", **_SIMILARITY},
        {**_MODEL, "theta": "F64 (2)"},
    ),
    "related_batches": Operation(
        "distill",
        "5. Relations",
        "the row numbers of the batch of a step: those that are drawn, and partners by pairs of related rows",
        {"drawn": "I64 (i)", "pairs": "I64 (p, 2)", "step": "int"},
        {"rows": "I64 (n)"},
    ),
    "related_targets": Operation(
        "distill",
        "5. Relations",
        "the targets of a batch of the rows `rows`, of which `pairs` are related",
        {"shares": f"{F} (n, n)", **_RELATED},
        {"targets": f"{F} (n, n)"},
    ),
    "related_gradients": Operation(
        "distill",
        "5. Relations",
        "as similarity_gradients, for a batch of the rows `rows`, of which `pairs` are related",
        {"x": f"{F} (n, d)", **_MODEL, "k": "int", **_SIMILARITY, "theta": "F64 (2)", **_RELATED},
        {"loss_similarity": "F64 ()", **_GRADS, "grad_theta": "F64 (2)"},
    ),
    "kept_latents": Operation(
        "distill",
        "4. Training",
        "the `m` most used latents",
        {"x": f"{F} (n, d)", "W_enc": _MODEL["W_enc"], "b_enc": _MODEL["b_enc"], "k": "int", "m": "int"},
        {"latents": "I32 (m)"},
    ),
    "fitted_codes": Operation(
        "fitted",
        "2. A step",
        "codes after `steps` steps, with groups of at least `size` anchors, and at most `most` groups",
        {
            "x": f"{F} (n, d)",
            "anchors": f"{F} (a, d)",
            "W_enc": _MODEL["W_enc"],
            "b_enc": _MODEL["b_enc"],
            **dict.fromkeys(("k", "steps", "size", "most"), "int"),
            "zero_rows": "error|empty",
        },
        _CODES,
    ),
    "assign_segments": Operation(
        "segments",
        "1. Membership",
        "segments, and those of each item with their strengths; rows are padded with −1 and 0, to a width of 1, "
        "min(`top`, k) or k",
        {
            **_CODES,
            "n_latents": "int",
            "assign": "dominant|top|all",
            "top": "int",
            "threshold": "F64 ()",
            "min_items": "int",
        },
        {"keys": "I32 (S, 2)", "segments": "I32 (n, m)", "strengths": "F32 (n, m)"},
    ),
    "logarithm": Operation(
        "segments", "2. Contrasts", "natural logarithms", {"numbers": "F64 (i)"}, {"logarithm": "F64 (i)"}
    ),
    "contrast": Operation(
        "segments",
        "2. Contrasts",
        "how much more frequent each thing is on one side than on the other",
        dict.fromkeys(("y", "y_other", "n", "n_other"), "F64 (i)"),
        dict.fromkeys(("delta", "variance", "z_score"), "F64 (i)"),
    ),
    "tail": Operation(
        "segments", "2. Contrasts", "the probability of a larger z", {"z_score": "F64 (i)"}, {"p": "F64 (i)"}
    ),
    "discoveries": Operation(
        "segments",
        "2. Contrasts",
        "which tests are discoveries: 1, or 0",
        {"p": "F64 (i)", "q": "F64 ()"},
        {"found": "U8 (i)"},
    ),
    "count_items": Operation(
        "segments",
        "3. Counts",
        "counts of items; rows of `segments` are padded with −1",
        {
            "segments": "I32 (n, m)",
            "bins": "I64 (n)",
            "sites": "I64 (n)",
            "weights": "F64 (n)",
            **dict.fromkeys(("n_segments", "n_bins", "n_sites"), "int"),
        },
        {**_COUNTS, "items": "I64 (S, B, u)", **_TOTAL_ITEMS, "unassigned": "F64 (B, u)", **_LARGEST},
    ),
    "time_bins": Operation(
        "segments",
        "3. Counts",
        "the bins of times in seconds, and their unit, which is found for auto",
        {"times": "I64 (n)", "unit": "auto|hour|day|week|month|quarter|year|decade|century"},
        {"bins": "I64 (n)", "unit_of_bins": "str"},
    ),
    "trends": Operation(
        "segments",
        "5. Trends and spikes",
        f"the trend of each segment; kinds are numbered from 0: {', '.join(TREND_KINDS)}. `stop` is the bin after the "
        "window",
        {**_COUNTS, "q": "F64 ()"},
        {
            **dict.fromkeys(("kind", "start", "stop"), "I64 (S)"),
            **dict.fromkeys(("z_score", "p", "ratio", "last_ratio", "last_z"), "F64 (S)"),
            "last_significant": "U8 (S)",
        },
    ),
    "spikes": Operation(
        "segments",
        "5. Trends and spikes",
        "all spikes",
        {**_COUNTS, **_LARGEST, "q": "F64 ()"},
        {
            **dict.fromkeys(("segment", "bin", "largest_item"), "I64 (r)"),
            **dict.fromkeys(("weight", "expected", "z_score", "largest_share", "z_without"), "F64 (r)"),
            "one_item": "U8 (r)",
        },
    ),
    "site_contrast": Operation(
        "segments",
        "6. Sites, exposure and co-occurrence",
        "each site against all others, and the shrunk shares",
        {**_COUNTS, "q": "F64 ()"},
        {
            **dict.fromkeys(("weight", "ratio", "z_score"), "F64 (S, u)"),
            "significant": "U8 (S, u)",
            "shares": "F64 (S, B, u)",
        },
    ),
    "hidden_segments": Operation(
        "segments",
        "6. Sites, exposure and co-occurrence",
        "the weight of each segment against its expectation",
        {**_COUNTS, "items": "I64 (S, B, u)", **_TOTAL_ITEMS, "q": "F64 ()"},
        {"ratio": "F64 (S)", "z_score": "F64 (S)", "hidden": "U8 (S)"},
    ),
    "together": Operation(
        "segments",
        "6. Sites, exposure and co-occurrence",
        "how often items that store one segment store another",
        {**_CODES, "keys": "I32 (S, 2)"},
        {"ratio": "F64 (S, S)", "z_score": "F64 (S, S)"},
    ),
    "cut_hierarchy": Operation(
        "segments",
        "7. Hierarchy, matching and drift",
        "the group of each segment",
        {"W_dec": _MODEL["W_dec"], "keys": "I32 (S, 2)", "n_groups": "int"},
        {"groups": "I64 (S)"},
    ),
    "match_segments": Operation(
        "segments",
        "7. Hierarchy, matching and drift",
        "matched segments of two builds with `sizes` (S and T) segments, ascending by the new one; `cosine` if there "
        "are signed unit atoms",
        {
            "segments": "I32 (n, k)",
            "earlier": "I32 (n, m)",
            "sizes": "I64 (2)",
            "atoms": "F64 (S, d)?",
            "earlier_atoms": "F64 (T, d)?",
        },
        {"new": "I64 (p)", "old": "I64 (p)", "confidence": "F64 (p)", "cosine": "F64 (p)?"},
    ),
    "explained": Operation(
        "segments",
        "7. Hierarchy, matching and drift",
        "the cosine of each row with its reconstruction, and the low one",
        {"x": f"{F} (n, d)", **_CODES, "W_dec": _MODEL["W_dec"]},
        {"explained": f"{F} (n)", "low": "F64 ()"},
    ),
    "words_of": Operation("segments", "1. Words", "the words of a text", {"text": "str"}, {"words": "[str] (w)"}),
    "name_segments": Operation(
        "segments",
        "4. How well names do",
        "names of segments and their recall, precision and balanced F1; the terms of all segments, one segment after "
        "the other, with their scores and items; how many items have no words. Rows of `segments` are padded with −1",
        {
            "texts": "[str?] (n)",
            "keys": "I32 (S, 2)",
            "segments": "I32 (n, m)",
            "method": "c-tf-idf|log-odds",
            "most_words": "int",
        },
        {
            "names": "[str] (S)",
            "lengths": "I64 (S)",
            "terms": "[str] (i)",
            "scores": "F64 (i)",
            "items": "I64 (i)",
            **dict.fromkeys(("recall", "precision", "f1"), "F64 (S)"),
            "wordless": "int",
        },
    ),
    "split_codes": Operation(
        "L3",
        "3. Encoding",
        "the k largest entries and the rest",
        {"indices": "I32 (n, m)", "values": f"{F} (n, m)", "k": "int"},
        {
            "indices_k": "I32 (n, k)",
            "values_k": f"{F} (n, k)",
            "indices_rest": "I32 (n, e)",
            "values_rest": f"{F} (n, e)",
        },
    ),
    "cosine": Operation(
        "L3",
        "5. The loss",
        "the cosine of rows and, for its gradient `grad_cos`, that of `x_hat`",
        {"x_unit": f"{F} (n, d)", "x_hat": f"{F} (n, d)", "grad_cos": f"{F} (n)"},
        {"cos": f"{F} (n)", "grad_x_hat": f"{F} (n, d)"},
    ),
    "gradients": Operation(
        "L3",
        "6. Gradients",
        "losses and gradients of a batch",
        {"x": f"{F} (n, d)", **_MODEL, "k": "int"},
        {"loss_k": "F64 ()", "loss_aux": "F64 ()", "loss": "F64 ()", **_GRADS},
    ),
    "adam": Operation(
        "L3",
        "7. The step",
        "step number `step` on an array, with the usual β₁, β₂ and ε",
        dict.fromkeys(("param", "grad", "m", "v"), f"{F} (i)") | {"step": "int", "lr": "F64 ()"},
        dict.fromkeys(("param", "m", "v"), f"{F} (i)"),
    ),
    "renormalize": Operation("L3", "7. The step", "unit atoms", {"W_dec": _MODEL["W_dec"]}, {"W_dec": _MODEL["W_dec"]}),
    "project": Operation(
        "L3",
        "7. The step",
        "the gradient without its part along the unit atoms",
        {"grad_W_dec": _MODEL["W_dec"], "W_dec": _MODEL["W_dec"]},
        {"grad_W_dec": _MODEL["W_dec"]},
    ),
    "init_params": Operation(
        "L3",
        "7. The step",
        "initial values in float32 from uniform numbers",
        {"u_enc": "F64 (d, h)", "u_dec": "F64 (h, d)", "init": "tied|original"},
        _MODEL,
    ),
    "train_steps": Operation(
        "L3",
        "7. The step",
        "one step on each of the batches, in order; before_step is the order of May 2025",
        {"batches": f"{F} (s, n, d)", **_MODEL, "k": "int", "lr": "F64 ()", "renormalize": "after_step|before_step"},
        {},
    ),
    "round_weights": Operation(
        "small",
        "2. Rounding",
        "integers and scales of weights",
        {"W_enc": "F32 (d, h)", "W_dec": "F32 (h, d)"},
        _ROUNDED,
    ),
    "decode_weights": Operation(
        "small",
        "1. Decoding",
        "weights from integers and scales",
        _ROUNDED,
        {"W_enc": "F32 (d, h)", "W_dec": "F32 (h, d)"},
    ),
    "read_small_model": Operation(
        "small",
        "3. The file",
        "the decoded model of a file of version 3, which is not one of the encoder only",
        _FILE,
        {**_MODEL, "k": "int", "digest": "str"},
    ),
    "read_encoder": Operation(
        "small",
        "3. The file",
        "the decoded encoder of a file of version 3, with the digest of its whole model",
        _FILE,
        {"W_enc": _MODEL["W_enc"], "b_enc": _MODEL["b_enc"], "k": "int", "digest": "str"},
    ),
    "write_model": Operation(
        "L3",
        "3. The model file",
        "a model file; it is read, and must hold what was given",
        {**_MODEL, "k": "int"},
        _FILE,
    ),
}

STEP_OUTPUTS = {
    "x_unit": f"{F} (n, d)",
    "indices_k": "I32 (n, k)",
    "values_k": f"{F} (n, k)",
    "indices_rest": "I32 (n, e)",
    "values_rest": f"{F} (n, e)",
    "x_hat_k": f"{F} (n, d)",
    "x_hat_aux": f"{F} (n, d)",
    "cos_k": f"{F} (n)",
    "cos_aux": f"{F} (n)",
    "loss_k": "F64 ()",
    "loss_aux": "F64 ()",
    "loss": "F64 ()",
    "grad_x_hat_aux": f"{F} (n, d)",
    "grad_x_hat_k": f"{F} (n, d)",
    "grad_values_k": f"{F} (n, k)",
    "grad_values_rest": f"{F} (n, e)",
    **_GRADS,
    **{f"{moment}_{name}": kind for name, kind in _MODEL.items() for moment in ("m", "v")},
    "W_enc": _MODEL["W_enc"],
    "b_enc": _MODEL["b_enc"],
    "W_dec_stepped": _MODEL["W_dec"],
    "W_dec": _MODEL["W_dec"],
}
"""Every intermediate value of a training step, in the order of computation."""

STEP_REQUIRED = ("loss", "W_enc", "b_enc", "W_dec")
"""The outputs of a training step that every program must return."""
