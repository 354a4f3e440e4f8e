"""What the parsers of several commands have in common: help texts and groups of options."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from compressae_ref.backends import BACKENDS
from compressae_ref.training.settings import CHOICES, PRESETS, TrainConfig

STORE = (
    "edge:FOLDER, qdrant://HOST:PORT/COLLECTION, postgresql://HOST/DATABASE?table=TABLE, milvus:FILE?collection=NAME; "
    "?dense=NAME, or &dense=NAME, is the field of the dense vectors where there are several"
)
"""Addresses of stores."""

SETTINGS = {
    "n_latents": (int, "latents h, the length of a code written out; default: 4096, or fewer for few rows"),
    "k": (int, "entries stored per code"),
    "init": (str, "initial values"),
    "batch_size": (int, "rows per step"),
    "steps": (int, "Adam steps; default: from the number of rows"),
    "lr": (float, "learning rate at its height"),
    "warmup_steps": (int, "steps over which the learning rate rises"),
    "decay": (str, "how the learning rate falls"),
    "validation_rows": (int, "rows held out; default: one in twenty, at most 2,000"),
    "patience": (int, "stop after so many records (of 20) without a better validation cosine"),
    "seed": (int, "of the random generator"),
    "dtype": (str, "of the model; default: that of the data"),
}

EMBEDDINGS = (
    "one embedding per row: .npy, .npz, .fbin, .fvecs, .bvecs, .safetensors, .hdf5, .parquet, .arrow; FILE::NAME is "
    "one of several; - reads .npy or .npz from a pipe"
)
CODES = "codes: .npz, packed or not, SciPy's .npz, .csr, .parquet, .arrow"


def add_command(
    commands: Any, name: str, help_line: str, *, backend: bool = True, more_backends: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add a command with its one line of help and, unless it runs no kernels, ``--backend``."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=help_line, description=help_line)
    command.set_defaults(command=name)
    if backend:
        text = "where the kernels run; the results are the same to the bit (default: numba where it is installed)"
        command.add_argument("--backend", choices=(*BACKENDS, *more_backends), help=text)
    return command


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add the settings of the training, one option for each."""
    command.add_argument("--preset", choices=sorted(PRESETS), help="named settings; single ones below override them")
    for name, (kind, text) in SETTINGS.items():
        default = getattr(TrainConfig, name)
        shown = text if default is None or "default" in text else f"{text} (default: {default})"
        choices = [choice for choice in CHOICES[name] if choice] if name in CHOICES else None
        command.add_argument(f"--{name.replace('_', '-')}", type=kind, choices=choices, help=shown)


def add_pushed(command: argparse.ArgumentParser) -> None:
    """Add the options that, beside the space, tell codes in a store from others of the same model."""
    command.add_argument("--k", type=int, help="codes in a store: entries stored per code (default: the model's own k)")
    text = "codes in a store: by matching pursuit, as encode --refine makes them"
    command.add_argument("--refine", action="store_true", help=text)
    text = "codes in a store: name of their field (default: one that names the model and the settings)"
    command.add_argument("--field", metavar="NAME", help=text)
