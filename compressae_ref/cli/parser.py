"""Help texts and options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from compressae_ref.backends import BACKENDS
from compressae_ref.cli.examples import EXAMPLES_TITLE, epilog
from compressae_ref.layout import fitted
from compressae_ref.training.settings import CHOICES, DEFAULT_SERVE, PRESETS, SERVE, TrainConfig

EMBEDDINGS = (
    "file with one embedding per row (.npy, .npz, .fbin, .u8bin, .i8bin, .fvecs, .bvecs, .safetensors, .hdf5, "
    ".parquet, .arrow, .csv, .tsv or .jsonl), or a folder or a pattern such as 'part-*.parquet' of such files; "
    "FILE::NAME selects one array or column of several; - reads a .npy or .npz file from standard input"
)
CODES = "codes file (.npz, also packed or a CSR matrix of SciPy; .csr, .parquet or .arrow)"
MODEL = "model file (.npz), as train writes it"
NEW_MODEL = "model file to write (.npz)"
STORE = (
    "address of a vector database: edge:FOLDER, qdrant://HOST:PORT/COLLECTION, "
    "postgresql://HOST/DATABASE?table=TABLE or milvus:FILE?collection=NAME; add ?dense=NAME (after another parameter: "
    "&dense=NAME) to select one of several dense fields. Passwords: PGPASSWORD or ~/.pgpass, QDRANT_API_KEY, "
    "MILVUS_TOKEN"
)

SETTINGS = {
    "n_latents": int,
    "k": int,
    "init": str,
    "batch_size": int,
    "steps": int,
    "lr": float,
    "objective": str,
    "similarity_weight": float,
    "temperature": float,
    "warmup_steps": int,
    "decay": str,
    "validation_rows": int,
    "patience": int,
    "seed": int,
    "dtype": str,
    "center": bool,
}
"""Settings of `TrainConfig` that are options, and their types. A bool is an option without a value."""


class _Help(argparse.HelpFormatter):
    """Does not wrap the examples at the end, so that they can be copied. Lines before them are wrapped one by one."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        before, title, examples = text.rpartition(EXAMPLES_TITLE)
        if not title:
            return super()._fill_text(text, width, indent)
        return fitted(before, width) + title + examples


def add_command(
    commands: Any,
    name: str,
    summary: str,
    *,
    details: str = "",
    backend: bool = True,
    more_backends: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a command with its `examples` and ``--quiet``, and with ``--backend`` unless it runs no kernels.

    Parameters
    ----------
    summary : one sentence for the list of commands
    details : further sentences, which only the help of the command itself shows
    more_backends : values of ``--backend`` that only this command takes
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary} {details}", epilog=epilog(name), formatter_class=_Help
    )
    command.set_defaults(command=name, parser=command)
    text = "print no messages and no progress to standard error; errors, warnings and results remain"
    command.add_argument("-q", "--quiet", action="store_true", help=text)
    if backend:
        text = "which kernels to run; the results are bit-identical (default: numba if it is installed, else numpy)"
        command.add_argument("--backend", choices=(*BACKENDS, *more_backends), help=text)
    return command


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add ``--serve``, ``--preset`` and one option for each of `SETTINGS`, with its description in `TrainConfig`."""
    text = (
        "what the codes are for; sparse or both, which are the same settings: search with sparse queries, and with "
        "dense ones; dense: dense queries alone; segments: groups of items "
        f"(default: {DEFAULT_SERVE}, unless --preset or --objective is given)"
    )
    command.add_argument("--serve", choices=list(SERVE), help=text)
    presets = "; ".join(
        f"{name}: {', '.join(f'{setting} {value}' for setting, value in settings.items())}"
        for name, settings in PRESETS.items()
    )
    text = f"start from these settings in place of the defaults ({presets}); single options override them"
    command.add_argument("--preset", choices=sorted(PRESETS), help=text)
    for setting in fields(TrainConfig):
        if setting.name not in SETTINGS:
            continue
        text, flag = _with_defaults(setting.name, setting.metadata["help"]), f"--{setting.name.replace('_', '-')}"
        if SETTINGS[setting.name] is bool:
            command.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        choices = [choice for choice in CHOICES[setting.name] if choice] if setting.name in CHOICES else None
        command.add_argument(flag, type=SETTINGS[setting.name], choices=choices, help=text)


def _with_defaults(name: str, text: str) -> str:
    """Append the default of a setting, and those that another ``--serve`` or ``--objective`` gives it."""
    plain = getattr(TrainConfig, name)
    default = SERVE[DEFAULT_SERVE].get(name, plain)
    others = {f"--serve {way}": group.get(name, plain) for way, group in SERVE.items()}
    others["--objective reconstruct"] = plain
    differing = [f"{value} with {way}" for way, value in others.items() if value != default and name != "objective"]
    if plain is None or SETTINGS[name] is bool:
        return "; ".join([text, *differing])
    return f"{text} (default: {', '.join([str(default), *differing])})"


def add_checkpoints(command: argparse.ArgumentParser) -> None:
    """Add the options of interrupted and repeated trainings."""
    text = (
        "file from which --resume continues after an interruption; it is kept at the end (default: MODEL.checkpoint, "
        "if the training is expected to take longer than the time of --every; deleted when the model is written)"
    )
    command.add_argument("--checkpoint", metavar="FILE", help=text)
    text = (
        "time between two checkpoints; Ctrl-C and SIGTERM write one, too (default: 10, or longer if writing would take "
        "more than 1 %% of the time)"
    )
    command.add_argument("--every", type=float, metavar="MINUTES", help=text)
    text = (
        "continue from a checkpoint, with its settings, on the same data; the model is the same file, byte for byte, "
        "as without the interruption"
    )
    command.add_argument("--resume", metavar="FILE", help=text)
    text = "start from the parameters of a model, for example when data have been added; --init is then refused"
    command.add_argument("--start", metavar="MODEL", help=text)


def add_pushed(command: argparse.ArgumentParser, when: str = "", *, k: bool = True) -> None:
    """Add the options that tell a field of codes in a store from other fields of the same model and space.

    Parameters
    ----------
    when : a condition to put before each help text, such as "with --store, "
    k : if False, leave out ``--k``, which the command has already
    """
    if k:
        command.add_argument("--k", type=int, help=f"{when}entries stored per code (default: the model's k)")
    text = "use refined codes: atoms chosen by matching pursuit, values by least squares"
    command.add_argument("--refine", action="store_true", help=when + text)
    text = "name of the field of the codes (default: a name made from the model and the settings)"
    command.add_argument("--field", metavar="NAME", help=when + text)


def add_anchors(command: argparse.ArgumentParser, example: str = "EMBEDDINGS itself") -> None:
    """Add ``--anchors``. ``example``: what may be such a file."""
    text = (
        f"file of embeddings like the queries to expect, such as {example}: fit the codes to their sparse "
        "queries, for search in sparse space; slower. Up to 40,960 rows are used, evenly spaced"
    )
    command.add_argument("--anchors", metavar="FILE", help=text)


def add_follow_links(command: argparse.ArgumentParser) -> None:
    """Add ``--follow-links``."""
    text = "read data that an HDF5 file stores in other files; without it such files are refused"
    command.add_argument("--follow-links", action="store_true", help=text)


def add_ids(command: argparse.ArgumentParser) -> None:
    """Add ``--ids`` and ``--id-column``."""
    text = (
        "where the ids are: ::NAME for an array or column of the input; none to leave ids out; or a file with one id "
        "per row, a text file with one per line or a .npy (default: the column id, ids or _id; else the first with a "
        "name such as product_id; else, in tables, the only one of different integers or strings; it is reported)"
    )
    command.add_argument("--ids", metavar="IDS", help=text)
    command.add_argument("--id-column", metavar="NAME", help="the column or array of the ids: short for --ids ::NAME")


def add_query_ids(command: argparse.ArgumentParser) -> None:
    """Add ``--query-ids``."""
    text = (
        "where the ids of the queries are, which the results then show: ::NAME for a column or array of QUERIES; none "
        "to leave them out; or a file with one id per row (default: they are found as encode finds ids)"
    )
    command.add_argument("--query-ids", metavar="IDS", help=text)
