"""The pictures of an evaluation on benchmarks."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from openprm.errors import InputError
from openprm.evaluation.report import plots
from openprm.evaluation.report.plots import benchmark_pictures, label, overview_pictures
from openprm.figure import save_figure
from openprm.viewer.colors import SCALE

from .everything import everything
from .results import benchmark, metric, results

pytest.importorskip("matplotlib")


def drawn(found):
    """By name, the figures of all."""
    pictures = list(overview_pictures(found))
    for name, result in found["benchmarks"].items():
        pictures += benchmark_pictures(name, result, found["models"])
    return {name: figure for name, _, figure in pictures}


def lines(axis):
    return [list(zip(*line.get_data(), strict=True)) for line in axis.lines]


def test_there_is_a_picture_of_whatever_there_are_numbers_for():
    assert list(drawn(everything())) == [
        "overview",
        "choices-candidates",
        "choices-prefixes",
        "choices-mathematics-0",
        "choices-length-models",
        *("choices-attacks-0", "choices-attacks-1", "choices-attacks-2"),
        *("choices-distribution-models", "choices-abstention-models", "choices-calibration-models"),
        "choices-aggregations",
    ]
    assert list(drawn(results("m", one=benchmark([metric("m", 0.5)])))) == ["overview"]
    assert list(drawn(results("m"))) == []


def test_a_dot_stands_at_its_number_between_the_ends_of_its_interval():
    rows = [metric("mine", 0.5, 0.25, 1.0), metric("length", 0.75), metric("vote", None, None, None)]
    (axis,) = drawn(results("mine", one=benchmark(rows), empty=benchmark([])))["overview"].axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one: accuracy"]
    assert lines(axis) == [[(0.25, -0.25), (1.0, -0.25)], [(0.5, -0.25)], [(0.75, 0.0)]]


def test_many_models_are_told_apart():
    change, figure = (drawn(everything(*"abcdef"))[f"choices-attacks-{index}"] for index in (0, 1))
    (legend,) = change.legends
    assert [text.get_text() for text in legend.get_texts()] == [*"abcdef"]  # lengths are on another scale
    (axis,) = figure.axes
    assert axis.get_xlabel() == "beats the worse"
    assert [text.get_text() for text in axis.get_yticklabels()] == ["empty answer", ":"]
    places = sorted(float(line.get_ydata()[0]) for line in axis.lines if len(line.get_xdata()) == 1)
    assert len(places) == 2 * 8
    assert all(after - before > 0.05 for before, after in pairwise(places))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*"abcdef", "random score", "length"]
    assert len({(line.get_color(), line.get_marker()) for line in legend.get_lines()}) >= 7


def test_lines_go_through_the_numbers_in_their_order():
    rows = [metric("mine", 0.75, 0.5, 1.0, metric=f"accuracy@{n}") for n in (16, 2)]
    rows += [metric("mine", 0.25, None, None, metric="accuracy@1"), metric("vote", None, metric="accuracy@1")]
    (axis,) = drawn(results("mine", one=benchmark(rows)))["one-candidates"].axes
    assert lines(axis) == [[(1.0, 0.25), (2.0, 0.75), (16.0, 0.75)]]
    assert axis.get_xscale() == "log"
    (axis,) = drawn(everything())["choices-prefixes"].axes
    assert lines(axis)[0] == [(50.0, 0.4), (100.0, 0.4)]


def test_single_rewards_are_drawn_for_each_model_that_has_them():
    pictures = drawn(everything())
    first, second = pictures["choices-length-models"].axes
    assert first.get_title(loc="left") == "first\ncorrelation 0.40 (0.30 to 0.50)"
    assert lines(second) == [[(0, 1), (20, 3), (40, 5)], [(10, 2), (30, 4), (50, 6)]]
    (reliability,) = pictures["choices-calibration-models"].axes
    assert lines(reliability) == [[(0, 0), (1, 1)], [(0.1, 0.2), (0.9, 0.7)]]
    one, _ = pictures["choices-distribution-models"].axes
    assert [list(patch.get_data().values) for patch in one.patches] == [[0.5, 0.5], [0.25, 0.75]]
    _, risk = pictures["choices-abstention-models"].axes
    assert lines(risk)[0] == [(0.5, 0.1), (1.0, 0.4)]


def test_hostile_names_are_drawn_as_they_are(tmp_path):
    hostile = ("a$b$_{", "_hidden", "\x1b[31m<script>\x00", "x" * 200, "")
    for name, figure in drawn(everything(*hostile)).items():
        path = tmp_path / f"{name}.svg"
        save_figure(figure, path)
        ElementTree.parse(path)
    (legend,) = picture_of_attacks(hostile).legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[0] == r"a\$b\$_{"
    assert shown[1].strip() == "_hidden"
    assert "\x1b" not in shown[2]
    assert len(shown) == len(hostile) + 2
    assert label("one two " * 8).count("\n") == 2
    assert label("x" * 200) == "\n".join(["x" * 26, "x" * 26, "x" * 19 + "…"])


def picture_of_attacks(models):
    return drawn(everything(*models))["choices-attacks-1"]


def test_equal_results_give_equal_bytes(tmp_path):
    for name in ("one", "other"):
        for picture, figure in drawn(everything()).items():
            (tmp_path / name).mkdir(exist_ok=True)
            save_figure(figure, tmp_path / name / f"{picture}.svg")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_colors_are_those_of_the_pages():
    assert {plots.BLUE, plots.ORANGE, plots.SKY, plots.BROWN} <= {background for background, _ in SCALE}


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"openprm\[plots\]"):
        list(overview_pictures(everything()))
