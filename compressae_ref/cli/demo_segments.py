"""The steps of ``demo --segments``, on dated paragraphs of the demo data."""

from __future__ import annotations

import shlex
import sys
import time

from compressae_ref.backends import Backend, get_backend
from compressae_ref.cli.demo_steps import Say
from compressae_ref.cli.progress import TrainingBar, stage
from compressae_ref.demo_data import Addresses, load_addresses
from compressae_ref.files.atomic_write import require_writable
from compressae_ref.layout import width_of
from compressae_ref.model import Model
from compressae_ref.segments.page.html import write_page
from compressae_ref.segments.segments import Segments
from compressae_ref.segments.terminal import lines
from compressae_ref.training.fit import fit

PAGE = "compressae_segments.html"
TITLE = "Messages of US presidents, 1790 to 2026"
LATENTS = 256
SHOWN_WORDS = ("panama", "slavery", "vietnam")
"""Words of names: the first segment that has one of them is shown as an example."""

OPENERS = {"darwin": "open", "win32": "start"}
"""The command that opens a page, by platform; others have xdg-open."""


def run_segments_demo(say: Say, *, page: str | None = None, backend: str | Backend | None = None) -> None:
    """Train, name the segments, print what changed over time, and write a page about all segments.

    Parameters
    ----------
    page : the file to write (default: `PAGE`)
    """
    page = PAGE if page is None else page
    require_writable(page)
    kernels, data = get_backend(backend), load_addresses()
    n, d = data.vectors.shape
    say(f"The data: {n:,} paragraphs of the annual messages of US presidents, 1790 to 2026.")
    say(f"Each has a date, the party of the president, and an embedding of {d} dimensions.")
    say(f"\n1. Train a sparse autoencoder with {LATENTS} latents, with the {kernels.name} kernels ...")
    model = _trained(data, say, kernels)
    segments = _named(data, model, say, kernels)
    facts = segments.facts(TITLE)
    say("\n3. Count the paragraphs of each segment by decade.")
    say("   Each bar is a share of all paragraphs of one decade; the tallest bar is the segment's largest share.\n")
    say("\n".join(lines(facts, sys.stdout.encoding, width_of(sys.stdout))))
    write_page(page, facts)
    command = shlex.join([OPENERS.get(sys.platform, "xdg-open"), page])
    say(f"\n4. The page {page} shows all {len(segments)} segments, with their words, paragraphs and parties.")
    say("   It needs no network. Open it in a browser, for example by:")
    say(f"   {command}")
    say("\nOn your data:")
    say("   compressae-ref train --serve segments embeddings.npy -o model.npz")
    say("   compressae-ref segments model.npz embeddings.npy --texts items.csv --time date -o report.html")


def _trained(data: Addresses, say: Say, backend: Backend) -> Model:
    started = time.perf_counter()
    with TrainingBar() as bar:
        model = fit(data.vectors, serve="segments", n_latents=LATENTS, backend=backend, callback=bar).model
    settings = model.training
    took = time.perf_counter() - started
    say(f"   {settings['steps']:,} steps of {settings['batch_size']:,} rows took {took:.0f} s, including compilation.")
    return model


def _named(data: Addresses, model: Model, say: Say, backend: Backend) -> Segments:
    say("\n2. Encode each paragraph, group the paragraphs by the strongest latent of their codes, and name the groups.")
    with stage("naming the segments"):
        segments = Segments.build(model.encode(data.vectors, backend=backend), model=model)
        segments.over_time(data.dates, sites=data.parties)
        segments.name(data.texts)
    example = next((s for s, name in enumerate(segments.names) for word in SHOWN_WORDS if word in name), 0)
    latent, sign = segments.keys[example].tolist()
    side = "positive" if sign > 0 else "negative"
    size, name = segments.sizes()[example], segments.names[example]
    say("   A name is made of words that are frequent in the group and rare elsewhere.")
    say(f"   Latent {latent} is strongest and {side} in {size:,} paragraphs, which are named: {name}.")
    return segments
