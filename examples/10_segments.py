"""Codes read as segments: groups of items that get names, are followed over time, and grow as new items come.

Run it with ``python examples/10_segments.py``. It uses dated texts of the demo data and takes seconds.
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
    print(f"1. {len(segments)} segments of {segments.n:,} paragraphs of US presidents. The largest: {largest!r}.\n")
    return segments


def follow(segments: Segments, data: Addresses) -> None:
    print("2. Trends. The share of these segments differs most between their window of decades and the others:")
    labels, trends = segments.timeline.labels(), segments.trends()
    for s in sorted(range(len(trends)), key=lambda s: -trends[s].z)[:8]:
        start, stop = labels[trends[s].start], labels[trends[s].stop - 1]
        print(f"   {trends[s].kind:<8} {start}-{stop}  {trends[s].ratio:6.1f} times  {segments.names[s]}")
    spike = segments.spikes()[0]
    name, text = segments.names[spike.segment], data.texts[spike.largest_item][:50]
    print(f"\n   The clearest spike in the {labels[spike.bin]}: {name}, such as {text!r} ...\n")


def update(segments: Segments, data: Addresses, model: Model, codes: Codes) -> None:
    both = [next(row for row, text in enumerate(data.texts) if "Vietnam" in text), 0]
    batch = Segments.build(codes, model=model)
    batch.over_time(data.dates, bin="decade", sites=data.parties)
    print("3. Two new items come, one by one:")
    for row in both:
        new = segments.update(data.vectors[[row]], times=data.dates[[row]], sites=[data.parties[row]])
        print(f"   {data.texts[row][:40]!r} is in the segment {segments.names[new[0, 0]]!r}.")
    batch.update(codes[both], times=data.dates[both], sites=[data.parties[i] for i in both])
    same = np.array_equal(batch.timeline.counts.weights, segments.timeline.counts.weights)
    print(f"   The counts, compared with those of both as a batch: {'the same' if same else 'DIFFERENT'}.\n")


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
        segments.report(Path(folder) / "report.html", "Messages of US presidents")
        print(f"   report.html: {(Path(folder) / 'report.html').stat().st_size:,} bytes, which open without a network")


if __name__ == "__main__":
    main()
