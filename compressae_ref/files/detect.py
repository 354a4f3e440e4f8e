"""Detect what a file or folder contains: a model, codes or embeddings. `sniff` detects its format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from compressae_ref.files.foreign.arrow_table import is_list, open_table
from compressae_ref.files.foreign.embeddings import place_of
from compressae_ref.files.foreign.partitioned import is_parts
from compressae_ref.files.foreign.safetensors import open_tensors
from compressae_ref.files.foreign.shards import shard_paths
from compressae_ref.files.foreign.sniff import HEAD_BYTES, kind_of
from compressae_ref.files.foreign.text_rows import byte_stream
from compressae_ref.files.input_file import InputFile
from compressae_ref.files.npz import member_names, reading
from compressae_ref.files.weights import original, saelens, sentence_transformers

Content = Literal["model", "state", "pt", "saelens", "sentence-transformers", "codes", "embeddings"]


def content_of(path: str) -> Content:
    """Return the content of a file, or of a folder with weights of another program.

    Arrays that match neither a model nor codes are taken for embeddings.

    Raises
    ------
    FormatError
        If the format of the file is unknown. OSError if it is missing.
    """
    place = place_of(path)
    if Path(path).is_dir():
        return _folder(Path(path))
    if path == "-" or place.entry is not None or shard_paths(place) is not None:
        return "embeddings"
    with reading(path, "a file of embeddings, codes or a model"):
        return _content(InputFile(path))


def _content(file: InputFile) -> Content:
    kind = kind_of(file)
    if kind == "zip":
        return _archive(file)
    if kind == "safetensors":
        return "state" if original.NAMES.keys() <= open_tensors(file)[0].keys() else "embeddings"
    if kind in ("parquet", "arrow", "arrow-stream"):
        return _table(file, kind)
    if kind == "jsonl":
        return "codes" if b'"indices"' in _first_line(file) else "embeddings"
    return "pt" if kind == "pickle" else "codes" if kind == "csr" else "embeddings"


def _first_line(file: InputFile) -> bytes:
    """Return the start of the first line of a text file that is not blank."""
    stream = byte_stream(file)
    while (line := stream.readline(HEAD_BYTES)) and not line.strip():
        pass
    return line


def _folder(path: Path) -> Content:
    if is_parts(path):
        return "codes"
    if (path / saelens.CONFIG).exists():
        return "saelens"
    return "sentence-transformers" if (path / sentence_transformers.CONFIG).exists() else "embeddings"


def _archive(file: InputFile) -> Content:
    names = member_names(file)
    if any(name.endswith("data.pkl") for name in names):
        return "pt"
    if {"meta", "W_enc"} <= names:
        return "model"
    ours = {"meta", "packed"} <= names or {"meta", "residual"} <= names
    return "codes" if "indptr" in names or ours else "embeddings"


def _table(file: InputFile, kind: str) -> Content:
    schema = open_table(file, kind).schema
    lists = {name for name in ("indices", "values") if name in schema.names and is_list(schema.field(name).type)}
    return "codes" if len(lists) == 2 else "embeddings"
