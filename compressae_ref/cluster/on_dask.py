"""Encode on Dask: workers write the parts of a folder on a shared file system.

A worker reads the model from the folder of the parts, and its rows from the embeddings. A task receives and returns row
numbers only. If a worker dies, only its current part is lost, and another worker encodes that part again.

Two runs of the same command can write to one folder at the same time. Both encode the parts that are missing when they
start, and neither deletes files of the other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from compressae_ref.backends.thread_pool import set_threads
from compressae_ref.checks import ZeroRows, as_integer, as_k, as_zero_rows
from compressae_ref.cluster.local_processes import local_client
from compressae_ref.errors import BackendError, DomainError, naming_file, reason
from compressae_ref.extensions.refine import refined_blocks
from compressae_ref.files.atomic_write import RUN, forget_run
from compressae_ref.files.codes_file import save_code_blocks
from compressae_ref.files.foreign.choose_array import ID_ENTRIES
from compressae_ref.files.foreign.embeddings import open_embeddings, place_of
from compressae_ref.files.foreign.partitioned import Plan, begin, finish, part_name, require_folder
from compressae_ref.files.foreign.rows import IdEntry, Place, ids_of
from compressae_ref.files.model_file import load_model_or_encoder, save_model
from compressae_ref.model import Encoder, whole_model
from compressae_ref.optional import require_package
from compressae_ref.row_source import Head, RowSource

MODEL = "model.npz"
"""File name of the model in the folder of the parts."""

TIMEOUT = 20
"""Seconds to wait for a scheduler."""

PART_ROWS = 1 << 17
"""Default number of rows per part: 34 MB of codes with k = 32."""


def encode_on_dask(
    model: Encoder,
    embeddings: str,
    folder: str,
    address: str,
    *,
    k: int | None = None,
    refine: bool = False,
    candidates: int | None = None,
    zero_rows: ZeroRows = "error",
    part_rows: int = PART_ROWS,
    ids: IdEntry = True,
    follow_links: bool = False,
    backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Encode a file of embeddings into a folder of parts, and skip the parts that exist.

    Parameters
    ----------
    embeddings, folder : paths that are valid on every worker
    address : a scheduler such as ``tcp://host:8786``, or ``local:4`` for four processes on this machine
    zero_rows : "error" or "empty" (`checks.ZeroRows`); "skip" is refused, because parts are ranges of row numbers
    part_rows : number of rows per part
    ids, follow_links : the array or column of ids, and whether to follow links in HDF5, as in `open_embeddings`
    progress : called with the number of encoded rows and the number of all rows

    Returns
    -------
    The manifest of the folder

    Raises
    ------
    CompressaeError
        As in `Model.encode`, with the row.
    DomainError
        If workers are killed repeatedly on the same part.
    BackendError
        If Dask is not installed, or the scheduler cannot be reached.
    """
    if as_zero_rows(zero_rows) == "skip":
        raise DomainError(
            "expected 'error' or 'empty' for parts, which are ranges of rows, got 'skip'",
            argument="zero_rows",
            hint="convert --zero-rows skip writes the embeddings without zero rows",
        )
    at = _for_workers(embeddings)
    source, part_rows = open_embeddings(at, ids, follow_links=follow_links), as_integer(part_rows, "part_rows")
    ids_of(source)  # wrong ids are an error before any part is written
    if source.id_name is not None and source.id_name not in ID_ENTRIES:
        ids = source.id_name  # so that no worker searches for it
    h, k = model.params.n_latents, as_k(model.k if k is None else k, model.params.n_latents)
    plan = Plan(at, len(source), part_rows, model.digest, h, k, refine, candidates, zero_rows, ids, follow_links)
    place = require_folder(Path(folder).resolve(), plan)
    if missing := plan.left(place):
        run = os.urandom(8).hex()
        try:
            with _client(address) as client, naming_file(at):
                begin(place, plan)
                save_model(place / MODEL, model)
                _encode_all(client, place, missing, plan, backend, run, progress)
        finally:  # the local workers have ended; those of a cluster have ended the tasks, or lose them
            if place.is_dir():
                forget_run(place, run)
    return finish(place, plan)


def _for_workers(embeddings: str) -> str:
    """Return the absolute path of a file, or of an array in a file, because workers run in other folders."""
    if embeddings == "-":
        raise DomainError(
            "expected a file that every worker can read, got standard input",
            argument="embeddings",
            hint="write the embeddings to a file, or omit --dask",
        )
    place = place_of(embeddings)
    return str(Place(str(Path(place.path).resolve()), place.entry))


def _encode_all(
    client: Any,
    folder: Path,
    missing: list[tuple[int, int]],
    plan: Plan,
    backend: str | None,
    run: str,
    progress: Callable[[int, int], None] | None,
) -> None:
    distributed = _distributed()
    tasks = [client.submit(_task, str(folder), part, plan, backend, run, pure=False) for part in missing]
    done = plan.n - sum(stop - start for start, stop in missing)
    try:
        for task in distributed.as_completed(tasks):
            start, stop = task.result()
            done += stop - start
            if progress is not None:
                progress(done, plan.n)
    except distributed.KilledWorker as error:
        raise DomainError(
            "expected workers to finish every part, got one part on which workers were killed repeatedly",
            path=folder,
            hint="if they run out of memory, choose a smaller --part-rows and a new folder",
        ) from error
    finally:
        client.cancel(tasks)


def encode_part(
    folder: Path, start: int, stop: int, plan: Plan, model: Encoder, source: RowSource, backend: str | None
) -> None:
    """Encode the rows from ``start`` to ``stop``, and write them as one part."""
    rows = Head(source, stop)
    settings: dict[str, Any] = {"zero_rows": plan.zero_rows, "backend": backend, "first_row": start}
    if plan.refine:
        blocks = refined_blocks(rows, whole_model(model), plan.k, plan.candidates, **settings)
    else:
        blocks = model.encode_blocks(rows, plan.k, **settings)
    ids = ids_of(source)
    save_code_blocks(folder / part_name(start), blocks, stop - start, None if ids is None else ids[start:stop])


def _task(folder: str, part: tuple[int, int], plan: Plan, backend: str | None, run: str) -> tuple[int, int]:
    """Encode one part on a worker, unless a worker wrote it before it died."""
    start, stop = part
    if not (Path(folder) / part_name(start)).exists():
        set_threads(1)  # Dask limits the threads of a BLAS, but not those of our kernels
        RUN.set(run)
        model, source = _opened(folder, plan.embeddings, plan.ids, plan.follow_links, plan.model)
        encode_part(Path(folder), start, stop, plan, model, source, backend)
    return part


@lru_cache(maxsize=1)
def _opened(folder: str, embeddings: str, ids: IdEntry, follow_links: bool, digest: str) -> tuple[Encoder, Any]:
    """Open the model and the embeddings, once per worker."""
    return load_model_or_encoder(Path(folder) / MODEL), open_embeddings(embeddings, ids, follow_links=follow_links)


def _distributed() -> Any:
    return require_package("distributed", "dask", "--dask")


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect to a scheduler, or start local processes that end with the client."""
    distributed = _distributed()
    scheme, _, workers = address.partition(":")
    if scheme == "local":
        if not workers.isdecimal() or int(workers) < 1:
            raise DomainError(f"expected local:N with N ≥ 1 processes, got {address!r}", argument="--dask")
        with local_client(distributed, int(workers)) as client:
            yield client
        return
    _require_scheduler(address)
    with distributed.Client(address, timeout=TIMEOUT) as client:
        yield client


def _require_scheduler(address: str) -> None:
    """Raise if the scheduler does not answer: a client that cannot connect may deadlock a later client."""
    connect = require_package("distributed.comm", "dask", "--dask").connect

    async def call() -> None:
        communication = await connect(address, timeout=TIMEOUT)
        await communication.close()

    try:
        with ThreadPoolExecutor(1) as pool:  # in a thread, because this one may already run an event loop
            pool.submit(asyncio.run, call()).result()
    except (OSError, ValueError) as error:
        raise BackendError(
            f"expected a running scheduler, got no answer from {address!r}: {reason(error)}",
            argument="--dask",
            hint="pass the address of a scheduler, or local:N",
        ) from error
