"""The two functions that a search is given, made of arithmetic: a small language of steps, and its rewards."""

import random
from collections.abc import Sequence

from openprm.engines.base import prompt_seed
from openprm.engines.step_requests import Extension, PartialResponse, Prefix, PrefixRewards, StepRequest
from openprm.errors import Failure


class Language:
    """Generates steps of one letter; an answer ends with probability `ending` at each. Every request stands alone.

    An end comes with the last step; where `odd`, it may also come behind it, alone or with one step more.
    `failing`: texts of questions that cannot be extended. `calls` keeps what each call was asked for.
    """

    def __init__(self, letters: str = "abc", ending: float = 0.3, odd: bool = True, failing: Sequence[str] = ()):
        self.letters, self.ending, self.failing = letters, ending, failing
        self.ends = (0, 1, 2) if odd else (1,)
        self.calls: list[list[StepRequest]] = []

    def __call__(self, requests: Sequence[StepRequest]) -> list[list[Extension] | Failure]:
        self.calls.append(list(requests))
        return [self._extend(request) for request in requests]

    def _extend(self, request: StepRequest) -> list[Extension] | Failure:
        content = request.question[0]["content"]
        if content in self.failing:
            return Failure("the question is too long", "shorten it", transient=False)
        random_ = random.Random(prompt_seed(request.seed, content + request.partial.text))
        return [self._way(request.partial, random_, request.whole) for _ in range(request.n)]

    def _way(self, partial: PartialResponse, random_: random.Random, whole: bool) -> Extension:
        assert not partial.finished
        n_tokens = 0
        while True:
            finish = "stop" if random_.random() < self.ending else None
            steps = tuple(random_.choices(self.letters, k=random_.choice(self.ends) if finish else 1))
            n_tokens += len(steps) + bool(finish)
            partial = PartialResponse(partial.steps + steps, partial.tokens + tuple(map(ord, steps)), finish)
            if finish or not whole:
                return Extension(partial, n_tokens)


class Rewards:
    """Rewards each prefix of an answer by a hash of its text, with few distinct values, so that ties are common.

    `max_steps`: what is longer does not fit. `failing`: failures by the text of a prefix.
    """

    def __init__(self, max_steps: int = 1000, failing: dict[str, Failure] | None = None):
        self.max_steps, self.failing = max_steps, failing or {}
        self.calls: list[list[Prefix]] = []

    def __call__(self, prefixes: Sequence[Prefix]) -> list[PrefixRewards | Failure]:
        self.calls.append(list(prefixes))
        return [self._rewarded(prefix) for prefix in prefixes]

    def of(self, question: str, steps: Sequence[str]) -> list[float]:
        texts = (question + "".join(steps[: index + 1]) for index in range(len(steps)))
        return [float(prompt_seed(7, text) % 9 - 4) for text in texts]

    def _rewarded(self, prefix: Prefix) -> PrefixRewards | Failure:
        if "".join(prefix.steps) in self.failing:
            return self.failing["".join(prefix.steps)]
        rewards = self.of(prefix.question[0]["content"], prefix.steps)[: self.max_steps]
        return PrefixRewards(tuple(rewards[prefix.known :]), n_tokens=len(prefix.steps))


def questions(*contents: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": content}] for content in contents]
