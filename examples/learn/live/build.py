"""Build live.html, one file that trains a toy and shows one word in the browser, from this folder, the port and the data.

``python examples/learn/make.py live`` calls this module, and then examples/learn/live.html can be opened.

The page opens by a double click: browsers import no modules from `file:`, so the modules lie in it as `data:` addresses
of an import map. Their sources stay as they are, except for the names in their imports. The entries of the demonstration
data are rounded to int8, each with its own scale; E3 divides by the norm, so the scale is not stored. The bytes of the
page depend on its sources alone.
"""

from __future__ import annotations

import base64
import html
import json
import posixpath
import re
import sys
from pathlib import Path

import numpy as np

from compressae_ref.demo_data import load_demo_data
from compressae_ref.errors import CompressaeError
from compressae_ref.page.document import write_document
from compressae_ref.reference import cosine, unit_rows

HERE = Path(__file__).parent
LEARN, EXAMPLES = HERE.parents[0], HERE.parents[1]
BROWSER = EXAMPLES / "browser"
START = "cream (the part of milk containing the butterfat)"
IMPORT = re.compile(r'(?m)^((?:import|export)\b[^"]*?from |import )"(\.[^"]+)";')


def build(path: Path = LEARN / "live.html") -> None:
    """Write the page, as a whole or not at all."""
    try:
        write_document(path, document())
    except CompressaeError as error:
        sys.exit(f"make.py: {error}")
    except OSError as error:
        sys.exit(f"make.py: {path}: {error.strerror}")
    print(f"{path}: {path.stat().st_size:,} bytes")


def document() -> str:
    """Return the page: the template with its style, modules and data."""
    data = load_demo_data()
    numbers = rounded(data.items)
    parts = {
        "style": "\n".join(read(path) for path in (BROWSER / "style.css", HERE / "live.css")),
        "toy": read(HERE / "toy.html"),
        "start": str(data.item_names.index(START)),
        "fidelity": f"{fidelity(data.items, numbers):.5f}",
        "licence": html.escape(licences()),
        "modules": json.dumps({"imports": modules(HERE / "main.js")}, indent=0),
        "labels": json.dumps(data.item_names, ensure_ascii=False, indent=0).replace("<", "\\u003c"),
        "vectors": base64.b64encode(numbers.tobytes()).decode(),
        "model": base64.b64encode((BROWSER / "data" / "model.npz").read_bytes()).decode(),
    }
    return re.sub(r"/\* \{(\w+)\} \*/", lambda place: parts[place[1]], read(HERE / "index.html"))


def rounded(x: np.ndarray) -> np.ndarray:
    """Return rows as int8: the largest magnitude of each row becomes 127. The scales of rows are left out (E3)."""
    x = x.astype(np.float64)
    return np.rint(x / np.abs(x).max(axis=1, keepdims=True) * 127).astype(np.int8)


def fidelity(x: np.ndarray, numbers: np.ndarray) -> float:
    """Return the mean cosine of rows with their rounded rows (E9)."""
    return float(np.mean(cosine(unit_rows(x, np.float64), unit_rows(numbers.astype(np.float64), np.float64))))


def licences() -> str:
    folder = EXAMPLES / "demo_data" / "compressae_ref_demo"
    return "\n\n".join(read(path) for path in (folder / "small_wordnet.LICENSE.txt", BROWSER / "data" / "LICENSE.txt"))


def modules(first: Path) -> dict[str, str]:
    """Return the address of each module that is needed, by the name under which the others import it."""
    found: dict[str, str] = {}
    waiting = [first]
    while waiting:
        path = waiting.pop()
        name = name_of(path)
        if name in found:
            continue
        text = read(path)
        waiting += [path.parent / relative for _, relative in IMPORT.findall(text)]
        named = IMPORT.sub(lambda found, path=path: f'{found[1]}"{name_of(path.parent / found[2])}";', text)
        found[name] = "data:text/javascript;base64," + base64.b64encode(named.encode()).decode()
    return dict(sorted(found.items()))


def name_of(path: Path) -> str:
    """Return the name of a module in the import map: its folder and its file."""
    folder, name = posixpath.split(posixpath.normpath(path.as_posix()))
    return f"{posixpath.basename(folder)}/{name}"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
