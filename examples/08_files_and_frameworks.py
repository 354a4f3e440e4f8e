"""Files of other programs, weights for other frameworks, and a scikit-learn pipeline.

Run it with ``python examples/08_files_and_frameworks.py``. The files need NumPy only. The last part is skipped if
scikit-learn is not installed. It uses the demo embeddings and takes seconds.

Equations: E18, R11 to R13. Pages of spec/: file-format.md. Chapter: examples/learn/1_what_a_code_is.py.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from compressae_ref import Model, fit
from compressae_ref.cli.any_model import load_any_model, save_any_model
from compressae_ref.demo_data import load_demo_data
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.write import write_codes, write_embeddings


def embeddings(folder: Path, x: np.ndarray) -> None:
    print("1. Embeddings: bytes of the file; read back equal; with ids")
    for kind in ("npy", "npz", "fbin", "fvecs", "safetensors"):
        path = folder / f"x.{kind}"
        write_embeddings(path, x, ids=np.array([f"entry {row}" for row in range(len(x))]))
        rows = open_embeddings(str(path))
        same, named = np.array_equal(rows[100:200], x[100:200]), "ids" if ids_of(rows) is not None else "no ids"
        print(f"   {kind:<12} {path.stat().st_size:>9,}  {same}  {named}")


def codes(folder: Path, x: np.ndarray, model: Model) -> None:
    print("\n2. Codes: bytes of one; read back equal")
    for kind in ("npz", "csr", "jsonl"):
        path = folder / f"codes.{kind}"
        write_codes(path, model.encode_blocks(x), len(x))
        again = open_codes(str(path), model.params.n_latents).load()
        same = np.array_equal(again.values, model.encode(x).values)
        print(f"   {kind:<6} {path.stat().st_size / len(x):>4.0f}  {same}")
    print(f"   {path.read_text(encoding='utf-8')[:100]} ...")


def weights(folder: Path, model: Model) -> None:
    print("\n3. Models, written and read back: the same digest")
    for name, to in (("state.safetensors", None), ("sae", "saelens"), ("csr", "sentence-transformers")):
        save_any_model(folder / name, model, to)
        print(f"   {name:<18} {load_any_model(str(folder / name)).digest == model.digest}")


def pipeline(x: np.ndarray, queries: np.ndarray) -> None:
    if find_spec("sklearn") is None:
        print("\n4. scikit-learn is not installed: pip install 'compressae-ref[sklearn]'")
        return
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import NearestNeighbors
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    from compressae_ref import CompresSAE

    estimator = CompresSAE(n_latents=512, steps=50, batch_size=256, random_state=0)
    search = GridSearchCV(estimator, {"k": [8, 32]}, cv=2).fit(x)
    steps = make_pipeline(Normalizer(), search.best_estimator_, NearestNeighbors(metric="cosine")).fit(x)
    rows = steps[-1].kneighbors(steps[:-1].transform(queries[:1]), 3, return_distance=False)[0]
    scores = search.cv_results_["mean_test_score"].round(3).tolist()
    print(f"\n4. scikit-learn: mean cosine of k = 8 and 32: {scores}; rows nearest to a query: {rows.tolist()}")


def main() -> None:
    data = load_demo_data()
    x = data.items.astype(np.float32)
    model = fit(x, n_latents=512, k=32, steps=100, batch_size=256).model
    with tempfile.TemporaryDirectory() as name:
        embeddings(Path(name), x)
        codes(Path(name), x, model)
        weights(Path(name), model)
    pipeline(x, data.queries.astype(np.float32))


if __name__ == "__main__":
    main()
