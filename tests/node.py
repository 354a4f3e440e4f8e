"""Run the modules of the port in JavaScript in Node, and serve files as a web server with range requests does."""

from __future__ import annotations

import json
import mimetypes
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import compressae_ref as csae
from compressae_ref.params import Params, init_params

PORT = Path(__file__).parent.parent / "examples" / "port_js"

PRELUDE = """
const C = await import(process.argv[1]);
const { readFileSync } = await import("node:fs");
const numbersOf = (file, Type) => new Type(file.buffer.slice(file.byteOffset, file.byteOffset + file.length));
const f4 = (name) => numbersOf(readFileSync(name), Float32Array);
const f8 = (name) => numbersOf(readFileSync(name), Float64Array);
const hex = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("hex");
const plain = (key, value) =>
  ArrayBuffer.isView(value) ? { array: value.constructor.name, numbers: hex(value) } : value;
const fault = async (call) => {
  try {
    await call();
    return null;
  } catch (error) {
    return { name: error.name, row: error.row, message: error.message };
  }
};
const answer = await (async () => { %s })();
console.log(JSON.stringify(answer, plain));
"""
DTYPES = {"Float32Array": "<f4", "Float64Array": "<f8", "Int32Array": "<i4", "Uint8Array": "|u1"}


def run(script: str, folder: Path) -> Any:
    """Return what the body of an async function returns in Node, which runs in ``folder``; arrays as NumPy's.

    ``C`` is the module, ``f4(name)`` and ``f8(name)`` are the numbers of a file, and ``fault(call)`` is the error of a
    call, or null.
    """
    command = ["node", "--input-type=module", "-e", PRELUDE % script, (PORT / "compressae.mjs").as_uri()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, object_hook=_array)


def _array(value: dict[str, Any]) -> Any:
    if value.keys() != {"array", "numbers"}:
        return value
    return np.frombuffer(bytes.fromhex(value["numbers"]), DTYPES[value["array"]])


@dataclass
class Served:
    """What a server has answered: its address, and the (first byte, number of bytes) of each answer."""

    url: str
    answers: list[tuple[int, int]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """The bytes of all answers."""
        return sum(size for _, size in self.answers)


@contextmanager
def server(folder: Path, *, ranges: bool = True, says_range: bool = True) -> Iterator[Served]:
    """Serve the files of a folder.

    Without ``ranges`` the header Range is ignored, as many servers do. Without ``says_range`` an answer has no
    Content-Range, which a page does not see if a server of another origin does not expose it.
    """
    served = Served("")
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder, served, ranges, says_range))
    served.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, folder: Path, served: Served, ranges: bool, says_range: bool, *args: Any) -> None:
        self.folder, self.served, self.ranges, self.says_range = folder, served, ranges, says_range
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.folder / self.path.strip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        start, stop = 0, len(content)
        if asked and self.ranges:
            first, last = asked.groups()
            start = int(first) if first else max(0, stop - int(last))
            stop = min(stop, int(last) + 1) if first and last else stop
            self.send_response(206)
            if self.says_range:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            self.send_response(200)
        kind = "text/javascript" if path.suffix == ".mjs" else mimetypes.guess_type(path.name)[0]
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])
        self.served.answers.append((start, stop - start))

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


# -- models and rows --------------------------------------------------------------------------------------------------


def model_of(d, h, k, dtype="float32", **given):
    """Return a model with weights that are random where they are not given."""
    rng = np.random.default_rng(0)
    params = init_params(d, h, rng, init="original", dtype=dtype)
    params.b_enc[...] = rng.normal(size=h) * 0.05
    arrays = {name: np.asarray(array, dtype) for name, array in given.items() if array is not None}
    return csae.Model(Params(**(params.arrays() | arrays)), k)


def rows_of(n, d, seed=1, dtype=np.float32):
    """Return random rows."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def tied_codes(n, h, k):
    """Return indices and values of few different rows, so that many scores are equal; the first is a code of zeros."""
    rng = np.random.default_rng(3)
    indices = np.sort(np.stack([rng.permutation(h)[:k] for _ in range(n // 4)]), axis=1).astype(np.int32)
    values = rng.integers(-3, 4, indices.shape).astype(np.float32)
    values[0] = 0
    return np.tile(indices, (4, 1)), np.tile(values, (4, 1))


def same(array, expected):
    """Return whether all bits are the same: −0 is not 0."""
    return array.dtype == expected.dtype and array.tobytes() == np.ascontiguousarray(expected).tobytes()


def same_codes(own, codes):
    """Return whether the object that Node answered has the bits of these codes."""
    return same(own["indices"], codes.indices) and same(own["values"], codes.values)
