"""The card check: our own cards pass, and whatever a person changes in them is looked at."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openprm.push.card_check import check_card, check_eval_results
from openprm.push.cards import dataset_card, demo_card, eval_results, metric_card, model_card, policy_card

from tests.push.publications import CONFIG, EXAMPLE, configs, publication

KINDS = ("candidates", "trees", "pairs", "model", "policy", "metric", "demo")


@cache
def card(kind: str) -> str:
    made = publication(kind)
    if kind in ("candidates", "trees", "pairs"):
        return dataset_card(f"somebody/{kind}", made, configs(kind))
    if kind == "model":
        return model_card("somebody/prm-3.1-8B", made, EXAMPLE, CONFIG)
    if kind == "policy":
        return policy_card("somebody/llama-3.1-8b", made)
    if kind == "metric":
        return metric_card("somebody/best_of_n", "best_of_n", made)
    return demo_card("somebody/demo", made, "somebody/prm-3.1-8B", "6.31.0")


def with_line(kind: str, line: str) -> tuple[str, int]:
    """The card with one more line at its end, and that line's number."""
    text = f"{card(kind)}\n{line}\n"
    return text, text.count("\n")


def trees(line: str) -> list[str]:
    return check_card(with_line("trees", line)[0], publication("trees"))


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_cards_pass(kind: str) -> None:
    assert check_card(card(kind), publication(kind)) == []


@pytest.mark.parametrize(
    "line",
    [
        "It has 4,645 nodes, or 4645, or 4.6k; 88.73 % merged, which is 88.7% or 0.89.",
        "A link to [the paper](https://example.org/2024/77) and <https://example.org/99>.",
        "Made with torch 2.13.0+cpu from llama-3.1-8B and somebody/base-7B.",
        "Revision `f18b0a70359ebfb41f658fd564208d0355b013f4`; Lu et al., 2022. Learn to Explain. arXiv:2209.09513.",
        "No number at all, nothing but none of it, and `schema_version`.",
    ],
)
def test_what_a_person_may_write(line: str) -> None:
    assert trees(line) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("It has 4,646 nodes.", "4,646"),
        ("A share of 0.8874 merged.", "0.8874"),
        ("89.5 % merged.", "89.5 %"),
        ("It beats 7B models.", "7B"),
        ("Twice as good: 2.5x.", "2.5x"),
        ("| 17 |", "17"),
        ("Scores lie in 3-19.", "19"),
        ("Fell by -0.8873.", "-0.8873"),
        ("1e-3 of them.", "1e-3"),
    ],
)
def test_a_number_that_no_manifest_has(line: str, said: str) -> None:
    text, number = with_line("trees", line)
    problems = check_card(text, publication("trees"))
    assert problems[-1] == f"line {number}: {said}: no manifest has this number"


@pytest.mark.parametrize("line", ["{{ rows }}", "{% for row %}", "TODO: say more", 'load_dataset("path/to/it")'])
def test_an_unfilled_field(line: str) -> None:
    text, number = with_line("trees", line)
    assert any(p.startswith(f"line {number}: a field is not filled") for p in check_card(text, publication("trees")))


@pytest.mark.parametrize("cell", ["None", "nan", "`None`"])
def test_a_cell_without_a_value(cell: str) -> None:
    assert [problem for problem in trees(f"| mean reward | {cell} |") if "a cell says" in problem]
    assert trees(f"```python\nx = [1] | {cell}\n```") == []


def test_none_may_be_what_was_chosen() -> None:
    made = publication("pairs")
    part = made["parts"]["test"]
    part["parameters"] = {**part["parameters"], "outcome": "none"}
    text = dataset_card("somebody/pairs", made, configs("pairs"))
    assert "| outcome | `best` | `none` |" in text
    assert check_card(text, made) == []
    assert check_card(text, publication("pairs"))


def test_a_fence_is_not_read_but_for_what_is_to_be_filled() -> None:
    assert trees("```python\nx = {{'a': 12345}}\n```") == []
    assert trees("```python\nload('path/to/it')\n```")


TEMPLATE = "{% for message in messages %}{{ message['content'] | trim }}\n{% endfor %}\r\u2028{# TODO: path/to #}"


def test_what_the_manifest_says_is_no_field() -> None:
    """A sampling's chat template is one of its parameters; a source may be called anything."""
    made = publication("candidates")
    for part in made["parts"].values():
        part["parameters"] = {**part["parameters"], "chat_template": TEMPLATE, "where": {"path/to_x": "TODO"}}
    text = dataset_card("somebody/candidates", made, configs("candidates"))
    assert "| chat template | `{% for" in text
    assert check_card(text, made) == []
    assert check_card(text, publication("candidates"))
    (problem,) = check_card(text + "\n{% for %}\n", made)
    assert problem.endswith("a field is not filled: {%")


@pytest.mark.parametrize(
    "odd",
    [
        "See path/to/it. TODO: {{ x }} {% y %} [More Information Needed]",
        "a\u2028```\x85~~~\x0cTODO\r\nTODO",
        "```\nTODO",
    ],
)
@pytest.mark.parametrize("chat", [False, True])
def test_the_example_may_say_anything(odd: str, chat: bool) -> None:
    example = {"question": [{"role": "user", "content": odd}] if chat else odd, "response": odd}
    text = model_card("somebody/prm", publication("model"), example, CONFIG)
    assert check_card(text, publication("model")) == []
    changed = text.replace('model="somebody/prm"', 'model="path/to/it"')
    assert any("path/to" in problem for problem in check_card(changed, publication("model")))


FILES = {"statistics.png", "trees.html", "README.md", "data/train-00000.parquet", "a b.png"}


@pytest.mark.parametrize(
    "line",
    [
        "[a](trees.html), [b](./trees.html#2 'all'), ![c](statistics.png), [d](data), [e](#columns)",
        "[f](manifest.json)",
        "[a](https://example.org/x.png) <img src='statistics.png'> ![b](a%20b.png) ![c](<a b.png>)",
        "[a]: trees.html\n[a], [b] and `[c](x.png)`",
        "```python\ncells[0](x)\n```",
    ],
)
def test_links_to_what_is_there(line: str) -> None:
    assert check_card(with_line("trees", line)[0], publication("trees"), FILES) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("![a](pictures/a.png)", "pictures/a.png"),
        ("[![a](statistics.png)](page.html)", "page.html"),
        ("[a](../pairs) is another repository", "../pairs"),
        ('<img alt="a" src="a.png">', "a.png"),
        ("[a]: b.html", "b.html"),
    ],
)
def test_a_link_to_what_is_not_there(line: str, said: str) -> None:
    text, number = with_line("trees", line)
    made = publication("trees")
    assert check_card(text, made, FILES) == [f"line {number}: {said}: the repository has no such file"]
    assert check_card(text, made) == []


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_cards_link_to_what_is_there(kind: str) -> None:
    pictures = {"statistics.png"} if kind in ("candidates", "trees", "pairs", "model") else set()
    pages = {"trees.html"} if kind == "trees" else set()
    assert check_card(card(kind), publication(kind), pictures | pages) == []
    assert len(check_card(card(kind), publication(kind), set())) == len(pictures | pages)


def test_a_model_that_nobody_measured_links_no_picture() -> None:
    made = publication("model")
    del made["evaluation"]
    assert check_card(model_card("somebody/prm", made, EXAMPLE, CONFIG), made, set()) == []


def test_no_header() -> None:
    assert check_card("# Trees\n", publication("trees")) == [
        "line 1: the card does not begin with YAML between two lines of ---"
    ]


def test_a_broken_header_names_its_line() -> None:
    (problem,) = check_card("---\nlicense: mit\ntags: [a\n---\nText\n", publication("trees"))
    assert re.match(r"line [34]: the YAML cannot be read: ", problem)
    assert check_card("---\n- mit\n---\n", publication("trees")) == [
        "line 2: the YAML is no mapping of names to values"
    ]


def test_the_license() -> None:
    made = publication("trees")
    text = card("trees")
    without = text.replace("license: cc-by-nc-sa-4.0\n", "")
    assert check_card(without, made) == ["line 2: the YAML has no license"]
    other = text.replace("license: cc-by-nc-sa-4.0\n", "license: mit\n")
    (problem,) = check_card(other, made)
    assert re.fullmatch(r"line \d+: the license is mit, and the manifest has cc-by-nc-sa-4.0", problem)
    line = int(re.findall(r"\d+", problem)[0])
    assert other.splitlines()[line - 1] == "license: mit"
    named = dataset_card("somebody/trees", {**made, "license": "my-own"}, configs("trees"))
    assert check_card(named, {**made, "license": "my-own"}) == []
    assert check_card(named, {**made, "license": None})[0] == "the publication manifest has no license"


def test_results_in_the_header() -> None:
    text = card("model").replace("value: 0.868578", "value: 0.968578")
    (problem,) = check_card(text, publication("model"))
    assert "the model-index has 0.968578" in problem
    assert text.splitlines()[int(re.findall(r"\d+", problem)[0]) - 1].strip() == "value: 0.968578"
    words = card("model").replace("to 0.910'", "to 0.980'")
    assert [problem for problem in check_card(words, publication("model")) if "0.980" in problem]


def test_rows_in_the_header() -> None:
    text = card("trees").replace("num_examples: 300", "num_examples: 301")
    (problem,) = check_card(text, publication("trees"))
    assert "301 rows" in problem


def test_eval_results() -> None:
    made = publication("model")
    text = eval_results(made)
    assert text is not None
    assert check_eval_results(text, made) == []
    assert check_eval_results(text.replace("0.868578", "0.9"), made) == []  # as rounded as a person may
    assert check_eval_results(text.replace("0.868578", "0.95"), made) == ["value 0.95: no manifest has it"]
    assert check_eval_results("- dataset: x\n", made)[0].startswith("the file is no list of results")
    assert check_eval_results("a: [", made)


TABLE = re.compile(r"(?<=\| )[+-]?\d[\d,]*(?:\.\d+)?(?= \|)")


@given(st.sampled_from(("candidates", "trees", "pairs", "model")), st.data())
def test_any_changed_number_of_a_table_is_found(kind: str, data: st.DataObject) -> None:
    """But where the changed one happens to be another that the manifest has."""
    text = card(kind)
    match = data.draw(st.sampled_from([*TABLE.finditer(text)]))
    digit = data.draw(st.sampled_from([index for index, letter in enumerate(match[0]) if letter.isdigit()]))
    letter = data.draw(st.sampled_from([letter for letter in "0123456789" if letter != match[0][digit]]))
    changed = match[0][:digit] + letter + match[0][digit + 1 :]
    problems = check_card(text[: match.start()] + changed + text[match.end() :], publication(kind))
    line = text.count("\n", 0, match.start()) + 1
    if problems:
        assert f"line {line}: {changed}: no manifest has this number" in problems
    else:  # said elsewhere, perhaps with more digits
        digits = len(changed.partition(".")[2])
        shown = {f"{abs(number):.{digits}f}" for number in _numbers(publication(kind))}
        assert changed.replace(",", "").lstrip("+-") in shown


def _numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for item in [*value.keys(), *value.values()] for number in _numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, str):
        return [float(value)] if re.fullmatch(r"-?\d+(\.\d+)?", value) and len(value) < 30 else []
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []
