"""What a searcher reports while it works."""

from __future__ import annotations

from typing import Any

import pytest

from openprm.decoding.methods import Method
from openprm.decoding.searcher import Searcher
from openprm.errors import Failure


@pytest.mark.parametrize(
    ("method", "questions"), [(Method("majority-vote", 4), [0.5, 0.75, 0.75]), (Method("pbs", 4, "min"), [0, 0, 0])]
)
def test_questions_count_as_their_whole_answers_are_drawn(method: Method, questions: list[float]):
    def generate(requests: Any, report: Any) -> list[Failure]:
        for rows in (2, 3, 3):
            report(rows, 10)
        return [Failure("refused", "none", key=None)] * len(requests)

    searcher = Searcher(method, generate, None)  # type: ignore[arg-type]
    calls: list[tuple[float, int]] = []
    searcher([[{"role": "user", "content": "q"}]] * 2, [0, 1], report=lambda *call: calls.append(call))
    assert calls == [(rows, 10) for rows in questions]
