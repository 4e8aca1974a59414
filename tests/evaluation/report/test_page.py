"""The page of an evaluation: its texts, and the page in a real browser."""

from __future__ import annotations

import json
import re
import sys

import pytest

from openprm.evaluation.report.page import PAGE, PICTURES, RESULTS, TABLES, page, write_report
from tests.browser import DESKTOP, PHONE, browser, hard_to_read, open_page, scrolls_sideways, unlabelled  # noqa: F401

from .everything import everything
from .results import benchmark, metric, results

HOSTILE = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>\x1b[31m\u202e\ud800& \"'"


def written(folder, found, command="openprm evaluate"):
    write_report(found, folder, command)
    return folder / PAGE


def hostile():
    found = everything(HOSTILE, "second")
    found["benchmarks"][HOSTILE] = benchmark(
        [metric(HOSTILE, 0.5), metric(HOSTILE, 0.5, subset=HOSTILE)],
        title=HOSTILE,
        note=HOSTILE,
        license=HOSTILE,
        homepage="javascript:window.hacked=1",
        headline="accuracy",
    )
    found["skipped"] = {HOSTILE: HOSTILE}
    return found


def test_a_number_that_is_not_there_is_null_and_an_empty_cell(tmp_path):
    row = metric("mine", float("nan"), float("nan"), float("inf"), seeds=[float("nan"), 0.5])
    found = results("mine", one=benchmark([row], details={"other": {"mine": ({"score": -float("inf")},)}}))
    write_report(found, tmp_path, "openprm evaluate")
    written = json.loads((tmp_path / RESULTS).read_text("utf-8"), parse_constant=lambda text: 1 / 0)
    one = written["benchmarks"]["one"]
    assert (one["metrics"][0]["value"], one["metrics"][0]["high"]) == (None, None)
    assert (one["metrics"][0]["seeds"], one["details"]) == ([None, 0.5], {"other": {"mine": [{"score": None}]}})
    text = (tmp_path / TABLES).read_text("utf-8")
    assert "nan" not in text
    assert "None" not in text
    assert "| mine |  |  | 10 |  |" in text


def test_texts_of_others_are_escaped_and_the_page_loads_nothing(tmp_path):
    text = written(tmp_path, hostile(), HOSTILE).read_text("utf-8")
    assert "<img src=x" not in text
    assert "<script" not in text
    assert "&lt;img src=x onerror=window.hacked=1&gt;" in text
    assert not set("\x1b\u202e\ud800") & set(text)
    assert set(re.findall(r'(?:src|href)="([a-z]+:|#b\d)', text)) <= {"data:", "#b1", "#b2", "#b3"}
    assert "default-src 'none'" in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) == 3


def test_every_number_is_there_with_its_interval_and_none_without_a_value():
    one = benchmark([metric("mine", 0.5, 0.25, 0.75), metric("vote", None)], license=None)
    text = page(results("mine", one=one), "openprm evaluate mine", {})
    assert "<td>0.500 <small>(0.250 to 0.750)</small></td>" in text
    assert re.search(r'<th scope="row">vote</th><td></td>', text)
    assert "nan" not in text.lower()
    assert "None" not in text
    assert "abc123" in text
    assert "<pre" in text
    assert "openprm evaluate mine" in text
    assert "Before the numbers" not in text


def test_a_picture_is_in_the_page():
    shown = {"caption": "A picture.", "source": "data:image/svg+xml;base64,PHN2Zy8+", "wide": True}
    text = page(results("m", one=benchmark([metric("m", 0.5)])), "", {"one": [shown]})
    assert '<img src="data:image/svg+xml;base64,PHN2Zy8+" alt="A picture.">' in text
    assert '<figure class="wide">' in text


def test_without_matplotlib_there_is_a_page_without_pictures(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = written(tmp_path, everything()).read_text("utf-8")
    assert "<figure" not in text
    assert "0.400" in text
    assert not (tmp_path / PICTURES).exists()
    assert [record.getMessage() for record in caplog.records] == [
        "pictures need matplotlib: pip install 'openprm[plots]'"
    ]


def test_equal_results_give_an_equal_page_and_many_subsets_are_no_trouble(tmp_path):
    rows = [metric("m", 0.5, 0.4, 0.6, subset=f"subset {n}") for n in range(2_000)]
    found = results("m", one=benchmark([metric("m", 0.5), *rows]))
    (tmp_path / "again").mkdir()
    assert written(tmp_path, found).read_bytes() == written(tmp_path / "again", found).read_bytes()
    assert "subset 1999" in (tmp_path / PAGE).read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_the_page_can_be_read(tmp_path, open_page, scheme, viewport):  # noqa: F811
    found = everything("first", "second", "a-third-" + "long" * 20)
    path = written(tmp_path, found, "openprm evaluate " + "x" * 300)
    view = open_page(path.as_uri(), viewport=viewport, color_scheme=scheme)
    assert not scrolls_sideways(view)
    assert not hard_to_read(view)
    assert not unlabelled(view)
    assert view.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")
    assert view.evaluate("document.images.length") == len(list((tmp_path / PICTURES).iterdir())) == 12
    assert view.evaluate("[...document.images].every((image) => image.alt.length > 10)")
    assert view.locator("h1").inner_text().startswith("Evaluation of first, second, a-third-")
    narrow = "Math.min(...[...document.images].map((image) => image.clientWidth))"
    assert view.evaluate(narrow) >= 400  # smaller ones are scrolled, not shrunk


def test_keys_reach_what_must_be_scrolled_and_links_go_to_benchmarks(tmp_path, open_page):  # noqa: F811
    view = open_page(written(tmp_path, everything()).as_uri(), viewport=PHONE)
    wide = "[...document.querySelectorAll('*')].filter((one) => one.scrollWidth > one.clientWidth + 1"
    wide += " && getComputedStyle(one).overflowX === 'auto')"
    assert view.evaluate(f"{wide}.length") > 5
    assert view.evaluate(f"{wide}.every((one) => one.tabIndex === 0 && one.ariaLabel)")
    view.get_by_role("link", name="Steps").click()
    assert view.url.endswith("#b2")
    assert view.get_by_role("heading", level=2, name="Steps").is_visible()
    first = view.get_by_role("region", name="By subset: accuracy")
    header = first.get_by_role("rowheader", name="easy")
    before = header.bounding_box()["x"]
    first.evaluate("(one) => { one.scrollLeft = 100 }")
    assert header.bounding_box()["x"] == before  # which row it is stays in sight


def test_hostile_names_do_nothing_in_a_browser(tmp_path, open_page):  # noqa: F811
    view = open_page(written(tmp_path, hostile()).as_uri())
    assert view.evaluate("window.hacked") is None
    assert view.evaluate("[...document.images].every((image) => image.src.startsWith('data:image/svg'))")
    assert view.evaluate("[...document.images].every((image) => image.naturalWidth > 100)")
    assert "<img src=x" in view.locator("h1").inner_text()


def test_in_print_nothing_is_hidden(tmp_path, open_page):  # noqa: F811
    view = open_page(written(tmp_path, everything()).as_uri(), color_scheme="dark")
    view.emulate_media(media="print")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.evaluate(
        "[...document.querySelectorAll('.scroll')].every((one) => getComputedStyle(one).overflowX === 'visible')"
    )
    assert not hard_to_read(view)
