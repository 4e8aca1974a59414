"""Merging responses into a tree, against a loop in Python that compares every step with every sibling to the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from benchmarks.timing import Comparison, compare, seconds
from openprm.data.candidates import read_candidates
from openprm.data.columns import Columns
from openprm.errors import Failure
from openprm.schema import Candidate, Member, Node
from openprm.scoring.steps import split
from openprm.trees.tree import DEFAULT_THRESHOLD, MergeParameters, build_tree, merge

Responses = list[list[str]]
Ratio = Callable[[str, str], float]
Groups = list[list[int]]

WORDS = "the a first then next we add take divide sum number of cost is so each total price left more".split()
SEPARATOR = "sentence"


def python_ratio(left: str, right: str) -> float:
    """Normalized Levenshtein similarity by the textbook's table, one row at a time."""
    row = list(range(len(right) + 1))
    for i, char in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (char != other))
    return 1 - row[-1] / (max(len(left), len(right)) or 1)


#: What the loop below measures similarity with.
RATIOS: dict[str, Ratio] = {
    "Python loop": python_ratio,
    "loop over rapidfuzz": Levenshtein.normalized_similarity,
}


def plain_merge(responses: Responses, ratio: Ratio) -> list[Node]:
    """The nodes by the rules of `openprm.trees.tree`, and nothing done to be quick. All rewards are 0."""
    nodes = [_node(0, None, 0, "", list(range(len(responses))))]

    def grow(parent: int, through: list[int], depth: int) -> None:
        exact: dict[str, list[int]] = {}
        for response in through:
            if len(responses[response]) > depth:
                exact.setdefault(responses[response][depth].strip(), []).append(response)
        texts: list[str] = []
        groups: Groups = []
        for text, same in exact.items():
            alike = [ratio(text, representative) for representative in texts]
            if alike and max(alike) >= DEFAULT_THRESHOLD:
                groups[alike.index(max(alike))] += same
            else:
                texts.append(text)
                groups.append(list(same))
        for members in map(sorted, groups):
            node = len(nodes)
            nodes.append(_node(node, parent, depth + 1, responses[members[0]][depth], members))
            grow(node, members, depth + 1)

    grow(0, list(range(len(responses))), 0)
    return nodes


def _node(index: int, parent: int | None, depth: int, text: str, through: list[int]) -> Node:
    members = [Member(response=response, step=depth - 1) for response in through] if depth else []
    return Node(id=index, parent=parent, depth=depth, text=text, value=0.0, n_leaves=len(through), members=members)


def package_merge(responses: Responses) -> list[Node]:
    return merge(responses, [0.0] * len(responses))


def synthetic(candidates: int, rng: random.Random, steps: int = 6) -> Responses:
    """Responses to one prompt: at each depth one of a few sentences, often with a word changed."""
    pools = [[[rng.choice(WORDS) for _ in range(14)] for _ in range(4)] for _ in range(steps)]
    responses = []
    for _ in range(candidates):
        response = []
        for pool in pools:
            words = list(rng.choice(pool))
            for _ in range(rng.choice((0, 0, 1, 4))):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
            response.append(" ".join(words) + ".\n")
        responses.append(response)
    return responses


def on_synthetic() -> Iterator[Comparison]:
    rng = random.Random(0)
    for candidates, prompts in ((16, 3), (64, 1)):
        yield from _against_loops(
            f"merge, {candidates} candidates", [synthetic(candidates, rng) for _ in range(prompts)]
        )


def on_real(path: Path) -> Iterator[Comparison | str]:
    """GSM8K answers of many models, by sentences. Only a note if the file is missing."""
    if not path.exists():
        yield f"merge, real responses: skipped, there is no {path}"
        return
    prompts: dict[str, list[Candidate]] = {}
    for row in read_candidates(str(path), Columns(reference="answer")):
        if not isinstance(row, Failure) and row["response"].strip():
            prompts.setdefault(row["prompt_id"], []).append(row)
    candidates = list(prompts.values())[:100]
    responses = [[split(one["response"], SEPARATOR) for one in same] for same in candidates[:1]]
    yield from _against_loops(f"merge, real, {len(responses[0])} candidates", responses)
    took = seconds(lambda: [build_tree(same, "reward", MergeParameters(SEPARATOR)) for same in candidates])
    count = sum(map(len, candidates))
    yield f"build_tree, real responses: {count / took:,.0f} responses/s ({count} responses, {len(candidates)} prompts)"


def _against_loops(what: str, prompts: list[Responses]) -> Iterator[Comparison]:
    ours = [package_merge(responses) for responses in prompts]
    for name, ratio in RATIOS.items():
        assert [plain_merge(responses, ratio) for responses in prompts] == ours, f"{name} gives other trees"
        yield compare(
            what,
            name,
            partial(_each, package_merge, prompts),
            partial(_each, partial(plain_merge, ratio=ratio), prompts),
            sum(map(len, prompts)),
            "responses/s",
            repetitions=3,
        )


def _each(function: Callable[[Responses], list[Node]], prompts: list[Responses]) -> None:
    for responses in prompts:
        function(responses)
