"""The shortest useful path: train, encode, store the codes in a file, and read them without this package.

Run it with ``python examples/01_compress.py``. It uses the demo embeddings and takes seconds.
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


def train(items: np.ndarray) -> Model:
    n, d = items.shape
    print(f"{n:,} embeddings with d = {d}: WordNet entries, encoded by all-MiniLM-L6-v2.\n")
    # A short training for a demonstration; the default settings train longer.
    result = fit(items, n_latents=1024, k=32, steps=150, batch_size=256)
    print("1. Trained for 150 steps. An embedding becomes k = 32 entries of h = 1,024 latents. The mean cosine of")
    print(f"   held-out embeddings and their reconstructions is {result.history[-1].validation_cosine:.3f}.\n")
    return result.model


def store(folder: Path, model: Model, codes: Codes) -> tuple[Model, Codes]:
    save_model(folder / "model.npz", model)
    save_codes(folder / "codes.npz", codes)
    print("2. Encoded all embeddings and wrote two files:")
    for file in sorted(folder.iterdir(), reverse=True):
        print(f"   {file.name}  {file.stat().st_size:>9,} bytes")
    loaded = load_model(folder / "model.npz"), load_codes(folder / "codes.npz")
    same = loaded[0].digest == model.digest and np.array_equal(loaded[1].values, codes.values)
    print(
        f"   Read back, they are {'the same' if same else 'DIFFERENT'}. The file of codes contains the digest of their model.\n"
    )
    return loaded


def read_with_scipy(file: Path, names: list[str], word: str) -> None:
    matrix = load_npz(file)
    print(f"3. SciPy alone reads the codes: a sparse matrix {matrix.shape} with {matrix.nnz:,} stored entries.")
    item = next(row for row, name in enumerate(names) if name == word)
    # This is the cosine in sparse space without the norm of the query, which does not change the order.
    scores = (matrix @ matrix[[item]].T).toarray().ravel() / norm(matrix, axis=1)
    nearest = np.argsort(-scores, kind="stable")[1:6]
    print(f"   Nearest items to {word!r} by cosine of the codes: {', '.join(names[row] for row in nearest)}.\n")


def compare(codes: Codes, unseen: np.ndarray, model: Model) -> None:
    print("4. The same codes contain the codes of every smaller k: truncation keeps the k largest entries.")
    print(f"   The last column is the mean cosine of {len(unseen)} unseen embeddings and their reconstructions.\n")
    x_unit, unseen_codes = unit_rows(unseen, np.float32), model.encode(unseen)
    dense = bytes_per_row(x_unit)
    print("   stored as          bytes each         total   smaller by   cosine")
    print(f"   dense, float32   {dense:>12,} {dense * len(codes):>13,}         1.0×    1.000")
    for k in (32, 16, 8):
        size, cosine = bytes_per_row(codes.truncate(k)), mean_cosine(x_unit, model.decode(unseen_codes.truncate(k)))
        print(f"   codes, k = {k:<6}{size:>12,} {size * len(codes):>13,} {dense / size:>11.1f}×    {cosine:.3f}")
    print("\n   An entry takes 8 bytes: 4 for the index of its latent and 4 for its value.")


def main() -> None:
    data = load_demo_data()
    names = [name.split(" (")[0].split(", ")[0] for name in data.item_names]
    model = train(data.items)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, codes = store(folder, model, model.encode(data.items))
        read_with_scipy(folder / "codes.npz", names, word="piano")
    compare(codes, data.queries, model)


if __name__ == "__main__":
    main()
