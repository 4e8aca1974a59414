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


@pytest.fixture(scope="module")  # no longer: Playwright keeps an event loop running in this thread
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


def hard_to_read(page: Any, selector: str = "*") -> list[str]:
    """The visible, enabled texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2.2 AA)."""
    return page.evaluate(
        """(selector) => {
            const channels = (color) => color.match(/[0-9.]+/g).map(Number);
            const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
                .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
                .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
            const behind = (element) => {
                for (let one = element; one; one = one.parentElement) {
                    const found = channels(getComputedStyle(one).backgroundColor);
                    if (found.length === 3 || found[3] === 1) return found;
                    if (found[3] > 0) throw new Error(`half transparent: ${one.outerHTML.slice(0, 200)}`);
                }
                return [255, 255, 255];
            };
            return [...document.querySelectorAll(selector)]
                .filter((each) => each.checkVisibility() && !each.closest(":disabled, script, style"))
                .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
                .map((each) => {
                    const [one, other] = [channels(getComputedStyle(each).color), behind(each)].map(luminance);
                    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
                    return [contrast, each.outerHTML.slice(0, 200)];
                })
                .filter(([contrast]) => contrast < 4.5)
                .map(([contrast, html]) => `${contrast.toFixed(2)}: ${html}`);
        }""",
        selector,
    )
