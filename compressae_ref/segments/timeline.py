"""Items of segments in bins of time, at sites: counted once, and added to as new items come (R36, R39)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import DomainError
from compressae_ref.segments.contrast import Doubles
from compressae_ref.segments.counts import Counts, Events, require_cells
from compressae_ref.segments.labels import as_sites, as_weights, require_rows, require_several_items, require_weight
from compressae_ref.segments.membership import Members
from compressae_ref.segments.settings import AUTO
from compressae_ref.segments.times import as_times, as_unit, bin_numbers, choose_unit, labels


class Timeline:
    """The counts of items by segment, bin and site.

    Attributes
    ----------
    counts : the sums; bin 0 is the first one
    unit, first_bin : the unit of the bins, and the number of the first one, as `times.bin_numbers` counts
    sites : names of the sites, [] if there are none
    weighted : whether the items have weights other than 1
    """

    def __init__(self, members: Members, times: Any, unit: str, weights: Any, sites: Any) -> None:
        n = len(members.segments)
        read = _times(times, n)
        self.unit = choose_unit(read) if unit == AUTO else as_unit(unit)
        bins, w = bin_numbers(read, self.unit), as_weights(weights, n)
        require_weight(w)
        self._bins, self._weights = [bins], [w]
        self.weighted = weights is not None
        of_site, self.sites = as_sites(sites, n, [])
        require_several_items(of_site, self.sites)
        self.first_bin = int(bins.min())
        shape = len(members.keys), int(bins.max()) + 1 - self.first_bin, max(1, len(self.sites))
        require_cells(*shape)
        self.counts = Counts(*shape)
        self.counts.add(Events(members.segments, bins - self.first_bin, of_site, w))

    def add(self, members: Members, times: Any, weights: Any, sites: Any) -> None:
        """Count new items after all others; nothing changes if an argument is refused."""
        self._require_same_arguments(times, weights, sites)
        n = len(members.segments)
        bins, w = bin_numbers(_times(times, n), self.unit), as_weights(weights, n) if n else np.zeros(0)
        of_site, names = as_sites(sites, n, self.sites)
        if not n:
            return
        before = max(0, self.first_bin - int(bins.min()))
        stop = max(self.first_bin + len(self.counts.totals), int(bins.max()) + 1)
        self.counts.grow(before, stop - self.first_bin + before, max(1, len(names)))
        self.first_bin, self.sites = self.first_bin - before, names
        self.counts.add(Events(members.segments, bins - self.first_bin, of_site, w))
        self._bins.append(bins)
        self._weights.append(w)

    def items(self) -> tuple[NDArray[np.int64], Doubles]:
        """Return the bin of each item, from 0, and its weight."""
        if len(self._bins) > 1:
            self._bins, self._weights = [np.concatenate(self._bins)], [np.concatenate(self._weights)]
        return self._bins[0] - self.first_bin, self._weights[0]

    def labels(self) -> list[str]:
        """Return the names of the bins."""
        return labels(self.first_bin, len(self.counts.totals), self.unit)

    def _require_same_arguments(self, times: Any, weights: Any, sites: Any) -> None:
        for name, given, used in (
            ("times", times is not None, True),
            ("weights", weights is not None, self.weighted),
            ("sites", sites is not None, bool(self.sites)),
        ):
            if given != used:
                expected, got = (name, "none") if used else (f"no {name}, as for the first items", name)
                raise DomainError(f"expected {expected}, got {got}", argument=name)


def _times(times: Any, n: int) -> Any:
    read = as_times(times)
    require_rows(len(read), n, "times")
    return read
