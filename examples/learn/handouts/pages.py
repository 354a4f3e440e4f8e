"""Pages to print and to show: Markdown becomes one HTML file that needs no network. ``make.py`` calls these functions."""

from __future__ import annotations

import ast
import base64
import re
import sys
from itertools import accumulate
from pathlib import Path

HERE = Path(__file__).parents[1]
REFERENCE = HERE.parents[1] / "compressae_ref" / "reference.py"
LINK = re.compile(r"\[`(\w+)`\]\((\.\./\.\./compressae_ref/reference\.py)#L\d+\)")
NO_BREAK = "\N{NO-BREAK SPACE}"
IMAGE = re.compile(r'src="(pictures/[^"]+\.png)"')
QUESTION = 4
"""The fault of the break-it lab that the slides show."""


def write(what: str) -> None:
    """Write the "sheet" or the "slides"."""
    try:
        if what == "sheet":
            source = HERE / "equations.md"
            source.write_text(with_lines(source.read_text("utf-8")), encoding="utf-8")
            (HERE / "equations.html").write_text(sheet(), encoding="utf-8")
        else:
            draw_question()
            (HERE / "slides.html").write_text(slides(), encoding="utf-8")
    except ImportError as error:
        sys.exit(f"make.py: expected the package {error.name}, which is not installed; run: pip install '.[learn]'")
    except FileNotFoundError as error:
        sys.exit(f"make.py: {error.filename}: no such picture; run: python examples/learn/make.py pages")
    print("equations.md, equations.html" if what == "sheet" else "slides.html")


def draw_question() -> None:
    """Draw the symptoms of a fault of the break-it lab, for the slide that asks for its line."""
    from lab import faults, symptoms

    sound, broken = (symptoms.measure(text) for text in (faults.sound(), faults.CASES[QUESTION - 1].planted()))
    symptoms.draw(sound, broken, HERE / "pictures" / "lab_symptoms.png", ("loss", "cosine", "gradients"))


def with_lines(text: str) -> str:
    """Return Markdown whose links to functions of the reference file have today's line numbers."""
    functions = [node for node in ast.parse(REFERENCE.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    lines = {node.name: node.lineno for node in functions}
    return LINK.sub(lambda link: f"[`{link[1]}`]({link[2]}#L{lines[link[1]]})", text)


def document(body: str, title: str, style: str, script: str = "") -> str:
    """Return an HTML page with pictures, a style and a script inside: files in this folder, more than one between spaces."""
    body = IMAGE.sub(lambda image: f'src="data:image/png;base64,{encoded(HERE / image[1])}"', body)
    style, script = (
        "".join((HERE / "handouts" / name).read_text("utf-8") for name in names.split()) for names in (style, script)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}"
        + (f"<script>\n{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def html(markdown: str) -> str:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table").render(markdown)


def sheet() -> str:
    """Return the equation sheet as a page of A4, with the lines of functions, and no break inside a shape."""
    body = html((HERE / "equations.md").read_text("utf-8"))
    body = re.sub(r'(#L(\d+)"><code>\w+)', r"\1:\2", body)
    body = re.sub(r"\([\w…]+(?:, [\w… −]+)+\)", lambda shape: shape[0].replace(" ", NO_BREAK), body)
    return document(f"<main>\n{body}</main>\n", "CompresSAE on one page", "sheet.css")


def slides() -> str:
    """Return the slides as a page: one section for each part of slides.md between lines of ---."""
    parts = re.split(r"(?m)^---\n", (HERE / "slides.md").read_text("utf-8"))
    ends = accumulate(map(minutes, parts))
    sections = [
        section(part, number, len(parts), end)
        for number, (part, end) in enumerate(zip(parts, ends, strict=True), start=1)
    ]
    scripts = "slides.js presenter.js"
    return document(f"<main>\n{''.join(sections)}</main>\n", "Sparse codes of embeddings", "slides.css", scripts)


def minutes(markdown: str) -> int:
    """Return the minutes that the note of a slide plans for it."""
    found = re.search(r"<!-- (\d+) minutes?\b", markdown)
    return int(found[1]) if found else 0


def section(markdown: str, number: int, total: int, end: int) -> str:
    """Return one slide, which ends at a minute. A comment is a note to the speaker; what follows *** waits for a key."""
    text, *notes = re.split(r"(?s)<!--(.*?)-->", markdown)
    text, note = text + "".join(notes[1::2]), "\n".join(notes[::2]).strip()
    kind = "picture" if "![" in text else "title" if text.lstrip().startswith("# ") else "words"
    aside = f'<aside aria-label="notes">\n{html(note)}</aside>\n' if note else ""
    mark = (
        f'<p class="place"><span class="reader">slide </span>{number}<span aria-hidden="true"> / {total}</span></p>\n'
    )
    body, *later = (html(part).replace("<p><img", '<p class="shown"><img') for part in re.split(r"(?m)^\*\*\*\n", text))
    body += "".join(f'<div class="later">\n{part}</div>\n' for part in later)
    return f'<section id="{number}" class="{kind}" data-until="{end}">\n{body}{aside}{mark}</section>\n'
