"""The modules of ``examples/port_js`` in headless Chromium: encode one row and search, over a local web server.

Run ``python examples/benchmarks/routes/browser.py FOLDER``. It needs the package playwright, and Chromium.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

CLONE = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CLONE / "examples"))

from benchmarks.routes import Route  # noqa: E402  it is no part of the package
from benchmarks.routes.javascript import NOT_FOR_USERS, PORT  # noqa: E402

ROUTES = (("", "model.npz", True), (", int8 model", "int8.npz", True))
ROWS = 50

SCRIPT = """async ([modelFile, searches]) => {
  const { PackedIndex, openModel, openPackedCodes } = await import("/compressae.mjs");
  const x = new Float32Array(await (await fetch("rows")).arrayBuffer());
  const elapsed = async (work) => { const start = performance.now(); const result = await work(); return [performance.now() - start, result]; };
  const median = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
  const [openMs, model] = await elapsed(() => openModel(modelFile));
  const rows = Array.from({ length: x.length / model.d }, (_, i) => x.subarray(i * model.d, (i + 1) * model.d));
  const times = async (work) => {
    const all = [];
    for (const row of rows) all.push((await elapsed(() => work(row)))[0]);
    return median(all.slice(1));
  };
  const result = { openMs, encode: await times((row) => model.encode(row)) };
  if (searches) {
    const [indexMs, index] = await elapsed(async () => new PackedIndex(await openPackedCodes("packed.npz"), model));
    Object.assign(result, { indexMs, search: await times((row) => index.search(row, 10)) });
  }
  return result;
}"""


class Handler(SimpleHTTPRequestHandler):
    """Serve files without a line for each request."""

    def guess_type(self, path: Any) -> str:
        """Return the type that browsers require of modules."""
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def measure(folder: str | Path) -> list[Route]:
    """Measure each kind of model; an empty list if Chromium or playwright is missing."""
    program = shutil.which("chromium")
    if program is None or importlib.util.find_spec("playwright") is None:
        print("routes/browser.py: needs Chromium and the package playwright", file=sys.stderr)
        return []
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        root = _site(Path(temporary), Path(folder))
        served = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
        threading.Thread(target=served.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found = [_route(browser, f"http://127.0.0.1:{served.server_port}", Path(folder), *route) for route in ROUTES]
        browser.close()
        served.shutdown()
    return found


def _site(root: Path, folder: Path) -> Path:
    for path in (*PORT.glob("*.mjs"), *(folder / name for name in ("model.npz", "int8.npz", "packed.npz"))):
        shutil.copy(path, root)
    np.load(folder / "queries.npy", mmap_mode="r")[: ROWS + 1].astype("<f4").tofile(root / "rows")
    (root / "index.html").write_text("<!doctype html><title>page</title>")
    return root


def _route(browser: Any, address: str, folder: Path, kind: str, model: str, searches: bool) -> Route:
    page = browser.new_page()
    page.goto(f"{address}/index.html")
    found = page.evaluate(SCRIPT, [model, searches])
    page.close()
    note = f"fetching and opening the model {found['openMs']:.0f} ms"
    note += f"; codes and index {found['indexMs'] / 1e3:.1f} s, once" if searches else ""
    return Route(
        name=f"Chromium {browser.version.split('.')[0]}{kind}",
        installed_bytes=sum(path.stat().st_size for path in PORT.glob("*.mjs") if path.name not in NOT_FOR_USERS),
        model_bytes=(folder / model).stat().st_size,
        encode_ms=found["encode"],
        search_ms=found.get("search"),
        peak_mb=None,
        note=note,
    )


if __name__ == "__main__":
    for measured in measure(sys.argv[1]):
        print(measured)
