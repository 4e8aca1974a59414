"""Values of the beginnings of responses, by how their completions end; all responses go on in step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Failure
from ..schema import RolloutLabels
from .rollouts import found_error, next_depths
from .step_labels import CORRECT, NO_ERROR, VALUE, step_labels


@dataclass(frozen=True)
class Beginning:
    """The first steps of a response to a prompt; of the row the question, reference and ids are used."""

    row: Mapping[str, Any]
    steps: tuple[str, ...]
    response: tuple[str, ...]  # all its steps, which decide how it is tokenized

    @property
    def key(self) -> tuple[str, str]:
        """The same for the same beginning of two responses."""
        return self.row["prompt_id"], "".join(self.steps)


@dataclass(frozen=True)
class Valued:
    """The mean outcome of n completions, None where none could be used, and what they cost.

    cut: completions that a limit cut, which are not among the n. as_a_whole: see `openprm.engines.given_response`.
    next_step: the first new step of a completion that ended right.
    """

    value: float | None
    n: int
    cut: int = 0
    n_tokens: int = 0
    as_a_whole: bool = True
    next_step: str | None = None


#: For each beginning its value, or why there is none.
Value = Callable[[Sequence[Beginning]], Sequence[Valued | Failure]]
#: What is known already, by `Beginning.key`.
Known = MutableMapping[tuple[str, str], Valued | Failure]


def label_responses(
    rows: Sequence[tuple[Mapping[str, Any], Sequence[str], float]],
    value: Value,
    known: Known,
    *,
    mode: str,
    threshold: float = 0.0,
    corrections: bool = False,
) -> list[RolloutLabels | Failure]:
    """The labels of responses, each a row, its steps and its outcome.

    Labels of `scan` are values, those of `binary` hard, with the first error. With `corrections`, beginnings that
    end just before the first error are completed too, and a step of a completion that ended right is kept.
    Each different beginning is valued once; what is valued is added to `known`.
    """
    found = [_Response(row, tuple(steps), {len(steps): outcome}) for row, steps, outcome in rows]

    def look_up(wanted: Sequence[tuple[_Response, int]]) -> None:
        new: dict[tuple[str, str], tuple[Beginning, _Response]] = {}
        for response, depth in wanted:
            one = response.begin(depth)
            if one.key not in known:
                new.setdefault(one.key, (one, response))
        for (key, (_, response)), valued in zip(new.items(), value([one for one, _ in new.values()]), strict=True):
            known[key] = valued
            if isinstance(valued, Valued):
                response.paid.append(valued)
        for response, depth in wanted:
            response.learn(depth, known[response.begin(depth).key])

    while wanted := [
        (one, depth)
        for one in found
        if one.failure is None
        for depth in next_depths(mode, len(one.steps), one.values, threshold)
    ]:
        look_up(wanted)
    for one in found:
        if one.failure is None:
            one.error = found_error(mode, len(one.steps), one.values, threshold)
    if corrections:
        look_up([(one, one.error) for one in found if one.error is not None and one.error != NO_ERROR])
    return [one.labels(mode, threshold, corrections) for one in found]


@dataclass
class _Response:
    """What is known of a response; `paid`: what was valued for it and for no earlier one."""

    row: Mapping[str, Any]
    steps: tuple[str, ...]
    values: dict[int, float | None]  # by depth
    support: dict[int, int] = field(default_factory=dict)
    next_steps: dict[int, str | None] = field(default_factory=dict)
    paid: list[Valued] = field(default_factory=list)
    error: int | None = None
    failure: Failure | None = None

    def begin(self, depth: int) -> Beginning:
        return Beginning(self.row, self.steps[:depth], self.steps)

    def learn(self, depth: int, valued: Valued | Failure) -> None:
        if isinstance(valued, Failure):
            self.failure = self.failure or valued
        else:
            self.values[depth], self.support[depth] = valued.value, valued.n
            self.next_steps[depth] = valued.next_step

    def labels(self, mode: str, threshold: float, corrections: bool) -> RolloutLabels | Failure:
        if self.failure is not None:
            return self.failure
        depths = range(1, len(self.steps) + 1)
        labels = [self.values.get(depth) for depth in depths]
        hard = mode == "binary"
        try:
            row = step_labels(
                self.row,
                self.steps,
                [None if label is None else float(label > threshold) for label in labels] if hard else labels,
                kind=CORRECT if hard else VALUE,
                by=f"rollouts, {mode}",
                support=[*(self.support.get(depth) for depth in depths[:-1]), 1],
                first_error=self.error if hard else None,
                correction=self.next_steps.get(self.error) if corrections and self.error is not None else None,
            )
        except Failure as failure:
            return failure
        return RolloutLabels(
            **row,
            beginnings=len(self.paid),
            tokenized_apart=sum(not one.as_a_whole for one in self.paid),
            completions=sum(one.n for one in self.paid),
            cut=sum(one.cut for one in self.paid),
            new_tokens=sum(one.n_tokens for one in self.paid),
        )
