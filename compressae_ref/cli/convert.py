"""The command ``convert``: embeddings, codes and models in another file format."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.parser import CODES, EMBEDDINGS, add_command
from compressae_ref.cli.terminal import tell


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``convert``."""
    text = (
        "Turn embeddings, codes or a model from one file format into another: what INPUT is, its content says; what to "
        "write, the end of the name of OUTPUT."
    )
    command = add_command(commands, "convert", text, backend=False)
    help_input = (
        f"embeddings ({EMBEDDINGS}); {CODES}, .jsonl; a model: .npz, the original's state dict (.safetensors, .pt), "
        "a folder of SAELens' AbsTopK or of sentence-transformers' SparseAutoEncoder"
    )
    command.add_argument("input", metavar="INPUT", help=help_input)
    help_output = "embeddings: as above; codes: .npz, .csr, .parquet, .arrow, .jsonl; a model: .npz, .safetensors, .pt"
    command.add_argument("-o", "--output", metavar="OUTPUT", required=True, help=help_output)
    command.add_argument("--ids", metavar="FILE", help="embeddings, codes: a text with an id for each row, one a line")
    command.add_argument("--dtype", choices=("float16", "float32", "float64"), help="embeddings: round to this")
    command.add_argument("--n-latents", type=int, help="codes: latents h, for formats that do not say it")
    command.add_argument("--k", type=int, help="model: entries stored per code, for weights that do not say it")
    text = "model: write a new folder OUTPUT for this program; sentence-transformers gets codes with split signs"
    command.add_argument("--to", choices=("saelens", "sentence-transformers"), help=text)


def run(options: argparse.Namespace) -> None:
    """Convert a file and say what was written."""
    from compressae_ref.cli.convert_steps import convert_file

    tell(f"{options.output}: {convert_file(options)}")
