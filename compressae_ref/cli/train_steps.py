"""The training steps that ``train`` and ``pull`` share."""

from __future__ import annotations

import argparse
import math

from compressae_ref.cli.parser import SETTINGS
from compressae_ref.cli.progress import TrainingBar
from compressae_ref.cli.terminal import tell
from compressae_ref.errors import naming_file
from compressae_ref.files.model_file import save_model
from compressae_ref.row_source import RowSource
from compressae_ref.training.fit import fit


def train_and_save(source: RowSource, name: str, options: argparse.Namespace) -> None:
    """Train on the rows of a source and write the model to ``options.output``.

    Parameters
    ----------
    name : name of the source in error messages
    options : the output, and the settings of `parser.SETTINGS`
    """
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    with TrainingBar() as bar, naming_file(name):
        result = fit(source, preset=options.preset, backend=options.backend, callback=bar, **settings)
    save_model(options.output, result.model)
    record = result.record
    cosine = "" if math.isnan(record.validation_cosine) else f"validation cosine {record.validation_cosine:.4f}, "
    tell(f"{options.output}: {cosine}{record.dead_latents} dead latents")
