"""Fewer bytes and higher recall from the same model: refined and packed codes, and codes without negative values.

Run it with ``python examples/06_fewer_bytes.py``. It uses the demo embeddings and takes seconds.

Equations: E15, E17, E19 to E22, E24, E25, R14, R18. Pages of spec/: compressae.md, refine.md, packed.md. Chapter: examples/learn/5_search.py.
"""

from __future__ import annotations

import numpy as np

from compressae_ref import Codes, Model, bytes_per_row, encode_refined, fit, pack, recall_at, search
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.retrieval.brute_force import nearest_dense


def compare(data: DemoData, model: Model, truth: np.ndarray) -> None:
    def show(k: int, stored: str, size: int, kinds: list[Codes]) -> None:
        found = (search(data.queries, codes, 10, space="asymmetric", model=model).ids for codes in kinds)
        print(f"   {k:>2}  {stored:<7} {size:>13}", *(f"{recall_at(ids, truth):9.3f}" for ids in found))

    print("1. recall@10 of dense queries\n    k  values  bytes per item   encoded   refined")
    for k in (16, 32):
        kinds = [model.encode(data.items, k), encode_refined(data.items, model, k)]
        show(k, "float32", bytes_per_row(kinds[0]), kinds)
        for bits in (8, 5, 4):
            packed = [pack(codes, bits) for codes in kinds]
            # Numba would compile for longer than NumPy takes to unpack so few codes.
            show(k, f"{bits} bits", packed[0].bytes_per_item, [codes.unpack(backend="numpy") for codes in packed])


def show_one_item(data: DemoData, model: Model) -> None:
    row = pack(encode_refined(data.items[:100], model, 8), bits=5)[41]
    code = row.unpack(backend="numpy")
    print(f"\n2. One item in {row.bytes_per_item} bytes, {row.data.tobytes().hex(' ')}, read back:")
    print("  ", ", ".join(f"{j}: {v:+.3f}" for j, v in zip(code.indices[0], code.values[0], strict=True)))


def split(data: DemoData, model: Model, truth: np.ndarray) -> None:
    """Split signs for engines that refuse negative values: 2h dimensions instead of h."""
    print("\n3. recall@10 in sparse space, and the lowest value of the codes")
    items, queries = model.encode(data.items), model.encode(data.queries)
    for name, pair in (("signed", (queries, items)), ("split", (queries.split_signs(), items.split_signs()))):
        print(f"   {name:<7} {recall_at(search(*pair, 10).ids, truth):.3f}  {pair[1].values.min():+.3f}")


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, serve="dense", n_latents=1024, k=32, steps=150, batch_size=256).model
    truth = nearest_dense(data.queries, data.items, 10).ids
    compare(data, model, truth)
    show_one_item(data, model)
    split(data, model, truth)


if __name__ == "__main__":
    main()
