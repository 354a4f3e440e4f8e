"""Mutated files of every format: a reader returns what the file says, or raises an error of one line that names it.

Each reader runs in a process of its own, with a limit on memory and on time. ``--fuzz N`` sets the number of mutants.
"""

from __future__ import annotations

import faulthandler
import io
import json
import multiprocessing
import re
import resource
import struct
import sys
import traceback
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from compressae_ref import (
    Codes,
    Index,
    Model,
    init_params,
    load_encoder,
    load_model,
    pack,
    save_codes,
    save_model,
    save_packed,
)
from compressae_ref.checks import as_params
from compressae_ref.errors import CompressaeError
from compressae_ref.files.foreign.codes import open_codes
from compressae_ref.files.foreign.columns import open_table
from compressae_ref.files.foreign.embeddings import open_embeddings
from compressae_ref.files.foreign.rows import ids_of
from compressae_ref.files.foreign.write import write_codes, write_embeddings
from compressae_ref.files.weights.original import load_state, save_state
from tests import test_columns
from tests.conftest import HAS

MUTANTS = 500
EXTRA_MEMORY = 64 << 20
"""Bytes that a damaged file of a few kB may take beyond its original."""
SECONDS = 10
"""Seconds that one mutant may take."""

N, D, H, K = 24, 16, 32, 4
X = np.random.default_rng(1).standard_normal((N, D)).astype(np.float32)
IDS = np.arange(N) * 7
NAMES = [f"é{row}" for row in range(N)]
CODES = Codes(
    np.sort(np.random.default_rng(2).random((N, H)).argsort(axis=1)[:, :K], axis=1).astype(np.int32),
    X[:, :K].copy(),
    H,
)


# -- readers: how a good file is made, and what is read of it ----------------------------------------------------------


def read_embeddings(path):
    source = open_embeddings(path)
    rows, ids = np.asarray(source), ids_of(source)
    assert rows.shape == source.shape
    assert rows.ndim == 2
    assert rows.dtype == source.dtype
    assert rows.dtype.kind == "f"
    assert ids is None or ids.shape == rows.shape[:1]


def read_codes(path):
    rows = open_codes(path, None if path.endswith(("npz", "csr")) else H)
    codes = rows.load()
    Codes(codes.indices, codes.values, codes.n_latents)  # its own checks
    assert (len(codes), codes.k) == (rows.n, rows.k)
    assert rows.ids is None or rows.ids.shape == (rows.n,)


def read_model(path):
    as_params(load_model(path).params)


def read_encoder(path):
    as_params(load_encoder(path).params)


def read_state(path):
    as_params(load_state(path, "safetensors").params)


def read_index(path):
    index = Index.load(path, backend="numpy")
    if index.like.k <= CODES.k and index.like.n_latents == H:
        hits = index.search(CODES[:3], 5)
        assert np.isfinite(hits.scores).all()
        assert hits.ids.shape == (3, min(5, len(index)))


def read_columns(path):
    table = open_table(path)
    texts = [*table.texts()]
    assert len(texts) == table.n
    assert all(text is None or isinstance(text, str) for text in texts)
    assert len(table.values("date")) == len(table.sites("site")) == len(texts)
    assert (table.weights("views") >= 0).all()


def table(path):
    names = {
        "text": NAMES,
        "date": ["2020-01-0" + "123"[row % 3] for row in range(N)],
        "site": NAMES,
        "views": [*range(N)],
    }
    test_columns.write_table(Path(path), path.removesuffix(".gz").rpartition(".")[2], names)


def model():
    return Model(init_params(D, H, np.random.default_rng(0)), K, {"steps": 1})


def embeddings(kind, **settings):
    return lambda path: write_embeddings(path, np.round(X) * 0 + 3 if kind == "bvecs" else X, **settings)


def hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("embeddings", data=X, chunks=(10, D), compression="gzip")
        file["ids"] = NAMES


def arrow_stream(path):
    import pyarrow as pa

    table = pa.table({"id": IDS, "embeddings": pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), D)})
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)


def lists(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": [f"n{row}" for row in range(N)], "embeddings": X.tolist()}), path, row_group_size=9)


def text(path):
    names = {"product_id": NAMES, "title": NAMES[::-1]}
    if "jsonl" in path:
        names["embedding"] = X.tolist()
    else:
        names |= {f"v{column}": X[:, column].tolist() for column in range(D)}
    test_columns.write_table(Path(path), path.removesuffix(".gz").rpartition(".")[2], names)


def lists_in_text(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"key": IDS, "embedding": [json.dumps(row) for row in X.tolist()]}), path)


READERS = {
    "csv": (text, read_embeddings),
    "csv.gz": (text, read_embeddings),
    "tsv": (text, read_embeddings),
    "rows.jsonl": (text, read_embeddings),
    "text.parquet": (lists_in_text, read_embeddings),
    "npy": (embeddings("npy"), read_embeddings),
    "npz": (embeddings("npz", ids=IDS), read_embeddings),
    "named.npz": (embeddings("npz", ids=NAMES), read_embeddings),
    "deflated.npz": (lambda path: np.savez_compressed(path, embeddings=X, ids=IDS), read_embeddings),
    "fbin": (embeddings("fbin"), read_embeddings),
    "fvecs": (embeddings("fvecs"), read_embeddings),
    "bvecs": (embeddings("bvecs"), read_embeddings),
    "safetensors": (embeddings("safetensors"), read_embeddings),
    "hdf5": (embeddings("hdf5", ids=IDS), read_embeddings),
    "gzip.hdf5": (hdf5, read_embeddings),
    "parquet": (embeddings("parquet", ids=IDS), read_embeddings),
    "lists.parquet": (lists, read_embeddings),
    "arrow": (embeddings("arrow", ids=IDS), read_embeddings),
    "stream.arrow": (arrow_stream, read_embeddings),
    "codes.npz": (lambda path: save_codes(path, CODES, IDS), read_codes),
    "packed.npz": (lambda path: save_packed(path, pack(CODES, backend="numpy"), IDS), read_codes),
    "named.codes.npz": (lambda path: save_codes(path, CODES, NAMES), read_codes),
    "named.packed.npz": (lambda path: save_packed(path, pack(CODES, backend="numpy"), NAMES), read_codes),
    "scipy.npz": (lambda path: sparse.save_npz(path, CODES.to_csr(), compressed=False), read_codes),
    "coo.npz": (lambda path: sparse.save_npz(path, CODES.to_csr().tocoo()), read_codes),
    "csr": (lambda path: write_codes(path, [CODES], N), read_codes),
    "jsonl": (lambda path: write_codes(path, [CODES], N, ids=IDS), read_codes),
    "codes.parquet": (lambda path: write_codes(path, [CODES], N, ids=IDS), read_codes),
    "codes.arrow": (lambda path: write_codes(path, [CODES], N, ids=IDS), read_codes),
    "texts.csv": (table, read_columns),
    "texts.csv.gz": (table, read_columns),
    "texts.tsv": (table, read_columns),
    "texts.jsonl": (table, read_columns),
    "texts.parquet": (table, read_columns),
    "model.npz": (lambda path: save_model(path, model()), read_model),
    "int8.npz": (lambda path: save_model(path, model(), weights="int8"), read_model),
    "encoder.npz": (lambda path: save_model(path, model(), weights="float16", only="encoder"), read_encoder),
    "state.safetensors": (lambda path: save_state(path, model(), "safetensors"), read_state),
    "index.npz": (lambda path: Index.build(CODES, ids=IDS, backend="numpy").save(path), read_index),
    "named.index.npz": (lambda path: Index.build(CODES, ids=NAMES, backend="numpy").save(path), read_index),
}
NEEDS = {"hdf5": "h5py", "parquet": "pyarrow", "arrow": "pyarrow"}


# -- mutants ----------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 2**15, 2**16, 2**20, 2**28, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1)
TOKENS = ("-1", "0", "1e999", "NaN", "null", "[]", "{}", '"a"', "true", "1.5", "[" * 3000, *map(str, NUMBERS), "9" * 30)


def flipped(content, rng):
    for _ in range(rng.integers(1, 5)):
        if content:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)


def cut(content, rng):
    del content[rng.integers(len(content) + 1) :]


def spliced(content, rng):
    """A piece of the file somewhere else: in the place of other bytes, between them, or missing."""
    start, to, size = (int(rng.integers(len(content) + 1)) for _ in range(3))
    piece = content[start : start + min(size, 64)]
    content[to : to + (0, len(piece))[rng.integers(2)]] = piece if rng.integers(3) else b""
    if not rng.integers(3):
        del content[to : to + len(piece)]


def number_changed(content, rng):
    """A number in binary, most often where headers lie."""
    width, number = int(rng.choice([1, 2, 4, 8])), NUMBERS[rng.integers(len(NUMBERS))] + int(rng.integers(-1, 2))
    ends = [int(rng.integers(min(len(content), 200) + 1)), len(content) - int(rng.integers(min(len(content), 400) + 1))]
    at = int(rng.choice([*ends, rng.integers(len(content) + 1)])) // min(width, 4) * min(width, 4)
    content[at : at + width] = (number % 256**width).to_bytes(width, "little" if rng.integers(4) else "big")


def token_changed(content, rng):
    """A number in text: in JSON, or in the header of an array."""
    found = [*re.finditer(rb"-?\d+(\.\d+)?", bytes(content[:2000]))]
    if found:
        match = found[rng.integers(len(found))]
        content[match.start() : match.end()] = TOKENS[rng.integers(len(TOKENS))].encode()


CHANGES = (flipped, cut, spliced, number_changed, number_changed, token_changed)


def archive_changed(content, rng):
    """An archive with one array changed, and with the right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    name = [*members][rng.integers(len(members))]
    what = rng.integers(6)
    if what == 0:
        del members[name]
    elif what == 1:
        members[name] = members[[*members][rng.integers(len(members))]]
    elif what in (2, 3) and "meta.npy" in members:
        members["meta.npy"] = meta_changed(members["meta.npy"], rng)
    else:
        CHANGES[rng.integers(len(CHANGES))](members[name], rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[rng.integers(2)]) as archive:
        for each, array in members.items():
            archive.writestr(each, bytes(array))
    content[:] = stream.getvalue()


def meta_changed(content, rng):
    """JSON in an array of text, with another value of one key."""
    meta = json.loads(str(np.load(io.BytesIO(content))))
    values = (*NUMBERS, None, True, 1.5, "", "a", [], {}, [1], "ab" * 32)
    meta[[*meta][rng.integers(len(meta))]] = values[rng.integers(len(values))]
    stream = io.BytesIO()
    np.save(stream, np.array(json.dumps(meta)))
    return bytearray(stream.getvalue())


def tensors_changed(content, rng):
    """A header of a .safetensors with a token changed, and with the right length."""
    length = struct.unpack_from("<Q", content)[0]
    header = content[8 : 8 + length]
    token_changed(header, rng)
    content[: 8 + length] = struct.pack("<Q", len(header)) + header


def mutated(good, kind, rng):
    content = bytearray(good)
    repaired = {"npz": archive_changed, "safetensors": tensors_changed}.get(kind.rpartition(".")[2])
    if repaired is not None and rng.integers(2):
        repaired(content, rng)
    else:
        for _ in range(rng.integers(1, 3)):
            CHANGES[rng.integers(len(CHANGES))](content, rng)
    return bytes(content)


# -- the process of one reader ----------------------------------------------------------------------------------------


def peak():
    """Return the most bytes of memory that this process has held. Linux's own figure includes the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def fuzz(kind, folder, seeds, report):
    """Read the mutants of these seeds. The report has the seed that is being read, then a line for each fault."""
    make, read = READERS[kind]
    path = str(Path(folder) / f"x.{kind}")
    make(path)
    read(path)
    good, highest = Path(path).read_bytes(), peak()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    with Path(report).open("w") as file:
        for seed in seeds:
            Path(path).write_bytes(mutated(good, kind, np.random.default_rng([seed, len(kind)])))
            print(f"begun {seed}", file=file, flush=True)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            if fault := fault_of(read, path):
                print(f"seed {seed}: {fault}", file=file, flush=True)
            faulthandler.cancel_dump_traceback_later()
            if peak() > highest + EXTRA_MEMORY:
                print(f"seed {seed}: {(peak() - highest) >> 20} MB more memory than the good file", file=file)
                highest = peak()
        print("all", file=file)


def fault_of(read, path):
    """Return None if the reader returns, or raises an error of one line that names the file; else what it does."""
    try:
        read(path)
    except CompressaeError as error:
        message = str(error)
        return None if message.startswith(path) and "\n" not in message else f"says {message!r}"
    except Exception as error:
        return f"raises {type(error).__name__}: " + traceback.format_exc(limit=-2).replace("\n", " | ")
    return None


@pytest.mark.parametrize("kind", READERS)
def test_a_mutated_file_is_what_it_says_or_is_refused(tmp_path, kind, request):
    needed = NEEDS.get(kind.rpartition(".")[2])
    if needed and not HAS[needed]:
        pytest.skip(f"needs {needed}")
    context = multiprocessing.get_context("forkserver")  # one process imports everything, and forks for each reader
    context.set_forkserver_preload(["tests.test_fuzz"])
    report = tmp_path / "report"
    seeds = range(request.config.getoption("--fuzz") or MUTANTS)
    process = context.Process(target=fuzz, args=(kind, str(tmp_path), seeds, str(report)))
    process.start()
    process.join(60 + len(seeds))
    process.kill()
    lines = report.read_text().splitlines() if report.exists() else ["no mutant was read"]
    faults = [line for line in lines if line.startswith("seed")]
    if lines[-1] != "all":
        faults.append(f"ended with exit code {process.exitcode} while it read: {lines[-1]}")
    assert not faults, "\n".join(faults[:20])
