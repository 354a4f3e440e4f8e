"""What stored codes cost and find: bits of packed values, candidates of refined codes, the paper's table."""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import head, in_turns, line, load, spread
from compressae_ref import Codes, Model, encode_refined, fit, load_model, pack, recall_at, search
from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.evaluation.baselines import baselines
from compressae_ref.evaluation.evaluate import evaluate
from compressae_ref.metrics import bytes_per_row
from compressae_ref.reference import unit_rows
from compressae_ref.retrieval.brute_force import nearest_dense

TOP = 100
SPACES = ("sparse", "reconstructed", "asymmetric", "expanded")


def packed(options: argparse.Namespace) -> None:
    """Recall of packed codes in every space beside that of the codes themselves; seconds to unpack beside a copy."""
    model, x, x_q = load_model(options.model), load(options.embeddings), load(options.queries)
    near = nearest_dense(x_q, x, TOP).ids
    head("codes", "k", "bits", "bytes/item", *(f"recall@{TOP}, {space}" for space in SPACES), text=1)
    for k in options.k:
        for name, codes in (("encoded", model.encode(x, k)), ("refined", encode_refined(x, model, k))):
            for bits in (None, *reversed(BITS)):
                stored = codes if bits is None else pack(codes, bits).unpack()
                size = bytes_per_row(codes) if bits is None else pack(codes[:1], bits).bytes_per_item
                found = (_recall(stored, x_q, model, space, near) for space in SPACES)
                line(name, k, bits or "32", size, *(f"{share:.4f}" for share in found))
    print()
    _unpacking(model, x, options)


def _recall(codes: Codes, x_q: np.ndarray, model: Model, space: str, near: np.ndarray) -> float:
    query_k = 4 * codes.k if space == "sparse" else None
    return recall_at(search(x_q, codes, TOP, space=space, model=model, query_k=query_k).ids, near)


def _unpacking(model: Model, x: np.ndarray, options: argparse.Namespace) -> None:
    """Of so many codes that no cache holds them."""
    head("k", "bits", "unpacked, million rows/s", "codes, GB/s", "a copy of the codes, GB/s", "packed, million rows/s")
    base = model.encode(x[:50_000], max(options.k))
    for k in options.k:
        some = base.truncate(k)
        codes = Codes.trusted(
            *(np.resize(each, (1_000_000, k)) for each in (some.indices, some.values)), some.n_latents
        )
        for bits in reversed(BITS):
            small = pack(codes, bits)
            took = in_turns(
                options.turns,
                1,
                unpack=small.unpack,
                copy=lambda codes=codes: (codes.indices.copy(), codes.values.copy()),
                pack=lambda codes=codes[:100_000], bits=bits: pack(codes, bits),
            )
            size = len(codes) * bytes_per_row(codes) / 1e9
            line(
                k,
                bits,
                spread(1 / took["unpack"], 1),
                *(spread(size / took[each], 1) for each in ("unpack", "copy")),
                spread(0.1 / took["pack"], 2),
            )


def refine(options: argparse.Namespace) -> None:
    """Time of refined codes as a multiple of encoding, and their recall with dense queries, by candidates."""
    model, x, x_q = load_model(options.model), load(options.embeddings), load(options.queries)
    near = nearest_dense(x_q, x, TOP).ids
    head("k", "candidates", "encoding, µs a row", "refined, µs a row", "times", f"recall@{TOP}, encoded", "refined")
    for k in options.k:
        plain = _recall(model.encode(x, k), x_q, model, "asymmetric", near)
        for times in (1, 2, 4, 8):
            took = in_turns(
                options.turns,
                1,
                encode=lambda k=k: model.encode(x, k),
                refine=lambda k=k, m=times * k: encode_refined(x, model, k, m),
            )
            found = _recall(encode_refined(x, model, k, times * k), x_q, model, "asymmetric", near)
            micro = {name: 1e6 * seconds / len(x) for name, seconds in took.items()}
            line(
                k,
                times * k,
                *(spread(each, 1) for each in micro.values()),
                spread(took["refine"] / took["encode"], 2),
                f"{plain:.4f}",
                f"{found:.4f}",
            )


def paper(options: argparse.Namespace) -> None:
    """The paper's table: a model for each k, in sparse and in reconstructed space, beside as many bytes of the vectors."""
    x, x_q = load(options.embeddings), load(options.queries)
    unit, unit_q = (unit_rows(each, np.float32) for each in (x, x_q))
    near = nearest_dense(x_q, x, TOP).ids
    others = ("truncation", "PCA")
    head("smaller by", "k", "training, s", *("sparse", "sparse, query 4k", "reconstructed", "dense queries"), *others)
    for k in options.k:
        start = time.perf_counter()
        model = fit(x, objective="reconstruct", k=k, n_latents=options.latents[0], **_settings(options)).model
        seconds = time.perf_counter() - start
        rows = evaluate(model, x, x_q, ks=[k], tops=[TOP])
        size = 8 * k
        if size < 4 * x.shape[1]:
            ways = {way.method: way for way in baselines(unit, [size], []) if way.method in others}
            found = [f"{recall_at(ways[name].search(unit_q, TOP), near):.3f}" for name in others]
        else:
            found = ["", ""]
        ours = [f"{row.recall[TOP]:.3f}" for row in rows if row.k is not None]
        line(f"{4 * x.shape[1] / size:.1f}×", k, f"{seconds:.0f}", *ours, *found)


def _settings(options: argparse.Namespace) -> dict[str, int]:
    return {} if options.steps is None else {"steps": options.steps}
