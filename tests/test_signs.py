"""Engines without negative values: split signs keep the recall of codes; setting negatives to zero does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from compressae_ref import Codes, Index
from compressae_ref.demo_data import load_demo_data
from compressae_ref.model import Model
from compressae_ref.params import init_params
from compressae_ref.stores.contract import Found
from compressae_ref.stores.query import rescored
from compressae_ref.stores.stored_form import serving
from tests import strategies

TOP = 10


@given(items=strategies.codes(n_latents=12), queries=strategies.codes(n_latents=12))
def test_dots_of_split_codes_are_upper_bounds(items, queries):
    """Products of opposite signs are negative and disappear; all other products stay."""
    dots = queries.to_dense().astype(float) @ items.to_dense().astype(float).T
    split = queries.split_signs().to_dense().astype(float) @ items.split_signs().to_dense().astype(float).T
    scale = np.abs(queries.to_dense()).astype(float) @ np.abs(items.to_dense()).astype(float).T
    assert (split >= dots - 1e-6 * scale).all()


@given(items=strategies.codes(n_latents=12), query=strategies.codes(n_latents=12))
def test_scores_of_what_was_found_are_those_of_the_codes(items, query):
    class Stored:
        def read(self, field, ids):
            split = items.split_signs()
            return [(split.indices[each].tolist(), split.values[each].tolist()) for each in ids]

    u = query.to_dense()[0].astype(float)
    found = rescored(Stored(), "codes", u, Found([*range(len(items))], [0.0] * len(items)), len(items))
    scores = items.to_dense().astype(float) @ u
    np.testing.assert_allclose(found.scores, scores[found.ids], rtol=1e-12, atol=1e-12 * (1 + np.abs(scores).max()))
    assert sorted(found.ids) == [*range(len(items))]
    assert found.scores == sorted(found.scores, reverse=True)


@pytest.fixture(scope="module")
def problem():
    """Real embeddings and an untrained model, whose signs are as mixed as those of a trained one."""
    data = load_demo_data()
    model = Model(init_params(384, 512, np.random.default_rng(0)), 32)
    x, queries = data.items[:1500].astype(np.float32), data.queries[:60].astype(np.float32)
    return model, x, queries


@pytest.mark.parametrize("space", ["sparse", "expanded"])
def test_seismic_with_split_signs_finds_what_our_search_finds(problem, space):
    pytest.importorskip("seismic")
    from compressae_ref.stores.seismic import RawSeismic, SeismicCodes

    model, x, queries = problem
    how = serving(model, None, space, False, None)
    items, asked = how.items(x, "x", "error"), how.queries(queries, None)
    hits = Index.build(model.encode(x), space=space, model=model).search(queries, TOP)
    found = SeismicCodes(items).search(asked, TOP, cut=512)
    assert recall(found, hits) > 0.99
    for mine, ids, scores in zip(found, hits.ids.tolist(), hits.scores.tolist(), strict=True):
        expected = dict(zip(ids, scores, strict=True))
        both = [(score, expected[each]) for each, score in zip(*mine, strict=True) if each in expected]
        np.testing.assert_allclose(*zip(*both, strict=True), rtol=0, atol=1e-6)
    cut_off = RawSeismic(clipped(items)).search(clipped(asked), TOP, cut=512)
    assert recall([Found(ids, []) for ids in cut_off], hits) < 0.7  # as is sometimes advised


def recall(found, hits):
    return np.mean([len({*mine.ids} & {*ids}) / TOP for mine, ids in zip(found, hits.ids.tolist(), strict=True)])


def clipped(codes):
    return Codes.trusted(codes.indices, np.maximum(codes.values, 0), codes.n_latents)
