"""A real browser for the pages: Chromium, driven by Playwright.

    from tests.browser import browser, open_page  # noqa: F401

Playwright's own Chromium is used where it is installed, else the system's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; a test that asks for it is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    with playwright.sync_playwright() as running:
        own = running.chromium.executable_path
        path = own if Path(own).exists() else shutil.which("chromium") or shutil.which("google-chrome")
        if path is None:
            pytest.skip("needs Chromium: playwright install chromium, or the system's package")
        # no sandbox: tests run as root in containers, and show only what they made
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(url, viewport=..., color_scheme=...)`: a page in a context of its own.

    Errors on its console, in its scripts, and requests that leave this machine fail the test at its end.
    """
    contexts, problems = [], []

    def note(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "http://127.0.0.1", "http://localhost")):
            problems.append(f"request: {request.url}")

    def open_one(url: str, viewport: dict[str, int] = DESKTOP, **options: Any) -> Any:
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", note)
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not problems, problems


def scrolls_sideways(page: Any) -> bool:
    """Whether the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def unlabelled(page: Any) -> list[str]:
    """The visible controls that have no name for a screen reader, as HTML."""
    return page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a[href]")]
            .filter((each) => each.checkVisibility() && each.type !== "hidden")
            .filter((each) => !(each.textContent.trim() || each.ariaLabel || each.title
                || each.getAttribute("aria-labelledby")
                || [...(each.labels || [])].some((label) => label.textContent.trim())))
            .map((each) => each.outerHTML.slice(0, 200))"""
    )
