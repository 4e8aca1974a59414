"""The demo: its HTML in Python, and the page in a real browser, with the package and as the Space's files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from openprm.errors import InputError
from openprm.schema import Candidate
from openprm.scoring.aggregation import aggregations_of
from openprm.scoring.pipeline import load_scorer
from openprm.viewer.demo import GRADIO, example_of, launch, space_files
from openprm.viewer.demo_page import EXAMPLE, MAX_ANSWERS, build_for, result, score_answers, serve
from tests.browser import PHONE, browser, hard_to_read, open_page, scrolls_sideways, unlabelled  # noqa: F401
from tests.folders import candidate, dataset

HOSTILE = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>${window.hacked=1}{{hacked}}"
ROOT = Path(__file__).parents[2]


def output(*rewards, truncated=False, steps=None):
    return {
        "score": None,
        "steps": steps or [f"Step {index}.\n" for index in range(len(rewards))],
        "step_rewards": list(rewards),
        "aggregation": "min",
        "truncated": truncated,
    }


def headings(html):
    return [re.sub("<[^>]+>", "|", heading) for heading in re.findall("<h3>(.*?)</h3>", html)]


def test_the_best_answer_is_said_by_the_chosen_aggregation():
    outputs = [output(1.0, 4.0), output(2.0, 1.5)]
    assert headings(result(outputs, "min")) == ["Answer 1: score +1.000 (min)", "Answer 2|best|: score +1.500 (min)"]
    assert "The best is answer 2, score +1.500." in result(outputs, "min")
    assert headings(result(outputs, "last"))[0] == "Answer 1|best|: score +4.000 (last)"


def test_ties_and_single_answers_are_said_to_be_so():
    tie = result([output(1.0), output(-1.0), output(1.0)], "min")
    assert [heading.count("tied for best") for heading in headings(tie)] == [1, 0, 1]
    assert "A tie for the best: answers 1, 3" in tie
    alone = result([output(-1.0)], "min")
    assert headings(alone) == ["Answer 1: score −1.000 (min)"]
    assert "Add another one" in alone


def test_steps_are_colored_between_the_lowest_and_the_highest_of_all_answers():
    html = result([output(-2.0, 5.0), output(1.5)], "mean")
    assert re.findall(r'class="value (c\d)">([^<]+)<', html) == [("c0", "−2.000"), ("c6", "+5.000"), ("c3", "+1.500")]


def test_steps_that_did_not_fit_have_no_reward_and_no_part_in_the_score():
    html = result([output(1.0, -1.0, None, None, truncated=True), output(0.0)], "min")
    assert "Too long for the model: the steps from 3 on have no reward" in html
    assert html.count("no reward</span>") == 2
    assert headings(html) == ["Answer 1: score −1.000 (min)", "Answer 2|best|: score +0.000 (min)"]


def test_texts_are_escaped():
    assert "<img" not in result([output(1.0, steps=[HOSTILE])], "min")


@pytest.mark.parametrize(
    ("question", "answers", "message"),
    [
        (" \n", ["Yes"], "The question is empty"),
        ("Why?", ["Yes", " "], "Answer 2 is empty: write it, or remove"),
        ("Why?", [""], "Answer 1 is empty: write it."),
        ("Why?", ["Yes", "y" * 20_001], "Answer 2 has 20,001 characters, and 20,000 are the most"),
        ("y" * 20_001, ["Yes"], "The question has 20,001 characters"),
        ("Why?", ["Yes", "far too long"], "Answer 2 cannot be scored: no room"),
    ],
)
def test_errors_name_the_text(question, answers, message):
    def score(answer):
        if "long" in answer["response"]:
            raise ValueError("no room")
        return output(1.0)

    with pytest.raises(ValueError, match=re.escape(message)):
        score_answers(score, question, answers)


def test_what_cannot_be_launched_is_explained(served, tmp_path, monkeypatch):
    url, scorer = served
    with pytest.raises(InputError, match="nowhere cannot be read as a model"):
        launch(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="choose another --port"):
        launch(scorer.model.name_or_path, port=int(url.rstrip("/").rpartition(":")[2]))
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"pip install 'openprm\[demo\]'"):
        launch("anything")


def test_the_spaces_files():
    example = {"question": "Who?", "answers": ["Me."]}
    files = space_files("someone/model", example)
    assert 'MODEL = "someone/model"' in files["app.py"]
    assert "OWNER" not in files["app.py"]
    assert json.loads(files["example.json"]) == example
    assert space_files("someone/model", example) == files
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
            own = re.findall(r"from (\.+)([\w.]+) import", text)
            folders = Path(path).parents
            assert {f"{folders[len(dots) - 1]}/{name.replace('.', '/')}.py" for dots, name in own} <= set(files)


def test_the_space_asks_for_the_packages_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(space_files("someone/model")["requirements.txt"].split()) <= set(project["dependencies"])
    (gradio,) = map(Requirement, project["optional-dependencies"]["demo"])
    assert GRADIO in gradio.specifier


QUESTION = "What is the sum of two and three?"
ANSWERS = ["First, add the numbers.\nThe sum of two and three is five.\nSo 5", f"Well.\n{HOSTILE}.\nSo 6"]


@pytest.fixture(scope="module")
def served(base) -> Iterator[tuple[str, object]]:
    """The address of the demo of a tiny model, and its pipeline."""
    pytest.importorskip("gradio", reason="needs the extra demo")
    scorer = load_scorer(str(base))
    blocks = build_for(scorer, "A demo", {"question": QUESTION, "answers": ANSWERS})
    serve(blocks, prevent_thread_lock=True, quiet=True)
    yield blocks.local_url, scorer
    blocks.close()


def score(page):
    page.get_by_role("button", name="Score").click()


def numbers(page):
    page.locator("#result .value").first.wait_for()
    return [
        [value.replace("−", "-") for value in answer.locator(".value").all_inner_texts()]
        for answer in page.locator("#result .answer").all()
    ]


def written(rewards):
    return [f"{reward:+.3f}" for reward in rewards]


def test_answers_are_scored_as_by_the_pipeline_and_the_best_is_marked(served, open_page):  # noqa: F811
    url, scorer = served
    # before the page asks for it: a model computes one call at a time
    expected = scorer([{"question": QUESTION, "response": answer} for answer in ANSWERS])
    page = open_page(url)
    score(page)
    assert numbers(page) == [written(one["step_rewards"]) for one in expected]
    assert page.locator("#result .text").all_inner_texts()[0] == "First, add the numbers."
    best = max((0, 1), key=lambda index: expected[index]["score"])
    assert f"The best is answer {best + 1}" in page.get_by_role("status").filter(has_text="best").inner_text()
    assert page.locator("#result .mark").all_inner_texts() == ["best"]
    assert page.locator("#result .answer").nth(best).locator(".mark").is_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#result img").count() == 0
    assert page.get_by_text("Compare rewards of answers to one question only").is_visible()


def test_another_aggregation_needs_no_new_scoring(served, open_page):  # noqa: F811
    url, scorer = served
    page = open_page(url)
    score(page)
    before = numbers(page)
    page.get_by_label("Aggregation").click()
    assert [option.get_attribute("aria-label") for option in page.get_by_role("option").all()] == aggregations_of(
        "strength"
    )
    page.get_by_role("option", name="last", exact=True).click()
    page.get_by_role("heading", name="(last)").first.wait_for()
    assert numbers(page) == before
    last = scorer({"question": QUESTION, "response": ANSWERS[0]})["step_rewards"][-1]
    assert written([last])[0] in page.get_by_role("heading", level=3).first.inner_text().replace("−", "-")


def test_answers_are_added_and_removed(served, open_page):  # noqa: F811
    page = open_page(served[0])
    add, remove = (page.get_by_role("button", name=name) for name in ("Add an answer", "Remove the last answer"))
    for number in range(3, MAX_ANSWERS + 1):
        add.click()
        page.get_by_label(f"Answer {number}", exact=True).wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('button')].find((b) => b.innerText.includes('Add')).disabled"
    )
    for number in range(MAX_ANSWERS, 1, -1):
        remove.click()
        page.get_by_label(f"Answer {number}", exact=True).wait_for(state="hidden")
    score(page)
    assert len(numbers(page)) == 1
    assert "Add another one" in page.locator("#result").inner_text()


def test_errors_are_shown(served, open_page):  # noqa: F811
    page = open_page(served[0])
    page.get_by_label("Answer 2", exact=True).fill("  ")
    score(page)
    assert "Answer 2 is empty" in page.get_by_role("alert").inner_text()
    page.get_by_label("Answer 2", exact=True).fill("far too long " * 200)
    score(page)
    page.get_by_role("alert").filter(has_text="cannot be scored").wait_for()
    assert "reads at most 256" in page.get_by_role("alert").inner_text()
    page.get_by_label("Answer 2", exact=True).fill("Short.\n" + "far too long " * 200)
    score(page)
    page.get_by_text("Too long for the model: the steps from 2 on").wait_for()
    assert numbers(page)[1][1:] == ["no reward"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_demo_fits_a_phone_and_every_control_has_a_name(served, open_page, scheme):  # noqa: F811
    page = open_page(served[0], viewport=PHONE, color_scheme=scheme)
    score(page)
    numbers(page)
    assert not scrolls_sideways(page)
    assert not unlabelled(page)
    assert not hard_to_read(page, "#result *, button.primary")


# The Space's own start, with every import of the package refused.
START = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "openprm":
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, "")
app = runpy.run_path("app.py")
assert "openprm.scoring.pipeline" not in sys.modules
app["serve"](app["demo"], prevent_thread_lock=True, quiet=True)
print(app["demo"].local_url, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_the_space_needs_no_package(base, tmp_path, open_page):  # noqa: F811
    pytest.importorskip("gradio", reason="needs the extra demo")
    model = tmp_path / "model"
    scorer = load_scorer(str(base))
    scorer.save_pretrained(str(model))
    space = tmp_path / "space"
    for path, text in space_files(str(model)).items():
        (space / path).parent.mkdir(parents=True, exist_ok=True)
        (space / path).write_text(text, "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", START],
        cwd=space,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert url, "the Space did not start"
            page = open_page(url)
            score(page)
            expected = scorer([{"question": EXAMPLE["question"], "response": one} for one in EXAMPLE["answers"]])
            assert numbers(page) == [written(one["step_rewards"]) for one in expected]
            page.close()
        finally:
            process.kill()


def test_an_example_is_taken_from_candidates(tmp_path: Path):
    rows = [candidate("p", 0, "One.", 1.0), candidate("p", 1, "One.", 1.0), candidate("p", 2, "Two.", 0.0)]
    folder = dataset(tmp_path / "candidates", Candidate, rows)
    assert example_of(str(folder)) == {"question": "What is p?", "answers": ["One.", "Two."]}
    assert example_of(str(dataset(tmp_path / "few", Candidate, rows[:2]))) is None
