"""The arguments of the commands that make, convert and search codes."""

from __future__ import annotations

from typing import Any

from compressae_ref.backends.numpy.bit_packing import BITS
from compressae_ref.cli.arguments_common import CODES, EMBEDDINGS, STORE, add_command, add_pushed, add_settings
from compressae_ref.retrieval.spaces import SPACES


def add_train(commands: Any) -> None:
    """``train``."""
    command = add_command(commands, "train", "Train a model on embeddings.")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument("-o", "--output", metavar="MODEL", required=True, help="model file to write (.npz)")
    add_settings(command)


def add_encode(commands: Any) -> None:
    """``encode``."""
    command = add_command(commands, "encode", "Encode embeddings into sparse codes.")
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("embeddings", metavar="EMBEDDINGS", help=EMBEDDINGS)
    command.add_argument(
        "-o",
        "--output",
        metavar="CODES",
        required=True,
        help="codes file to write: .npz (CSR for SciPy), .csr, .parquet, .arrow, .jsonl (points for Qdrant)",
    )
    command.add_argument("--k", type=int, help="entries stored per code (default: the model's own k)")
    text = "choose the atoms by matching pursuit and their values by least squares: better where reconstructions count"
    command.add_argument("--refine", action="store_true", help=text)
    text = "with --refine, latents to choose from (default: four times k)"
    command.add_argument("--candidates", metavar="M", type=int, help=text)
    text = "what to do with rows of zeros: stop, or give them codes of zeros (default: error)"
    command.add_argument("--zero-rows", choices=("error", "empty"), default="error", help=text)
    text = (
        "encode on a Dask cluster, into a folder CODES of parts: address of its scheduler, or local:N for N processes "
        "here; run again, it makes only the parts that are not there"
    )
    command.add_argument("--dask", metavar="ADDRESS", help=text)
    text = "with --dask, rows of a part (default: 131072)"
    command.add_argument("--part-rows", type=int, metavar="N", help=text)


def add_pack(commands: Any) -> None:
    """``pack``."""
    command = add_command(
        commands, "pack", "Store codes in few bytes; every command that takes codes takes packed ones, too."
    )
    command.add_argument("codes", metavar="CODES", help="codes file")
    command.add_argument("-o", "--output", metavar="PACKED", required=True, help="file of packed codes to write (.npz)")
    command.add_argument("--bits", type=int, choices=BITS, default=5, help="bits of a value (default: 5)")
    command = add_command(
        commands, "unpack", "Turn packed codes into a codes file, with values as precise as they were kept."
    )
    command.add_argument("packed", metavar="PACKED", help="file of packed codes")
    command.add_argument("-o", "--output", metavar="CODES", required=True, help="codes file to write (.npz)")


def add_split_signs(commands: Any) -> None:
    """``split-signs``."""
    text = (
        "Turn codes into codes over twice as many dimensions without negative values, for engines that refuse those: "
        "positive ones of latent j at 2j, the magnitudes of negative ones at 2j + 1. Queries are split, too."
    )
    command = add_command(commands, "split-signs", text, backend=False)
    command.add_argument("codes", metavar="CODES", help="codes file")
    command.add_argument("-o", "--output", metavar="SPLIT", required=True, help="codes file to write (.npz)")


def add_search(commands: Any) -> None:
    """``search``."""
    text = "Find the nearest items to each query, exactly, by cosine; --store asks a vector database, before and after."
    command = add_command(commands, "search", text)
    command.add_argument("model", metavar="MODEL", help="model file")
    command.add_argument("codes", metavar="CODES", help=f"of the items; {CODES}; with --store: {STORE}")
    command.add_argument("queries", metavar="QUERIES", help=f"embeddings to ask with: {EMBEDDINGS}")
    command.add_argument("--top", type=int, default=10, help="neighbours per query (default: 10)")
    command.add_argument(
        "--space",
        choices=SPACES,
        default="sparse",
        help="sparse: code against code; reconstructed: their reconstructions; "
        "asymmetric: the dense query against reconstructions; expanded: the largest entries of that query over the "
        "latents, as engines for sparse vectors take it (default: sparse)",
    )
    text = (
        "entries of a query's code; more find more, and nothing is stored for it (default: as the items; expanded: "
        "8 times as many)"
    )
    command.add_argument("--query-k", type=int, help=text)
    text = "take so many best items in that space, and of these the best in the asymmetric one"
    command.add_argument("--rescore", type=int, metavar="N", help=text)
    text = "CODES is a vector database: ask it in its dense field, and in the codes that push wrote there"
    command.add_argument("--store", action="store_true", help=text)
    add_pushed(command)
    command.add_argument("--json", action="store_true", help="one JSON object per query")


def add_convert(commands: Any) -> None:
    """``convert``."""
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
