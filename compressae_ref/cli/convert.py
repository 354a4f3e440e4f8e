"""The command ``convert``: convert embeddings, codes and models between file formats."""

from __future__ import annotations

import argparse
from typing import Any

from compressae_ref.cli.convert_onnx import add_onnx
from compressae_ref.cli.parser import CODES, EMBEDDINGS, add_command, add_follow_links, add_ids
from compressae_ref.cli.terminal import tell
from compressae_ref.cli.zero_rows import add_zero_rows


def add_arguments(commands: Any) -> None:
    """Declare the arguments of ``convert``."""
    details = (
        "The format of INPUT is detected from its content, the format of OUTPUT from its file extension. "
        "Ids are kept exactly if the new format can store them. Ids that cannot be kept are an error: see --ids."
    )
    summary = "Convert embeddings, codes or a model to another file format."
    command = add_command(commands, "convert", summary, details=details, backend=False)
    help_input = (
        f"{EMBEDDINGS}. Or a {CODES}, or .jsonl. Or a model: .npz, a state dict of the original code (.safetensors or "
        ".pt), or a folder of SAELens (AbsTopK) or sentence-transformers (SparseAutoEncoder)"
    )
    command.add_argument("input", metavar="INPUT", help=help_input)
    help_output = (
        "file to write. Embeddings: any of the formats above. Codes: .npz, .csr, .parquet, .arrow or .jsonl. "
        "A model: .npz, .safetensors or .pt, a folder with --to, or .onnx, a graph that other runtimes execute"
    )
    command.add_argument("-o", "--output", metavar="OUTPUT", required=True, help=help_output)
    add_ids(command)
    command.add_argument(
        "--dtype",
        choices=("float16", "float32", "float64"),
        help="round embeddings to this dtype (default: keep theirs)",
    )
    add_zero_rows(command, "embeddings", "copy them", "empty")
    command.add_argument("--n-latents", type=int, help="number of latents h of codes, if INPUT does not record it")
    command.add_argument("--k", type=int, help="entries stored per code of a model (default: as INPUT records)")
    text = (
        "write a model as a new folder OUTPUT for this program; in sentence-transformers the signs of codes are split"
    )
    add_follow_links(command)
    weights = (
        "write the weights of a model in this dtype: int8 takes about a quarter of the bytes of float32, float16 half; "
        "rounded weights are another model: encode the items again, since codes of the two models cannot be mixed "
        "(default: as INPUT stores them)"
    )
    command.add_argument("--weights", choices=("float32", "float16", "int8"), help=weights)
    only = "write a model without its decoder: encode, inspect, verify and search in sparse space read such a file"
    command.add_argument("--only", choices=("encoder",), help=only)
    command.add_argument("--to", choices=("saelens", "sentence-transformers"), help=text)
    add_onnx(command)


def run(options: argparse.Namespace) -> None:
    """Convert a file and report what was written."""
    from compressae_ref.cli.convert_steps import convert_file

    tell(f"{options.output}: {convert_file(options)}")
