"""Codes read as segments: groups of items that get names, are followed over time, and grow as new items come.

Run it with ``python examples/09_segments.py``. It uses dated texts of the demo data and takes seconds.

Equations: E39 to E43, E45 to E49, R29 to R37, R39. Pages of spec/: segments.md, segment-names.md. Chapter: examples/learn/1_what_a_code_is.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compressae_ref import Codes, Model, Segments, fit
from compressae_ref.demo_data import Addresses, load_addresses
from compressae_ref.segments.namer import Evidence


def build(data: Addresses, model: Model, codes: Codes) -> Segments:
    segments = Segments.build(codes, model=model)
    segments.name(data.texts)
    segments.over_time(data.dates, bin="decade", sites=data.parties)
    largest = segments.names[int(segments.sizes().argmax())]
    print(f"1. {len(segments)} segments of {segments.n:,} paragraphs of US presidents. The largest: {largest}\n")
    return segments


def follow(segments: Segments, data: Addresses) -> None:
    print("2. Trends: how many times as frequent a segment is in its window of decades as outside it")
    labels, trends = segments.timeline.labels(), segments.trends()
    for s in sorted(range(len(trends)), key=lambda s: -trends[s].z)[:8]:
        start, stop = labels[trends[s].start], labels[trends[s].stop - 1]
        print(f"   {trends[s].kind:<8} {start}-{stop} {trends[s].ratio:5.1f}  {segments.names[s]}")
    spike = segments.spikes()[0]
    name, text = segments.names[spike.segment], data.texts[spike.largest_item][:50]
    print(f"   The clearest spike in the {labels[spike.bin]}: {name}, such as {text!r} ...\n")


def update(segments: Segments, data: Addresses, model: Model, codes: Codes) -> None:
    """Add two items one by one, and compare the counts with those of both as a batch."""
    both = [next(row for row, text in enumerate(data.texts) if "Vietnam" in text), 0]
    batch = Segments.build(codes, model=model)
    batch.over_time(data.dates, bin="decade", sites=data.parties)
    batch.update(codes[both], times=data.dates[both], sites=[data.parties[i] for i in both])
    new = [segments.update(data.vectors[[i]], times=data.dates[[i]], sites=[data.parties[i]])[0, 0] for i in both]
    same = np.array_equal(batch.timeline.counts.weights, segments.timeline.counts.weights)
    print(f"3. A new item about Vietnam joins {segments.names[new[0]]!r}. One by one equals a batch: {same}\n")


def own_namer(evidence: Evidence) -> str:
    """Stand for a call of a language model, which would get `evidence.prompt()`."""
    return " ".join(evidence.terms[:2]).title()


def main() -> None:
    data = load_addresses()
    model = fit(data.vectors, serve="segments", n_latents=256, steps=300).model
    codes = model.encode(data.vectors)
    segments = build(data, model, codes)
    follow(segments, data)
    update(segments, data, model, codes)
    print(f"4. Names of your own function: {segments.name(data.texts + data.texts[:2], namer=own_namer)[:2]}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"  # one file, which needs no network
        segments.report(report, "Messages of US presidents")
        print(f"   {report.name}: {report.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
