"""Who searches: this package, SciPy, sparse_dot_topn and Qdrant among the codes; BLAS and faiss among the dense rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.measure import device_of
from compressae_ref import Codes, Index, Model

TOP = 100
Search = Callable[[int, int], np.ndarray]
"""Ids (n, TOP) of what is found for the queries from one number to another; or of nothing, where only time counts."""


def ours(codes: Codes, asked: Codes, x_q: np.ndarray, model: Model, backend: str) -> dict[str, Search]:
    """The exact index, asked for many queries at once and for one after the other."""
    index = Index.build(codes, model=model, backend=backend)

    def one_by_one(first: int, last: int) -> np.ndarray:
        return np.concatenate([index.search(asked[row], TOP).ids for row in range(first, last)])

    return {
        "this package, sparse space": lambda first, last: index.search(asked[first:last], TOP).ids,
        "this package, sparse space, one by one": one_by_one,
    }


def ours_on_the_processor(codes: Codes, asked: Codes, model: Model) -> dict[str, Search]:
    """The exact index beside one on a GPU."""
    index = Index.build(codes, model=model, backend="numba")
    return {
        "this package, sparse space, on the processor": lambda first, last: index.search(asked[first:last], TOP).ids
    }


def ours_asymmetric(codes: Codes, x_q: np.ndarray, model: Model, backend: str) -> dict[str, Search]:
    """Dense queries against all reconstructions, and against the best of the sparse space alone."""
    sparse = Index.build(codes, model=model, backend=backend)
    index = Index.build(codes, space="asymmetric", model=model, backend=backend)
    return {
        "this package, asymmetric": lambda first, last: index.search(x_q[first:last], TOP).ids,
        "this package, sparse, 1,000 rescored": lambda first, last: (
            sparse.search(x_q[first:last], TOP, rescore=1000).ids
        ),
    }


def scipy_product(codes: Codes, asked: Codes) -> dict[str, Search]:
    """A query times the transposed matrix of all items, and a partial sort."""
    items, queries = unit(codes).to_csr().T.tocsr(), unit(asked).to_csr()

    def search(first: int, last: int) -> np.ndarray:
        found = []
        for row in range(first, last):
            scores = (queries[[row]] @ items).toarray()[0]
            best = np.argpartition(-scores, TOP)[:TOP]
            found.append(best[np.argsort(-scores[best], kind="stable")])
        return np.array(found)

    return {"SciPy CSR product and partial sort": search}


def sparse_dot_topn(codes: Codes, asked: Codes, threads: int) -> dict[str, Search]:
    """A product that keeps the best of each row."""
    from scipy.sparse import csr_matrix
    from sparse_dot_topn import sp_matmul_topn

    items, queries = csr_matrix(unit(codes).to_csr().T), csr_matrix(unit(asked).to_csr())

    def search(first: int, last: int) -> np.ndarray:
        found = sp_matmul_topn(queries[first:last], items, TOP, sort=True, n_threads=threads)
        return np.array([_filled(found.indices[a:b]) for a, b in zip(found.indptr, found.indptr[1:], strict=False)])

    return {"sparse_dot_topn": search}


def qdrant(codes: Codes, asked: Codes) -> dict[str, Search]:
    """Qdrant's own engine in this process."""
    from qdrant_edge import (
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        Point,
        Query,
        QueryRequest,
        SparseVector,
        UpdateOperation,
    )

    folder = tempfile.mkdtemp(prefix="qdrant-")
    shard = EdgeShard.create(folder, EdgeConfig(sparse_vectors={"codes": EdgeSparseVectorParams()}))
    items, queries = unit(codes), unit(asked)
    for start in range(0, len(items), 5000):
        rows = zip(
            items.indices[start : start + 5000].tolist(), items.values[start : start + 5000].tolist(), strict=True
        )
        points = [Point(start + place, {"codes": SparseVector(*row)}, None) for place, row in enumerate(rows)]
        shard.update(UpdateOperation.upsert_points(points))
    shard.optimize()

    def search(first: int, last: int) -> np.ndarray:
        found = []
        for row in range(first, last):
            vector = SparseVector(queries.indices[row].tolist(), queries.values[row].tolist())
            hits = shard.query(QueryRequest(TOP, query=Query.Nearest(vector, using="codes")))
            found.append(_filled(np.array([hit.id for hit in hits])))
        return np.array(found)

    return {"Qdrant (in process)": search}


def dense_search(x: np.ndarray, x_q: np.ndarray, backend: str) -> dict[str, Search]:
    """PyTorch's product and the best of each block of items, and of those the best."""
    import torch

    items, queries = (torch.from_numpy(each).to(device_of(backend)) for each in (x, x_q))

    def search(first: int, last: int) -> np.ndarray:
        scores, ids = [], []
        for start in range(0, len(items), 65_536):
            some = items[start : start + 65_536]
            found = torch.topk(queries[first:last] @ some.T, min(TOP, len(some)))
            scores.append(found.values)
            ids.append(found.indices + start)
        best = torch.topk(torch.cat(scores, dim=1), TOP).indices
        return torch.gather(torch.cat(ids, dim=1), 1, best).cpu().numpy()

    return {"dense search (PyTorch, product and topk)": search}


def dense_product(x: np.ndarray, x_q: np.ndarray) -> dict[str, Search]:
    """The product alone, without looking for the best: less than any search that computes it."""
    nothing = np.empty((0, TOP), np.int64)

    def batched(first: int, last: int) -> np.ndarray:
        for start in range(0, len(x), 8192):
            x_q[first:last] @ x[start : start + 8192].T
        return nothing

    def one_by_one(first: int, last: int) -> np.ndarray:
        for row in range(first, last):
            x @ x_q[row]
        return nothing

    return {"dense product alone (BLAS)": batched, "dense product alone, one by one": one_by_one}


def faiss_indexes(x: np.ndarray, x_q: np.ndarray, threads: int, names: list[str]) -> dict[str, Search]:
    """Indexes of faiss by their factory names, among the dense rows."""
    import faiss

    faiss.omp_set_num_threads(threads)
    searches = {}
    for name in names:
        index = faiss.index_factory(x.shape[1], name, faiss.METRIC_INNER_PRODUCT)
        index.train(x[:: max(1, len(x) // 100_000)])
        index.add(x)
        if "IVF" in name:
            index.nprobe = 16
        if "HNSW" in name:
            index.hnsw.efSearch = 2 * TOP
        searches[f"faiss {name}"] = lambda first, last, index=index: index.search(x_q[first:last], TOP)[1]
    return searches


def _filled(ids: np.ndarray) -> np.ndarray:
    """As many as are asked for: −1 where an engine gives fewer, because the others share no latent with the query."""
    return np.pad(ids, (0, TOP - len(ids)), constant_values=-1)


def unit(codes: Codes) -> Codes:
    """Codes divided by their norms: their dots are cosines."""
    norms = np.linalg.norm(codes.values.astype(np.float64), axis=1, keepdims=True)
    return Codes(codes.indices, (codes.values / norms).astype(np.float32), codes.n_latents)
