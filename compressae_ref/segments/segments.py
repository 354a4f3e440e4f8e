"""`Segments`: codes read as groups of items that can be named, compared and followed over time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_real
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, DTypeError
from compressae_ref.model import Model
from compressae_ref.segments import comparisons, hierarchy, identity, trends
from compressae_ref.segments.contrast import Doubles
from compressae_ref.segments.drift import explained, low_quantile
from compressae_ref.segments.evidence import Naming, carried, named
from compressae_ref.segments.membership import Members, Rule, as_rule, concatenate, keys_of
from compressae_ref.segments.membership import assign as assign_items
from compressae_ref.segments.namer import TIMEOUT, Namer
from compressae_ref.segments.settings import AUTO, MIN_ITEMS, THRESHOLD, TOP, Assign, Method
from compressae_ref.segments.timeline import Timeline
from compressae_ref.segments.trends import RATE, Spike, Trend


class Segments:
    """Groups of items that share a signed latent of their codes (spec/segments.md). Make them with `build`.

    Attributes
    ----------
    keys : (S, 2) int32: latent and sign of each segment
    model : the model of the codes, or None
    naming : names, terms and fidelity, after `name`
    timeline : counts by segment, bin of time and site, after `over_time`
    """

    def __init__(self, rule: Rule, members: Members, codes: Codes, model: Model | None) -> None:
        self.rule, self.keys, self.model = rule, members.keys, model
        self.naming: Naming | None = None
        self.timeline: Timeline | None = None
        self.least_explained: float | None = None
        self._codes, self._members = [codes], [members]
        self._poorly_explained = self._judged = 0

    @classmethod
    def build(
        cls,
        codes: Codes,
        *,
        model: Model | None = None,
        assign: Assign = "dominant",
        top: int = TOP,
        threshold: float = THRESHOLD,
        min_items: int = MIN_ITEMS,
        embeddings: Any = None,
    ) -> Segments:
        """Find the segments of codes, and assign the items to them (R29, R30).

        Parameters
        ----------
        codes : codes of n ≥ 2 items
        model : their model; the hierarchy, neighbours and new embeddings need it
        assign : "dominant": each item has the segment of its largest entry; "top": of its ``top`` largest entries;
            "all": of all entries of at least ``threshold`` times the norm of the code
        min_items : the least items of a segment; items of smaller ones go to the next latent of their code
        embeddings : the rows of the codes, from which the model was trained: then `update` tells how many new items
            the model explains worse than its worst 5 % of these (E55)

        Raises
        ------
        DomainError
            If no segment is large enough, or if the codes come from another model.
        """
        if not isinstance(codes, Codes):
            raise DTypeError(f"expected Codes, got {type(codes).__name__}", argument="codes")
        codes = codes.to_host()
        if len(codes) < 2:
            raise DomainError(f"expected at least 2 items, got {len(codes)}", argument="codes")
        if model is not None:
            model.check_codes(codes)
        rule = as_rule(assign, top, threshold, min_items)
        keys = keys_of(codes, rule)
        if not len(keys):
            raise DomainError(
                f"expected a segment of at least {rule.min_items} items, got none among {len(codes):,} items",
                argument="min_items",
                hint="choose a smaller number",
            )
        segments = cls(rule, assign_items(codes, keys, rule), codes, model)
        if embeddings is not None:
            cosines = explained(segments.require_model("embeddings"), embeddings, codes)
            segments.least_explained = low_quantile(cosines)
        return segments

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"Segments({len(self)} segments of {self.n} items)"

    @property
    def members(self) -> Members:
        """The segments and strengths of all items."""
        if len(self._members) > 1:  # joined when they are needed, so that one more item costs no copy of all
            self._members = [concatenate(self._members)]
        return self._members[0]

    @property
    def codes(self) -> Codes:
        """The codes of all items."""
        if len(self._codes) > 1:
            self._codes = [Codes.concatenate(self._codes)]
        return self._codes[0]

    @property
    def n(self) -> int:
        """The number of items."""
        return sum(map(len, self._codes))

    @property
    def unassigned(self) -> int:
        """The number of items without a segment."""
        return int((self.members.segments[:, 0] < 0).sum())

    @property
    def names(self) -> list[str]:
        """The names of the segments; DomainError before `name`."""
        return self.require_naming().names

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of items of each segment; an item counts in each of its segments."""
        own = self.members.segments
        return np.bincount(own[own >= 0], minlength=len(self))

    def require_naming(self) -> Naming:
        """Return names, terms and fidelity; DomainError before `name`."""
        if self.naming is None:
            raise DomainError("expected segments with names, got none", argument="names", hint="call name(texts) first")
        return self.naming

    def require_model(self, what: str) -> Model:
        """Return the model; DomainError if there is none."""
        if self.model is None:
            raise DomainError(f"expected a model for {what}, got none", argument="model", hint="pass build(…, model=…)")
        return self.model

    def name(
        self,
        texts: Iterable[str | None],
        *,
        method: Method = "c-tf-idf",
        namer: Namer | None = None,
        timeout: float = TIMEOUT,
    ) -> list[str]:
        """Name the segments by the words of their items (R32 to R35), and rate each name (E43, E44).

        Parameters
        ----------
        texts : one string or None for each item, iterable several times; they are streamed
        method : how words are scored, "c-tf-idf" or "log-odds"
        namer : a function from `Evidence` to a name, such as a call of a language model; where it fails, returns no
            usable name or takes more than ``timeout`` seconds, the computed name stays, with one warning in total
        """
        self.naming = named(texts, self.members, self.codes, method=method, namer=namer, timeout=timeout)
        return self.naming.names

    def over_time(self, times: Any, *, bin: str = AUTO, weights: Any = None, sites: Any = None) -> Timeline:
        """Count the items by bin of time, and by site (E45).

        Parameters
        ----------
        times : a date or time for each item (see `times.as_times`)
        bin : one of `times.UNITS` from "hour" to "century", or "auto": the largest that gives at least 8 bins
        weights : a finite number of at least 0 for each item, such as its readers (default: 1)
        sites : a name for each item, such as its publisher (default: one site)
        """
        self.timeline = Timeline(self.members, times, bin, weights, sites)
        return self.timeline

    def update(
        self, items: Any, *, times: Any = None, weights: Any = None, sites: Any = None
    ) -> NDArray[np.int32]:  # fmt: skip
        """Assign new items to the segments and count them; return their segments (n, m).

        One by one or all at once, the counts have the same bits. ``items`` are codes, or embeddings, which the model
        encodes. ``times``, and ``weights`` and ``sites``, are needed if the segments are counted over time by them.
        """
        codes = items.to_host() if isinstance(items, Codes) else self.require_model("embeddings").encode(items)
        self._require_like(codes)
        members = assign_items(codes, self.keys, self.rule)
        judged = self.least_explained is not None and not isinstance(items, Codes)
        cosines = explained(self.require_model("embeddings"), items, codes) if judged else np.zeros(0)
        if self.timeline is not None:
            self.timeline.add(members, times, weights, sites)
        if self.least_explained is not None:
            self._poorly_explained += int((cosines < self.least_explained).sum())
            self._judged += len(cosines)
        self._codes.append(codes)
        self._members.append(members)
        return members.segments

    @property
    def unexplained(self) -> float:
        """The share of new embeddings that the model explains worse than 95 % of its training data; NaN without any.

        It is about 0.05 while new items are like the old ones. If it rises, train again (E55).
        """
        return self._poorly_explained / self._judged if self._judged else float("nan")

    def trends(self, q: float = RATE) -> list[Trend]:
        """Classify each segment: rising, falling, peak, new, gone or steady, at the false-discovery rate q (R37)."""
        return trends.trends(self.require_timeline().counts, as_real(q, "q", 1))

    def spikes(self, q: float = RATE) -> list[Spike]:
        """Return the bins in which segments have far more items than in the others (E49), the largest z first."""
        return trends.spikes(self.require_timeline().counts, as_real(q, "q", 1))

    def by_site(self, q: float = RATE) -> comparisons.BySite:
        """Contrast each site with all others (E50)."""
        timeline = self.require_timeline()
        if len(timeline.sites) < 2:
            raise DomainError(f"expected at least 2 sites, got {len(timeline.sites)}", argument="sites")
        return comparisons.by_site(timeline.counts, as_real(q, "q", 1))

    def site_shares(self) -> Doubles:
        """Return the share of each segment in each bin and site, shrunk to that of the bin: (S, bins, sites) (E50)."""
        return comparisons.site_shares(self.require_timeline().counts)

    def hidden(self, q: float = RATE) -> comparisons.Hidden:
        """Find segments of few items with more weight than expected (E51)."""
        timeline = self.require_timeline()
        if not timeline.weighted:
            raise DomainError("expected weights, got none", argument="weights", hint="pass over_time(…, weights=…)")
        return comparisons.hidden(timeline.counts, as_real(q, "q", 1))

    def together(self) -> comparisons.Together:
        """Contrast the items that store each segment's latent with those that do not (E52)."""
        return comparisons.together(self.codes, self.keys)

    def require_timeline(self) -> Timeline:
        """Return the timeline; DomainError before `over_time`."""
        if self.timeline is None:
            raise DomainError("expected times, got none", argument="times", hint="call over_time(times) first")
        return self.timeline

    def _require_like(self, codes: Codes) -> None:
        """Refuse codes that cannot be added to those of the segments."""
        first = self._codes[0]
        if self.model is not None:
            self.model.check_codes(codes)
        if (codes.n_latents, codes.k, codes.model) != (first.n_latents, first.k, first.model):
            raise DomainError(f"expected codes like {first!r}, got {codes!r}", argument="codes")

    def atoms(self) -> Doubles:
        """Return the signed unit atoms of the segments: (S, d)."""
        return hierarchy.signed_atoms(self.require_model("atoms").params, self.keys)

    @cached_property
    def cosines(self) -> Doubles:
        """The cosines of all atoms with each other, (S, S): the keys and the model of segments stay the same."""
        atoms = self.atoms()
        return hierarchy.cosines(atoms, atoms)

    def groups(self, n_groups: int) -> NDArray[np.int64]:
        """Return the group of each segment in a cut of the hierarchy (E53, R38)."""
        return hierarchy.cut(hierarchy.linkage(self.cosines), n_groups)

    def match(self, earlier: Segments) -> identity.Match:
        """Match these segments with those of an earlier model, built from the same items in the same order (E54)."""
        atoms = None
        if self.model is not None and earlier.model is not None and self.model.params.d == earlier.model.params.d:
            atoms = self.atoms(), earlier.atoms()
        own, old = self.members.segments, earlier.members.segments
        return identity.match(own, old, (len(self), len(earlier)), atoms)

    def carry_names(self, earlier: Segments, confidence: float = identity.CONFIDENCE) -> identity.Match:
        """Take the names of matched segments of an earlier model, if they share enough items; return the matches (E54).

        Call `name` first. ``confidence`` is the least Jaccard index of the items of two segments.
        """
        found, names, naming = self.match(earlier), earlier.names, self.require_naming()
        kept = found.confidence >= as_real(confidence, "confidence", 1, zero_too=True)
        pairs = zip(found.new[kept].tolist(), found.old[kept].tolist(), strict=True)
        self.naming = carried(naming, {new: names[old] for new, old in pairs}, self.keys)
        return found

    def facts(self, title: str = "Segments", n_groups: int | None = None) -> dict[str, Any]:
        """Return everything that a report shows, for JSON.

        Raises
        ------
        DomainError
            If the segments are counted over time, and all weight is in one bin.
        """
        from compressae_ref.segments.facts import facts

        return facts(self, title, n_groups)

    def report(self, path: str | Path, title: str = "Segments") -> None:
        """Write the facts as one HTML page, which needs no network."""
        from compressae_ref.segments.page.html import write_page

        write_page(path, self.facts(title))
