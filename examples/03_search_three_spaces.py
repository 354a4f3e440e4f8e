"""Exact search over codes in three spaces: sparse, reconstructed and asymmetric.

The paper defines the reconstructed space with the Gram matrix K = W_dec W_decᵀ of h² numbers. This package computes
the same cosine without K; the last part compares both. Chapter 5 of the class has the fourth space, expanded. Run it
with ``python examples/03_search_three_spaces.py``.

Equations: E10, E15 to E17, R6, R10. Pages of spec/: compressae.md. Chapter: examples/learn/5_search.py.
"""

from __future__ import annotations

import numpy as np

from compressae_ref import Codes, Model, Params, fit, gram, recall_at, reconstructed_cosine, search
from compressae_ref.demo_data import DemoData, load_demo_data
from compressae_ref.retrieval.brute_force import nearest_dense
from compressae_ref.retrieval.spaces import Space

MEANING: dict[Space, str] = {
    "sparse": "cosine of two codes, which any database of sparse vectors can compute",
    "reconstructed": "cosine of two reconstructions, without decoding the items",
    "asymmetric": "cosine of the dense query and the reconstructed item",
}


def compare_recall(data: DemoData, codes: Codes, model: Model) -> None:
    truth = nearest_dense(data.queries, data.items, 10).ids
    print(f"1. recall@10 of {len(data.queries)} queries: the share of the 10 nearest dense vectors that is found")
    for space, meaning in MEANING.items():
        found = search(data.queries, codes, 10, space=space, model=model).ids
        print(f"   {space:<14} {recall_at(found, truth):.3f}  {meaning}")


def show_neighbours(data: DemoData, codes: Codes, model: Model) -> None:
    print("\n2. The five nearest items of three queries")
    names, synonyms = (
        [name.split(" (")[0].split(", ") for name in rows] for rows in (data.item_names, data.query_names)
    )
    for word in ("butter", "osteosarcoma", "cowboy"):
        row = next(row for row, words in enumerate(synonyms) if word in words)
        query = data.queries[row : row + 1]
        found = {space: search(query, codes, 5, space=space, model=model) for space in MEANING}
        for kind, hits in {"dense": nearest_dense(query, data.items, 5), **found}.items():
            print(f"   {word:<13}{kind:<15}{' | '.join(names[item][0] for item in hits.ids[0])}")


def verify_reconstructed(queries: Codes, items: Codes, params: Params) -> None:
    """Compare three forms of one cosine in float64, with a bound on their rounding errors."""
    params = Params(*(array.astype(np.float64) for array in params.arrays().values()))
    queries, items = (Codes(c.indices, c.values.astype(np.float64), c.n_latents) for c in (queries, items))
    # NumPy is fast enough for so few pairs, and has nothing to compile for float64.
    ours = reconstructed_cosine(queries, items, params.W_dec, backend="numpy")
    s_q, s, K = queries.to_dense(), items.to_dense(), gram(params)
    x_q, x = s_q @ params.W_dec, s @ params.W_dec
    norms_q, norms = np.linalg.norm(x_q, axis=1), np.linalg.norm(x, axis=1)
    forms = {
        "cosine of decoded rows": (x_q @ x.T) / np.outer(norms_q, norms),
        "Gram-matrix form, with K": s_q @ K @ s.T / np.sqrt(np.outer(quadratic(s_q, K), quadratic(s, K))),
    }
    # A dot product is a chain of m = d + 2k rounded sums. Its terms sum to at most ‖s_q‖₁ ‖s‖₁, because atoms are unit
    # rows, so its error is at most γ_m times that. The numerator and the two norms of both forms give a factor below 8.
    m = params.d + 2 * items.k
    spread = max(np.max(np.abs(s_q).sum(1) / norms_q), np.max(np.abs(s).sum(1) / norms))
    bound = 8 * m * np.finfo(np.float64).eps / 2 * spread**2
    print(f"\n3. reconstructed_cosine differs by at most (rounding allows {bound:.0e})")
    for form, cosine in forms.items():
        difference = np.abs(ours - cosine).max()
        print(f"   {difference:.0e} from the {form}")
        if not difference <= bound:
            raise RuntimeError(f"expected a difference of at most {bound:.1e} to the {form}, got {difference:.1e}")


def quadratic(s: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return sᵀ K s for each row s."""
    return np.einsum("ij,ij->i", s @ K, s)


def main() -> None:
    data = load_demo_data()
    model = fit(data.items, n_latents=1024, k=32, steps=150, batch_size=256).model
    codes = model.encode(data.items)
    compare_recall(data, codes, model)
    show_neighbours(data, codes, model)
    verify_reconstructed(model.encode(data.queries[:50]), codes[:500], model.params)


if __name__ == "__main__":
    main()
