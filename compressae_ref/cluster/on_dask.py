"""Encoding on Dask: every worker makes parts of a folder that all of them see.

A worker reads the model, which lies beside the parts, and its rows from the embeddings. Tasks are given and return a
few numbers: so nothing is lost with a worker, or with all of them, but the parts that they were at. Others make those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from compressae_ref.backends.thread_pool import set_threads
from compressae_ref.checks import ZeroRows, as_integer, as_k
from compressae_ref.errors import BackendError, DomainError, naming_file
from compressae_ref.extensions.refine import refined_blocks
from compressae_ref.files.codes_file import save_code_blocks
from compressae_ref.files.foreign.embeddings import open_embeddings, place_of
from compressae_ref.files.foreign.partitioned import Plan, begin, finish, part_name, require_folder
from compressae_ref.files.foreign.rows import Place, ids_of
from compressae_ref.files.model_file import load_model, save_model
from compressae_ref.model import Model
from compressae_ref.optional import require_package
from compressae_ref.row_source import Head, RowSource

MODEL = "model.npz"
"""The model among the parts."""

TIMEOUT = 20
"""Seconds in which a scheduler must answer."""

PART_ROWS = 1 << 17
"""Rows of a part, unless it is told otherwise: 34 MB of codes with k = 32."""


def encode_on_dask(
    model: Model,
    embeddings: str,
    folder: str,
    address: str,
    *,
    k: int | None = None,
    refine: bool = False,
    candidates: int | None = None,
    zero_rows: ZeroRows = "error",
    part_rows: int = PART_ROWS,
    backend: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Encode a file of embeddings into a folder of parts; parts that are there already are not made again.

    Parameters
    ----------
    embeddings, folder : paths under which every worker finds them
    address : of a scheduler, such as ``tcp://host:8786``, or ``local:4`` for so many processes of this machine
    part_rows : rows of a part
    progress : called with the number of rows that are done and that of all

    Returns
    -------
    The manifest

    Raises
    ------
    CompressaeError
        As `Model.encode`, with the row; DomainError for a part at which workers die again and again.
    BackendError
        If Dask is not installed, or the scheduler does not answer.
    """
    at = _for_workers(embeddings)
    source, part_rows = open_embeddings(at), as_integer(part_rows, "part_rows")
    h, k = model.params.n_latents, as_k(model.k if k is None else k, model.params.n_latents)
    plan = Plan(at, len(source), part_rows, model.digest, h, k, refine, candidates, zero_rows)
    place = require_folder(Path(folder).resolve(), plan)
    if left := plan.left(place):
        with _client(address) as client, naming_file(at):
            begin(place, plan)
            save_model(place / MODEL, model)
            _encode_all(client, place, left, plan, backend, progress)
    return finish(place, plan)


def _for_workers(embeddings: str) -> str:
    """The file, or the array in it, under a path that does not depend on where a worker runs."""
    if embeddings == "-":
        raise DomainError("expected a file that every worker can read with --dask", argument="standard input")
    path, entry = place_of(embeddings)
    return str(Place(str(Path(path).resolve()), entry))


def _encode_all(
    client: Any,
    folder: Path,
    left: list[tuple[int, int]],
    plan: Plan,
    backend: str | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    distributed = _distributed()
    tasks = [client.submit(_task, str(folder), part, plan, backend, pure=False) for part in left]
    done = plan.n - sum(stop - start for start, stop in left)
    try:
        for task in distributed.as_completed(tasks):
            start, stop = task.result()
            done += stop - start
            if progress is not None:
                progress(done, plan.n)
    except distributed.KilledWorker as error:
        raise DomainError(
            "expected workers that live, got one killed again and again at a part", path=folder
        ) from error
    finally:
        client.cancel(tasks)


def encode_part(
    folder: Path, start: int, stop: int, plan: Plan, model: Model, source: RowSource, backend: str | None
) -> None:
    """Encode rows from ``start`` to ``stop``, and write them as a part."""
    rows = Head(source, stop)
    settings: dict[str, Any] = {"zero_rows": plan.zero_rows, "backend": backend, "first_row": start}
    if plan.refine:
        blocks = refined_blocks(rows, model, plan.k, plan.candidates, **settings)
    else:
        blocks = model.encode_blocks(rows, plan.k, **settings)
    ids = ids_of(source)
    save_code_blocks(folder / part_name(start), blocks, stop - start, None if ids is None else ids[start:stop])


def _task(folder: str, part: tuple[int, int], plan: Plan, backend: str | None) -> tuple[int, int]:
    """One part, on a worker, unless one that died since has made it."""
    start, stop = part
    if not (Path(folder) / part_name(start)).exists():
        set_threads(1)  # Dask sees to that for a BLAS, and not for our kernels: each worker would take all processors
        model, source = _opened(folder, plan.embeddings, plan.model)
        encode_part(Path(folder), start, stop, plan, model, source, backend)
    return part


@lru_cache(maxsize=1)
def _opened(folder: str, embeddings: str, digest: str) -> tuple[Model, Any]:
    """The model and the embeddings, opened once by each worker."""
    return load_model(Path(folder) / MODEL), open_embeddings(embeddings)


def _distributed() -> Any:
    return require_package("distributed", "dask", "--dask")


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """A client of a scheduler, or of processes that end with it."""
    distributed = _distributed()
    scheme, _, workers = address.partition(":")
    if scheme == "local":
        if not workers.isdecimal() or int(workers) < 1:
            raise DomainError(f"expected local:N with N processes from 1, got {address!r}", argument="--dask")
        cluster = distributed.LocalCluster(n_workers=int(workers), threads_per_worker=1, dashboard_address=None)
        with cluster, distributed.Client(cluster) as client:
            yield client
        return
    _require_scheduler(address)
    with distributed.Client(address, timeout=TIMEOUT) as client:
        yield client


def _require_scheduler(address: str) -> None:
    """Raise where nothing answers: a client that could not connect may deadlock the next one when it is collected."""
    connect = require_package("distributed.comm", "dask", "--dask").connect

    async def call() -> None:
        communication = await connect(address, timeout=TIMEOUT)
        await communication.close()

    try:
        with ThreadPoolExecutor(1) as pool:  # a loop of its own, even where one is running
            pool.submit(asyncio.run, call()).result()
    except (OSError, ValueError) as error:
        raise BackendError(
            f"expected the address of a scheduler or local:N, got {address!r}", argument="--dask"
        ) from error
