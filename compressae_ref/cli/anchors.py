"""The anchors of ``encode`` and ``push``."""

from __future__ import annotations

import argparse

from compressae_ref.cli.progress import stage
from compressae_ref.errors import naming_file
from compressae_ref.extensions.fitted_codes import Anchors
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.model import Encoder


def read_anchors(options: argparse.Namespace, model: Encoder) -> Anchors:
    """Read the file of ``--anchors``."""
    source = open_embeddings(options.anchors, ids=False, follow_links=getattr(options, "follow_links", False))
    with naming_file(options.anchors, "anchors"), stage("encoding the anchors"):
        return Anchors.read(source, model, options.k, backend=options.backend)
