"""Open a page in headless Chromium: what it says, what it asks for, and how wide it is."""

from __future__ import annotations

import pytest

from tests.conftest import HAS

needs_browser = pytest.mark.skipif(
    not (HAS["playwright"] and HAS["chromium"]), reason="needs Chromium and playwright: pip install '.[browser]'"
)


class Opened:
    """A page in a tab, with all that the browser said and asked for."""

    def __init__(self, tab, path, at):
        self.tab, self.path, self.said, self.asked = tab, path, [], []
        self.heard = {
            "console": lambda message: self.said.append(message.text),
            "pageerror": lambda error: self.said.append(str(error)),
            "request": lambda request: self.asked.append(request.url),
        }
        for event, hear in self.heard.items():
            tab.on(event, hear)
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.goto(f"file://{path}{at}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for event, hear in self.heard.items():
            self.tab.remove_listener(event, hear)
        self.tab.goto("about:blank")
        if kind is None:
            assert not self.said
            assert self.asked == [f"file://{self.path}"]

    def open_all(self):
        self.tab.locator("details").evaluate_all("all => all.forEach((each) => { each.open = true; })")

    def width(self):
        return self.tab.evaluate("document.documentElement.scrollWidth")

    def column(self, at):
        return self.tab.locator(".sortable tbody tr:visible").evaluate_all(
            "(rows, at) => rows.map((row) => row.cells[at].textContent)", at
        )
