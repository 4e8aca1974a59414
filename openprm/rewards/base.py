"""The interface of outcome rewards: candidates in, one result each out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from ..engines.base import Report, no_report
from ..errors import Failure
from ..schema import Candidate, Reward, plain_reward

#: Marks a candidate whose reward is 0 because no answer could be read in its response.
UNPARSABLE = "unparsable"
#: Marks a candidate whose reward is 0 because its answer was not compared in time.
TIMED_OUT = "timed-out"


@dataclass(frozen=True)
class RewardResult:
    """The reward of one candidate, or why there is none; `marks` are added to the candidate's."""

    reward: Reward | None
    marks: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True)
class RewardBatch:
    """Candidates whose results are stored together."""

    index: int
    candidates: Sequence[Candidate]


#: Each batch with one result per candidate, in the candidates' order.
RewardedBatches = Iterator[tuple[RewardBatch, list[RewardResult]]]


class Rewarder(Protocol):
    """Rewards candidates. A model or connections are loaded when it is first used."""

    @property
    def name(self) -> str:
        """The name under which the rewards are stored."""

    def rewards(self, batches: Iterable[RewardBatch], report: Report = no_report) -> RewardedBatches:
        """The results; batches may come back in another order.

        A candidate's fault is a failure of that one alone. Raises InputError where none can be rewarded (a model that
        cannot be loaded, a server that refuses the key).
        """

    def describe(self) -> dict[str, Any]:
        """Everything that determines the rewards, for the manifest (no keys, no addresses)."""

    def close(self) -> None:
        """Frees what it holds."""


@dataclass(frozen=True)
class RuleRewarder:
    """A `Rewarder` by a pure function of one candidate.

    rule: the value of the reward, or None where no answer could be read, which is 0 with the mark `UNPARSABLE`. It
    raises Failure for a candidate that cannot be rewarded, and TimeoutError for 0 with the mark `TIMED_OUT`.
    """

    name: str
    rule: Callable[[Candidate], float | None]
    parameters: dict[str, Any]

    def rewards(self, batches: Iterable[RewardBatch], report: Report = no_report) -> RewardedBatches:
        for batch in batches:
            results = []
            for candidate in batch.candidates:
                results.append(self.reward(candidate))
                report(1, 0)
            yield batch, results

    def reward(self, candidate: Candidate) -> RewardResult:
        try:
            value = self.rule(candidate)
        except Failure as failure:
            return RewardResult(None, failure=failure)
        except TimeoutError:
            return RewardResult(plain_reward(self.name, 0.0), marks=(TIMED_OUT,))
        return RewardResult(plain_reward(self.name, value or 0.0), marks=(UNPARSABLE,) if value is None else ())

    def describe(self) -> dict[str, Any]:
        return {**self.parameters, "openprm": version("openprm")}  # a rule is code, which may change

    def close(self) -> None:
        """A rule holds nothing."""


def reference_of(candidate: Candidate) -> str:
    """The golden answer of a candidate. Raises Failure where it has none."""
    if candidate["reference"] is None:
        raise Failure("no reference", "give its prompt a golden answer, or reward it by a model or a judge")
    return candidate["reference"]
