"""The tree page: its data in Python, and the page in a real browser."""

from __future__ import annotations

import json
import re

import pytest

from openprm.errors import InputError
from openprm.schema import Tree
from openprm.trees.pairs import MinGap, PairParameters, sibling_pairs
from openprm.trees.tree import MergeParameters, build_tree
from openprm.viewer.tree_page import show_trees, tree_data, write_tree_page
from tests.browser import PHONE, browser, hard_to_read, open_page, scrolls_sideways, unlabelled  # noqa: F401
from tests.folders import dataset
from tests.trees.test_tree import candidate

HOSTILE = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script><!--<script>\u2028 & \"'"
FORK = {
    "We begin.\nAdd two and three.\nThat is five.\nSo 5": 1.0,
    "We begin.\nAdd two and three.\nThat is 5.\nSo 5": 1.0,
    "We begin.\nTimes two and three.\nThat is six.\nSo 6": 0.0,
    "A guess.\nIt is 7": 0.0,
}


def tree_of(rewards, prompt_id="p", **parameters):
    rows = [candidate(text, reward, index, prompt_id) for index, (text, reward) in enumerate(rewards.items())]
    return build_tree(rows, "golden", MergeParameters(**parameters))


def pairs(tree):
    return sibling_pairs(tree, 0.2, PairParameters(select="all"))


def write(path, *trees, **options):
    write_tree_page(trees, path, **{"title": "Trees", "pairs": pairs, **options})
    return path


def embedded(path):
    """The JSON texts of a page."""
    return re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.S)


def test_a_trees_data():
    tree = tree_of(FORK)
    data = tree_data(tree, pairs(tree))
    begin, add, guess = (
        next(node for node in data["nodes"] if node["text"].startswith(text)) for text in ("We", "Add", "A guess")
    )
    assert (begin["parent"], begin["text"], begin["leaves"]) == (0, "We begin.\n", 3)
    assert (begin["value"], add["value"], guess["value"]) == (0.666667, 1.0, 0.0)
    assert (add["color"], guess["color"]) == (6, 0)
    assert sorted(node["ends"] for node in data["nodes"] if node["ends"]) == [[0], [1], [2], [3]]
    assert sorted(data["responses"]) == [[0, 1.0], [1, 1.0], [2, 0.0], [3, 0.0]]
    assert len(data["pairs"]) == 2
    for (chosen, rejected, gap), (better, worse) in zip(data["pairs"], pairs(tree), strict=True):
        assert (data["nodes"][chosen]["text"], data["nodes"][rejected]["text"]) == (better["text"], worse["text"])
        assert gap == pytest.approx(better["value"] - worse["value"], abs=1e-6)


def test_wordings_are_the_other_texts_of_a_node():
    texts = {"We begin the sum.\nA": 1.0, "We begin the Sum.\nB": 0.0, "We begin the Sum.\nC": 0.0}
    node = tree_data(tree_of(texts), [])["nodes"][1]
    opened, other = ("sum", "Sum") if "sum" in node["text"] else ("Sum", "sum")
    times = {"sum": 1, "Sum": 2}[other]
    assert (node["text"], node["wordings"]) == (f"We begin the {opened}.\n", [[f"We begin the {other}.", times]])


def test_equal_trees_give_equal_bytes_and_nothing_is_loaded(tmp_path):
    first = write(tmp_path / "a.html", tree_of(FORK), about="All of them.").read_bytes()
    assert write(tmp_path / "b.html", tree_of(FORK), about="All of them.").read_bytes() == first
    assert b"http:" not in first
    assert b"https:" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_hostile_texts_come_back_whole(tmp_path):
    tree = tree_of({HOSTILE: 1.0, f"Well.\n{HOSTILE}": 0.0}, prompt_id=HOSTILE)
    page = write(tmp_path / "page.html", tree, title=HOSTILE, about=HOSTILE)
    assert "<img" not in page.read_text("utf-8")
    (text,) = embedded(page)
    assert not set("<>&\u2028") & set(text)
    data = json.loads(text)
    assert data["id"] == HOSTILE
    assert HOSTILE in {node["text"] for node in data["nodes"]}


@pytest.fixture
def page(tmp_path, open_page):  # noqa: F811
    path = write(tmp_path / "page.html", tree_of(FORK, "first"), tree_of({"One": 1.0, "Two": 0.5}, "second"))
    return open_page(path.as_uri())


def focused(page):
    """The first step of the branch with the focus."""
    return page.evaluate("document.activeElement.querySelector('.text')?.textContent ?? document.activeElement.id")


def visible(page):
    return [
        row.split("\n")[0]
        for row in page.locator("[role=treeitem] > .row .step:nth-of-type(2) .text").all_inner_texts()
    ]


def test_branches_open_and_close_by_mouse(page):
    begin = page.locator("[role=treeitem]", has_text="We begin.").first
    assert begin.get_attribute("aria-expanded") == "true"
    begin.locator("> .row").click()
    assert begin.get_attribute("aria-expanded") == "false"
    assert page.get_by_text("Add two and three.").count() == 0
    begin.locator("> .row").click()
    assert page.get_by_text("Add two and three.").is_visible()
    page.get_by_role("button", name="Collapse all").click()
    assert visible(page) == ["We begin.", "A guess."]
    page.get_by_role("button", name="Expand all").click()
    assert len(visible(page)) == 6
    # a run of steps stands in one branch with its whole text
    guess = page.locator("[role=treeitem]", has_text="A guess.")
    assert guess.locator(".text").all_inner_texts() == ["A guess.", "It is 7"]
    assert guess.get_attribute("aria-expanded") is None
    assert "1 response ends here, reward +0.000 (sample 3)" in guess.inner_text()


def test_keys_move_open_and_close(page):
    page.locator("[role=treeitem]").first.focus()
    keys = [
        ("ArrowDown", "Add two and three."),
        ("ArrowLeft", "Add two and three."),
        ("ArrowDown", "Times two and three."),
        ("ArrowLeft", "We begin."),
        ("End", "A guess."),
        ("ArrowDown", "A guess."),
        ("Home", "We begin."),
        ("ArrowUp", "We begin."),
        ("ArrowRight", "Add two and three."),
        ("ArrowRight", "Add two and three."),
        ("ArrowRight", "That is five."),
        ("/", "search"),
    ]
    for key, expected in keys:
        page.keyboard.press(key)
        assert focused(page) == expected, key
    assert page.locator("[role=treeitem][tabindex='0']").count() == 1
    first = page.locator("[role=treeitem]").first
    first.focus()
    for key, state in (("Enter", "false"), ("*", "true"), (" ", "false")):
        page.keyboard.press(key)
        assert first.get_attribute("aria-expanded") == state


def test_what_a_screen_reader_is_told(page):
    tree = page.get_by_role("tree", name="first")
    assert tree.count() == 1
    begin = page.get_by_role("treeitem", level=1).first
    assert [begin.get_attribute(f"aria-{name}") for name in ("level", "posinset", "setsize")] == ["1", "1", "2"]
    add = page.get_by_role("treeitem", name=re.compile("value \\+1.000.*2 responses.*chosen, gap 1.000.*Add two"))
    assert add.get_attribute("aria-level") == "2"
    assert page.get_by_role("group").first.is_visible()
    assert not unlabelled(page)
    assert page.locator("html").get_attribute("lang") == "en"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(ids) == len(set(ids))


def test_chosen_and_rejected_are_said_and_shown_together(page):
    add = page.locator("[role=treeitem]", has_text="Add two and three.").last
    times = page.locator("[role=treeitem]", has_text="Times two and three.").last
    assert add.locator("> .row .mark").inner_text() == "chosen, gap 1.000"
    assert times.locator("> .row .mark").inner_text() == "rejected, gap 1.000"
    times.locator("> .row").hover()
    assert add.locator("> .row.partner .is-partner").inner_text() == "partner"
    assert page.locator("#partner").inner_text() == "Rejected for, gap 1.000: +1.000 Add two and three."
    page.locator("h1").hover()
    assert page.locator("#partner").is_hidden()
    add.focus()
    assert "Chosen over, gap 1.000: +0.000 Times two and three." in page.locator("#partner").inner_text()
    assert add.get_attribute("aria-describedby") == "partner"
    page.keyboard.press("p")
    assert focused(page) == "Times two and three."
    page.keyboard.press("Home")
    assert page.locator("[role=treeitem]").first.locator("> .row .mark").inner_text() == "chosen, gap 0.667"


def test_search_opens_highlights_and_counts(page):
    page.get_by_role("button", name="Collapse all").click()
    search = page.get_by_label("Search the steps")
    search.fill("THAT is")
    assert page.locator("mark").all_inner_texts() == ["That is"] * 3
    assert page.get_by_role("status").last.inner_text() == "3 steps match; branch 1 of 3"
    search.press("Enter")
    assert page.locator(".current .text").first.inner_text() == "That is 5."
    search.press("Shift+Enter")
    page.get_by_role("button", name="Previous").click()
    assert page.locator(".current .text").first.inner_text() == "Times two and three."
    search.fill("(is")
    assert page.get_by_role("status").last.inner_text() == "No step matches"
    assert page.get_by_role("button", name="Next").is_disabled()
    search.press("Escape")
    assert page.locator("mark").count() == 0
    assert focused(page) != "search"


def test_prompts_are_chosen_filtered_and_linked_to(page, tmp_path):
    assert page.get_by_role("navigation", name="Prompts").is_visible()
    page.get_by_label("Filter prompts").fill("sec")
    assert page.locator("#list button:visible").count() == 1
    page.locator("#list button:visible").click()
    assert page.get_by_label("Merged wordings").is_hidden()
    assert page.get_by_role("heading", level=2).inner_text() == "second"
    assert visible(page) == ["One", "Two"]
    assert page.locator("#list [aria-current=true]").inner_text().startswith("second")
    assert page.url.endswith("#second")
    page.reload()
    assert page.get_by_role("heading", level=2).inner_text() == "second"


def test_merged_wordings_are_shown_on_demand(tmp_path, open_page):  # noqa: F811
    tree = tree_of({"We begin the sum.\nA": 1.0, "We begin the Sum.\nB": 0.0})
    page = open_page(write(tmp_path / "page.html", tree).as_uri())
    assert page.get_by_role("navigation", name="Prompts").is_hidden()
    assert page.locator(".wordings").count() == 0
    assert page.get_by_text("lowest +0.000").is_visible()
    page.get_by_label("Merged wordings").check()
    assert page.locator(".wordings li").all_inner_texts() == ["We begin the sum. (1 response)"]


def test_hostile_texts_are_inert(tmp_path, open_page):  # noqa: F811
    tree = tree_of({HOSTILE: 1.0, f"Well.\n{HOSTILE}": 0.0}, prompt_id=HOSTILE)
    path = write(tmp_path / "page.html", tree, tree_of(FORK), title=HOSTILE, about=HOSTILE)
    page = open_page(path.as_uri())
    page.get_by_label("Search the steps").fill("<img")
    page.locator("[role=treeitem]").first.focus()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("main .text").first.inner_text() == HOSTILE.rstrip()
    assert page.locator("h1").inner_text() == " ".join(HOSTILE.split(" "))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_can_be_read(tmp_path, open_page, scheme):  # noqa: F811
    tree = tree_of({**FORK, "We begins.\nOr not": 0.5})
    page = open_page(write(tmp_path / "page.html", tree, tree_of(FORK)).as_uri(), color_scheme=scheme)
    page.get_by_label("Merged wordings").check()
    page.get_by_label("Search the steps").fill("a")
    page.locator("[role=treeitem]").nth(1).focus()
    assert page.locator(".wordings, #partner .value, .is-partner, mark, .current").count() > 5
    assert not hard_to_read(page)


def test_a_deep_tree_fits_a_phone(tmp_path, open_page):  # noqa: F811
    steps = [f"Step {chr(97 + index)} {'x' * 60} goes on and on" for index in range(20)]
    answers = {".\n".join([*steps[:length], f"And end {'y' * length}"]): float(length) for length in range(1, 20)}
    path = write(tmp_path / "page.html", tree_of(answers, "a" * 80), tree_of(FORK), title="w" * 90)
    page = open_page(path.as_uri(), viewport=PHONE)
    page.get_by_role("button", name="Expand all").click()
    assert page.locator("[role=treeitem]").count() > 30
    assert page.locator("[role=treeitem]").last.get_attribute("aria-level") is not None
    assert not scrolls_sideways(page)
    narrowest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.text')].map((each) => each.parentElement.clientWidth))"
    )
    assert narrowest > 150
    page.get_by_text("2 prompts").click()
    assert not scrolls_sideways(page)
    assert not unlabelled(page)


def test_a_page_needs_a_tree_gets_its_folder_and_does_not_replace_a_folder(tmp_path):
    with pytest.raises(InputError, match="no trees to show"):
        write(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
    assert write(tmp_path / "new" / "trees.html", tree_of(FORK)).is_file()
    with pytest.raises(InputError, match=r"new is a folder; .*new/trees\.html"):
        write(tmp_path / "new", tree_of(FORK))


def test_the_first_trees_with_a_fork_are_shown(tmp_path):
    trees = [tree_of({"One.\nTwo": 1.0}, "flat"), tree_of(FORK, "first"), tree_of(FORK, "second")]
    folder = dataset(tmp_path / "trees", Tree, trees)
    path = tmp_path / "page.html"
    show_trees(folder, path, MinGap.parse("0.2"), limit=1)
    assert [json.loads(text)["id"] for text in embedded(path)] == ["first"]
    show_trees(folder, path, MinGap.parse("0.1sd"))
    assert [json.loads(text)["id"] for text in embedded(path)] == ["first", "second"]
    show_trees(folder, path, MinGap.parse("9"), prompt_id="flat")
    assert [json.loads(text)["id"] for text in embedded(path)] == ["flat"]
    with pytest.raises(InputError, match="no trees to show"):
        show_trees(folder, path, MinGap.parse("0.2"), prompt_id="nobody")
