"""The shortest useful path: train, encode, store the codes in a file, and read them without this package.

Run it with ``python examples/01_compress.py``. It uses the demo embeddings (entries of WordNet, encoded by
all-MiniLM-L6-v2) and takes seconds.

Equations: E3 to E7, E9, E15, R2, R13. Pages of spec/: compressae.md, file-format.md. Chapter: examples/learn/1_what_a_code_is.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse import load_npz
from scipy.sparse.linalg import norm

from compressae_ref import Codes, Model, bytes_per_row, fit, load_codes, load_model, mean_cosine, save_codes, save_model
from compressae_ref.demo_data import load_demo_data
from compressae_ref.reference import unit_rows


def store(folder: Path, model: Model, codes: Codes) -> None:
    save_model(folder / "model.npz", model)
    save_codes(folder / "codes.npz", codes)  # with the digest of the model
    again = load_codes(folder / "codes.npz")
    same = load_model(folder / "model.npz").digest == again.model and np.array_equal(again.values, codes.values)
    print(f"2. Written to codes.npz: {(folder / 'codes.npz').stat().st_size:,} bytes. Read back equal: {same}\n")


def read_with_scipy(file: Path, names: list[str], word: str) -> None:
    matrix = load_npz(file)
    # This is the cosine in sparse space without the norm of the query, which does not change the order.
    scores = (matrix @ matrix[[names.index(word)]].T).toarray().ravel() / norm(matrix, axis=1)
    nearest = [names[row] for row in np.argsort(-scores, kind="stable")[1:6]]
    print(f"3. SciPy alone reads the codes: a matrix {matrix.shape}. Nearest to {word!r}: {', '.join(nearest)}\n")


def compare(unseen: np.ndarray, model: Model) -> None:
    """Compare the codes of smaller k, which are parts of the same codes: truncation keeps the k largest entries."""
    x_unit, codes = unit_rows(unseen, np.float32), model.encode(unseen)
    dense = bytes_per_row(x_unit)
    print(f"4. Unseen embeddings of {dense:,} bytes   bytes   smaller by   mean cosine with reconstruction")
    for k in (32, 16, 8):
        size, cosine = bytes_per_row(codes.truncate(k)), mean_cosine(x_unit, model.decode(codes.truncate(k)))
        print(f"   as codes with k = {k:<14} {size:>7} {dense / size:>11.1f}× {cosine:>13.3f}")


def main() -> None:
    data = load_demo_data()
    n, d = data.items.shape
    # A short training for a demonstration; the default settings train longer.
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    print(f"1. {n:,} embeddings of {d} numbers become k = {model.k} entries of {model.params.n_latents:,} latents.\n")
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder), model, model.encode(data.items))
        names = [name.split(" (")[0].split(", ")[0] for name in data.item_names]
        read_with_scipy(Path(folder) / "codes.npz", names, word="piano")
    compare(data.queries, model)


if __name__ == "__main__":
    main()
