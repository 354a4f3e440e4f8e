"""The tests of each exercise, made from the test vectors.

A test's ``inputs`` are the arguments of the student's function in their order, and its ``outputs`` what it returns. The
inputs that R3 and R4 refuse are left out: a student's function may trust its arguments. Four functions are parts of the
operations that the vectors have: their arguments are computed from the inputs of a vector with
`compressae_ref.reference`, and so is what they return, except where the vector has it. `extra` adds inputs that no
vector has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.verify.exercises import extra, from_training
from compressae_ref.verify.exercises.from_training import ROUNDINGS
from compressae_ref.verify.exercises.table import Exercise, Function, names_of
from compressae_ref.verify.suite import Suite
from compressae_ref.verify.vectors import Test, Values

NAMED = 10
"""Number of words that a latent is named by in the tests."""


def tests_of(exercise: Exercise, function: Function, suite: Suite) -> list[Test]:
    """Return the tests of one function of an exercise."""
    names = [*names_of(function.returns)]
    own = (*TESTS[function.name](suite), *extra.tests_of(function.name))
    tests = [_of_outputs(test, names) for test in own]
    return tests if exercise.bits else [_with_bounds(test) for test in tests]


def _of_outputs(test: Test, names: list[str]) -> Test:
    """Return a test of these outputs alone. Scores come first, since wrong scores put items in a wrong order."""
    names = sorted(names, key=lambda name: name != "scores")
    bounds = {name: bound for name, bound in test.bounds.items() if name in names}
    return replace(test, outputs={name: test.outputs[name] for name in names}, bounds=bounds)


def original(test: Test, suite: Suite) -> Test | None:
    """Return the test vector with the id of a test, or None if the test was computed."""
    return next((each for file in suite.files for each in file.tests if each.id == test.id), None)


def _with_bounds(test: Test) -> Test:
    """Return a test whose outputs of floats all have a bound, if any number is not zero."""
    bounds = dict(test.bounds)
    for name, value in test.outputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and name not in bounds:
            largest = np.abs(value[np.isfinite(value)]).max(initial=0)
            bounds[name] = float(ROUNDINGS * np.finfo(value.dtype).eps * largest)
    return replace(test, bounds=bounds)


def _direct(name: str, *arguments: str) -> Callable[[Suite], Iterator[Test]]:
    """Return a function that yields the tests of a file, with the inputs in the order of the arguments."""

    def tests(suite: Suite) -> Iterator[Test]:
        for test in suite.with_outputs(name):
            yield replace(test, inputs={argument: _plain(test.inputs[argument]) for argument in arguments})

    return tests


def _plain(value: Any) -> Any:
    """Return a float in place of an array without axes, such as a learning rate."""
    return float(value) if isinstance(value, np.ndarray) and not value.ndim else value


# -- words of latents -------------------------------------------------------------------------------------------------


def _name_latent(suite: Suite) -> Iterator[Test]:
    """Yield a test for each segment: all its known words, in descending order so that ties are not right by chance."""
    from compressae_ref.segments.fidelity import held_out
    from compressae_ref.segments.membership import Members
    from compressae_ref.segments.terms import Corpus, vocabulary, word_counts

    for test in suite.with_outputs("name_segments"):
        keys, segments = test.inputs["keys"], test.inputs["segments"]
        if test.inputs["method"] != "c-tf-idf":
            continue
        members = Members(keys, segments, (segments >= 0).astype(np.float32))
        corpus = Corpus(test.inputs["texts"], members, held_out(len(segments)))
        words, _ = vocabulary(corpus, test.inputs["most_words"])
        counts, in_all = word_counts(corpus, words)
        mean = int(counts.items.sum()) / len(keys)
        for s in range(len(keys)):
            own = np.flatnonzero(counts.segment == s)[::-1]
            if not len(own):
                continue
            y, f = counts.items[own], in_all[counts.term[own]]
            named = [words[j] for j in counts.term[own]]
            inputs: Values = {"words": named, "y": y, "f": f, "mean": mean, "top": NAMED}
            comment = f"{test.comment}; segment {s}"
            yield Test(f"{test.id}/{s}", "name_latent", (), comment, inputs, named_latent(**inputs))
    ties: Values = {"words": ["ant", "cat"], "y": np.array([1, 2]), "f": np.array([1, 3]), "mean": 3.0, "top": NAMED}
    comment = "equal scores, 2 ln 2 = ln 4, with other counts"
    yield Test("extra/name_latent-ties", "name_latent", (), comment, ties, named_latent(**ties))


def named_latent(words: list[str], y: Any, f: Any, mean: float, top: int) -> Values:
    """Return the best words of a latent and their scores (E43), in the order of R33."""
    from compressae_ref.segments.contrast import logarithm

    scores = y * logarithm(1.0 + mean / f)
    order = sorted(range(len(words)), key=lambda w: (-scores[w], -y[w], words[w]))[:top]
    return {"names": [words[w] for w in order], "scores": scores[order]}


# -- search and sums --------------------------------------------------------------------------------------------------


def _gather(suite: Suite) -> Iterator[Test]:
    """Yield tests with queries over the latents: those of sparse queries, and the dots of dense ones with all atoms."""
    for test in suite.with_outputs("sparse_search"):
        indices, values = test.inputs["query_indices"], test.inputs["query_values"]
        u = np.zeros((len(indices), test.inputs["n_latents"]), values.dtype)
        np.put_along_axis(u, indices, values, axis=1)
        yield _gathered(test, u)
    for test in suite.with_outputs("asymmetric_search"):
        x_unit = reference.unit_rows(test.inputs["queries"], test.inputs["values"].dtype)
        yield _gathered(test, reference.over_latents(x_unit, test.inputs["W_dec"]))


def _gathered(test: Test, u: Floats) -> Test:
    inputs = {"u": u, "indices": test.inputs["indices"], "values": test.inputs["values"]}
    return Test(f"{test.id}/gather", "gather", (), test.comment, inputs, {"scores": reference.gather(**inputs)})


def _fold_sum(suite: Suite) -> Iterator[Test]:
    """Yield tests with the products of norms and dots."""
    for test in suite.with_outputs("normalize_rows"):
        x = test.inputs["x"]
        scaled = np.ldexp(x, -np.frexp(np.abs(x).max(axis=1, keepdims=True))[1])
        yield _summed(test, "squares", scaled * scaled)
    for test in suite.with_outputs("cosine"):
        yield _summed(test, "products", test.inputs["x_unit"] * test.inputs["x_hat"])
    for test in suite.with_outputs("gradients"):
        x_unit = reference.unit_rows(test.inputs["x"], test.inputs["W_enc"].dtype)
        yield _summed(test, "products", x_unit[:, None] * test.inputs["W_enc"].T)


def _summed(test: Test, what: str, terms: Floats) -> Test:
    comment = f"{test.comment}: {what}"
    return Test(f"{test.id}/{what}", "fold_sum", (), comment, {"terms": terms}, {"sums": reference.fold_sum(terms)})


TESTS: dict[str, Callable[[Suite], Iterator[Test]]] = {
    "truncate": _direct("truncate", "indices", "values", "k"),
    "name_latent": _name_latent,
    "unit_rows": _direct("normalize_rows", "x"),
    "abs_topk": _direct("abs_topk", "pre", "k"),
    "decode": _direct("decode", "indices", "values", "W_dec"),
    "cosine": _direct("cosine", "x_unit", "x_hat"),
    "cosine_backward": _direct("cosine", "grad_cos", "x_unit", "x_hat"),
    "decode_backward": from_training.decode_backward,
    "gradients": _direct("gradients", "x", "W_enc", "b_enc", "W_dec", "k"),
    "adam": _direct("adam", "param", "grad", "m", "v", "step", "lr"),
    "renormalize": _direct("renormalize", "W_dec"),
    "project": _direct("project", "grad_W_dec", "W_dec"),
    "train_step": from_training.train_step,
    "search_sparse": _direct("sparse_search", "query_indices", "query_values", "indices", "values", "n_latents", "top"),
    "search_asymmetric": _direct("asymmetric_search", "queries", "indices", "values", "W_dec", "top"),
    "gather": _gather,
    "fold_sum": _fold_sum,
}
"""The tests of each function."""
