"""Build what is made of the class: pages and notebooks of the chapters, the slides, the equation sheet, the live page.

    python examples/learn/make.py pages                  run all chapters, and write N_name.md beside each
    python examples/learn/make.py pages 2_forward_by_hand
    python examples/learn/make.py notebooks              write N_name.ipynb and N_name.html beside each, with results
    python examples/learn/make.py notebooks 4_train      (they run in this folder, because they import from it)
    python examples/learn/make.py sheet                  write the line numbers of equations.md, and equations.html
    python examples/learn/make.py slides                 write slides.html, of slides.md and pictures
    python examples/learn/make.py live                   write live.html, of live/, the port in JavaScript and the data

All but the live page needs ``pip install '.[learn]'``: Jupytext reads a script as a notebook, nbclient runs it, nbconvert
writes pages, and markdown-it-py, which comes with Jupytext, writes the slides and the sheet.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHAPTERS = {path.stem: path for path in sorted(HERE.glob("[1-6]_*.py"))}
NEEDED = ("jupytext", "nbclient", "nbconvert", "ipykernel", "markdown_it", "matplotlib")


def main() -> None:
    options = arguments()
    if options.what == "live":
        from live.build import build

        build(*([options.output] if options.output else []))
        return
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(f"make.py: expected the package {missing[0]}, which is not installed; run: pip install '.[learn]'")
    if options.what in ("sheet", "slides"):
        from handouts import pages

        pages.write(options.what)
        return
    chapters = options.chapters or CHAPTERS
    notebooks = [f"{name}.ipynb" for name in chapters if (HERE / f"{name}.ipynb").exists()]
    if options.what == "notebooks" and notebooks:
        sys.exit(
            f"make.py: {notebooks[0]} exists, and may hold your changes; move it or delete it, or name other chapters"
        )
    for name in chapters:
        notebook = executed(CHAPTERS[name])
        if options.what == "pages":
            (HERE / f"{name}.md").write_text(page(notebook), encoding="utf-8")
            print(f"{name}.md")
        else:
            write_notebook(notebook, HERE / name)  # where its pictures, links and imports are right


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pages", "notebooks", "sheet", "slides", "live"))
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"some of {', '.join(CHAPTERS)} (default: all)")
    parser.add_argument("-o", "--output", type=Path, help="file of the live page (default: live.html beside this file)")
    options = parser.parse_args()
    options.chapters = [Path(name).stem for name in options.chapters]
    if options.output and options.what != "live":
        parser.error(f"expected --output with live alone, got it with {options.what}")
    if options.chapters and options.what not in ("pages", "notebooks"):
        parser.error(f"expected no chapter with {options.what}, got {options.chapters[0]!r}")
    if unknown := [name for name in options.chapters if name not in CHAPTERS]:
        parser.error(f"expected some of {', '.join(CHAPTERS)}, got {unknown[0]!r}")
    return options


def executed(script: Path) -> Any:
    """Return a chapter as a notebook with its results."""
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = jupytext.read(script)
    resources = {"metadata": {"path": str(HERE)}}
    # What a cell prints is one output: how it is cut into messages depends on the load of the machine.
    client = NotebookClient(notebook, kernel_name="python3", resources=resources, coalesce_streams=True)
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"make.py: a cell of {script.name} failed:\n{error}")
    return notebook


def page(notebook: Any) -> str:
    """Return a notebook as Markdown."""
    from nbconvert import MarkdownExporter

    text, _ = MarkdownExporter().from_notebook_node(notebook)
    parts = re.split(r"(?ms)(^```.*?^```$)", "\n".join(line.rstrip() for line in text.splitlines()))
    parts[::2] = (
        re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]
    )  # code keeps two empty lines before a function
    return "".join(parts).strip() + "\n"


def write_notebook(notebook: Any, path: Path) -> None:
    """Write a notebook, and a page that needs no network and has the pictures inside."""
    import jupytext
    from nbconvert import HTMLExporter

    path.parent.mkdir(parents=True, exist_ok=True)
    html, _ = HTMLExporter(
        template_name="classic", embed_images=True, mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url=""
    ).from_notebook_node(notebook, resources={"metadata": {"path": str(HERE), "name": path.name}})
    jupytext.write(notebook, path.with_suffix(".ipynb"))
    path.with_suffix(".html").write_text(html, encoding="utf-8")
    print(f"{path}.ipynb, {path}.html")


if __name__ == "__main__":
    main()
