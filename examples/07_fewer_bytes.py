"""Fewer bytes and higher recall from the same model: refined and packed codes, and codes without negative values.

Run it with ``python examples/07_fewer_bytes.py``. It uses the demo embeddings and takes seconds.
"""

from __future__ import annotations

import numpy as np

from compressae_ref import Codes, Model, bytes_per_row, encode_refined, fit, pack, recall_at, search
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.retrieval.brute_force import nearest_dense


def recall_cell(data: DemoData, codes: Codes, model: Model, truth: np.ndarray) -> str:
    """Return recall@10 of dense queries as a table cell."""
    return f"{recall_at(search(data.queries, codes, 10, space='asymmetric', model=model).ids, truth):>18.3f}"


def compare(data: DemoData, model: Model, truth: np.ndarray) -> None:
    print("1. The same model with dense queries:\n")
    print("   k    values   bytes per item  encoded: recall@10   refined: recall@10")
    for k in (16, 32):
        kinds = [model.encode(data.items, k), encode_refined(data.items, model, k)]
        print(
            f"   {k:<5}float32 {bytes_per_row(kinds[0]):>14}",
            *(recall_cell(data, codes, model, truth) for codes in kinds),
        )
        for bits in (8, 5, 4):
            packed = [pack(codes, bits) for codes in kinds]
            cells = (recall_cell(data, codes.unpack(), model, truth) for codes in packed)
            print(f"   {k:<5}{bits} bits  {packed[0].bytes_per_item:>14}", *cells)


def show_one_item(data: DemoData, model: Model) -> None:
    packed = pack(encode_refined(data.items[:100], model, 8), bits=5)
    row = packed[41]
    print(f"\n2. One item in {row.bytes_per_item} bytes: {row.data.tobytes().hex(' ')}")
    code = row.unpack()
    print("   read back:", ", ".join(f"{j}: {v:+.3f}" for j, v in zip(code.indices[0], code.values[0], strict=True)))


def split(data: DemoData, model: Model, truth: np.ndarray) -> None:
    print("\n3. Split signs for engines that refuse negative values (2h dimensions); recall@10 in sparse space:")
    items, queries = model.encode(data.items), model.encode(data.queries)
    for name, pair in (("signed", (queries, items)), ("split", (queries.split_signs(), items.split_signs()))):
        hits = search(*pair, 10)
        print(f"   {name:<8}{recall_at(hits.ids, truth):.3f}   lowest value {pair[1].values.min():+.3f}")


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    truth = nearest_dense(data.queries, data.items, 10).ids
    compare(data, model, truth)
    show_one_item(data, model)
    split(data, model, truth)


if __name__ == "__main__":
    main()
