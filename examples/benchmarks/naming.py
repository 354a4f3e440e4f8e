"""How good the names of segments are: fidelity, diversity and coherence, beside those of k-means groups."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import log

import numpy as np

from benchmarks.measure import head, line, load
from compressae_ref import fit
from compressae_ref.arrays import Floats
from compressae_ref.errors import DomainError
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.reference import unit_rows
from compressae_ref.segments.membership import Members, Rule, assign, keys_of
from compressae_ref.segments.names import Names, name_segments
from compressae_ref.segments.words import words_of

TERMS = 10


def naming(options: argparse.Namespace) -> None:
    """Names by both methods of the segments of one model for each seed, and of k-means groups; means over seeds.

    Diversity: the share of different terms among the ten best of all groups. NPMI: the mean of log(p(a, b) / p(a) p(b)) /
    −log p(a, b) over pairs of these terms, with the texts as the corpus; words that never meet have −1.
    """
    x, texts = load(options.embeddings), list(open_table(options.texts).texts(options.text))
    if len(texts) != len(x):
        raise DomainError(f"expected {len(x):,} texts, got {len(texts):,}", argument="texts")
    head("groups by", "names", "groups", "distinct", "recall", "precision", "F1", "diversity", "NPMI", text=2)
    kinds = {"segments": _segments(options)} | ({"k-means": _k_means(options)} if options.starts else {})
    for by, members_of in kinds.items():
        groups = [members_of(x, seed) for seed in options.seeds]
        for method in ("c-tf-idf", "log-odds"):
            figures = [_figures(name_segments(texts, members, method=method), texts) for members in groups]
            mean = np.mean(figures, axis=0)
            line(by, method, f"{mean[0]:.0f}", *(f"{value:.3f}" for value in mean[1:]))


def _segments(options: argparse.Namespace):
    def members(x: Floats, seed: int) -> Members:
        settings = {"n_latents": options.latents[0], "k": options.k[0], "seed": seed}
        codes = fit(x, serve="segments", **settings).model.encode(x)
        return assign(codes, keys_of(codes, Rule()), Rule())

    return members


def _k_means(options: argparse.Namespace):
    def members(x: Floats, seed: int) -> Members:
        from sklearn.cluster import KMeans

        count = len(_segments(options)(x, seed).keys)
        found = KMeans(count, n_init=options.starts, random_state=seed).fit_predict(unit_rows(x, np.float32))
        keys = np.stack([np.arange(count), np.ones(count)], axis=1).astype(np.int32)
        return Members(keys, found.astype(np.int32)[:, None], np.ones((len(x), 1), np.float32))

    return members


def _figures(names: Names, texts: Sequence[str | None]) -> list[float]:
    terms = [[term.term for term in own if " " not in term.term][:TERMS] for own in names.terms]
    everything = [term for own in terms for term in own]
    rates = [float(np.nanmean(rate)) for rate in (names.recall, names.precision, names.f1)]
    diversity = len(set(everything)) / len(everything)
    return [len(terms), len(set(names.names)) / len(terms), *rates, diversity, _coherence(terms, texts)]


def _coherence(terms: list[list[str]], texts: Sequence[str | None]) -> float:
    wanted = {term for own in terms for term in own}
    pairs = {pair for own in terms for pair in combinations(sorted(own), 2)}
    partners: dict[str, set[str]] = {}
    for a, b in pairs:
        partners.setdefault(a, set()).add(b)
    single, both = Counter[str](), Counter[tuple[str, str]]()
    for text in texts:
        found = wanted & set(words_of(text or ""))
        single.update(found)
        both.update((a, b) for a in found for b in partners.get(a, set()) & found)
    n, of_groups = len(texts), []
    for own in terms:
        values = [_npmi(single[a] / n, single[b] / n, both[a, b] / n) for a, b in combinations(sorted(own), 2)]
        of_groups.append(np.mean(values) if values else np.nan)
    return float(np.nanmean(of_groups))


def _npmi(p_a: float, p_b: float, p_both: float) -> float:
    return -1.0 if p_both == 0 else 1.0 if p_both == 1 else log(p_both / (p_a * p_b)) / -log(p_both)
