"""The end of the ``--help`` of each command: command lines, and before them what to change first."""

from __future__ import annotations

EXAMPLES_TITLE = "examples:"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "choose": (
        "choose model.npz items.npy queries.npy --bytes 56",
        "choose items.parquet --recall 0.85 --picture frontier.png",
    ),
    "demo": ("demo", "demo --segments"),
    "train": ("train items.parquet -o model.npz", "train items.npy -o model.npz --serve dense --k 64"),
    "encode": (
        "encode model.npz items.parquet -o codes.npz",
        "encode --bytes 98 model.npz items.npy -o codes98.npz",
    ),
    "pack": ("pack refined.npz -o packed.npz", "pack codes.npz -o packed.npz --bits 4"),
    "unpack": ("unpack packed.npz -o codes.npz", "unpack codes98.npz -o codes.npz"),
    "split-signs": ("split-signs codes.npz -o unsigned.npz", "split-signs codes.npz -o unsigned.csr"),
    "search": (
        "search model.npz codes.npz queries.npy --top 10",
        "search model.npz packed.npz queries.npy --space asymmetric --json",
        "search model.npz 'postgresql://localhost/shop?table=items' queries.npy --store",
    ),
    "convert": (
        "convert model.npz -o model.safetensors",
        "convert items.parquet -o items.npy --dtype float16",
        "convert model.npz -o small.npz --weights int8 --only encoder",
        "convert model.npz -o encoder.onnx",
    ),
    "pull": (
        "pull 'postgresql://localhost/shop?table=items' -o model.npz",
        "pull edge:shard -o model.npz --keep items.npz",
    ),
    "push": (
        "push model.npz 'postgresql://localhost/shop?table=items'",
        "push model.npz qdrant://localhost:6333/items --space expanded --refine",
        "push model.npz 'postgresql://localhost/shop?table=items' --from new.npz --dry-run",
    ),
    "evaluate": (
        "evaluate model.npz items.npy queries.npy",
        "evaluate model.npz items.npy queries.npy --bits 5 --baselines --picture frontier.png",
        "evaluate model.npz 'postgresql://localhost/shop?table=items' queries.npy --store",
    ),
    "report": (
        "report model.npz items.npy queries.npy -o report.html",
        "report model.npz items.parquet -o report.html --texts items.parquet --text title",
    ),
    "segments": (
        "segments model.npz items.npy -o report.html --texts items.csv --text title",
        "segments model.npz items.npy --texts items.csv --time date --bin month --json",
    ),
    "inspect": ("inspect model.npz", "inspect items.parquet --json"),
    "verify": (
        "verify model.npz items.npy codes.npz",
        "verify --program ./my_encoder --level L2",
        "verify --student my_solution.py --exercise 3",
        "verify model.npz 'postgresql://localhost/shop?table=items' --store",
    ),
}
"""By command: arguments after ``compressae-ref``."""


FIRST: dict[str, tuple[str, ...]] = {
    "train": (
        "what to change first:",
        "  --serve dense: if no query is sparse; then dense queries have higher recall",
        "  --k: entries per code; more keep more of each vector and take more bytes",
        "  --n-latents: more help dense queries, and train and encode more slowly",
        "  --steps: more train longer and reconstruct better; --seed: another model",
    ),
}
"""By command: the options that matter most, and what they trade."""


def epilog(command: str) -> str | None:
    """Return the end of the help of a command."""
    lines = [f"  compressae-ref {arguments}" for arguments in EXAMPLES.get(command, ())]
    first = FIRST.get(command, ())
    return "\n".join([*first, *([""] if first else []), *([EXAMPLES_TITLE, *lines] if lines else [])]) or None
