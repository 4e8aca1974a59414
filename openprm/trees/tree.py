"""Merge the steps of parallel responses into a tree and back-propagate their rewards (paper, section 3.1).

Merging is deterministic. `merge` goes by the order of the responses, and `build_tree` orders these by a hash of
prompt, response and seed (`tie_break`), so that a tree does not depend on the order of rows in a file:

- Two steps can merge only if they have the same parent, and so the same index in their responses (appendix B.3).
- Steps are compared without the white space around them, in NFC and without zero-width characters. Equal texts merge
  first.
- Then, with the linkage `first`, each distinct text, in order of its first response, joins the node whose first text
  it is most similar to (the older one on a tie) if that similarity reaches the threshold; otherwise it opens a new
  node. With `average` or `complete`, nodes are the clusters of agglomerative clustering: order decides only ties.
- With `distinct_numbers`, only texts with the same numbers and letters of options, in the same order, merge; with
  `distinct_answers`, only those that state the same final answer; with `distinct_names`, only those of which no two
  name different things, and of which all or none deny something.

Nodes are numbered depth-first: a node comes before its subtree, children in order of their first response.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean  # exact sums: the value does not depend on the order of the responses

from ..schema import SCHEMA_VERSION, BuildParameters, Candidate, Member, Message, Node, Reward, Tree, TreeResponse
from ..scoring.steps import DEFAULT_SEPARATOR, split
from ..text import comparable
from .clustering import LINKAGES, clusters
from .distinctions import ReadNames, denies, name_reader, numbers
from .similarity import DEFAULT_SIMILARITY, Embed, Similarity, similarity

#: The paper's threshold (appendix B.2).
DEFAULT_THRESHOLD = 0.88

#: Reads the final answer that a text states in reply to a question; None where it states none.
ReadAnswer = Callable[[str, Sequence[Message]], str | None]


@dataclass(frozen=True)
class MergeParameters:
    """How to build a tree.

    The defaults of `separator` and `threshold` are the paper's (appendix B.2), all others ours. The paper names no
    similarity but edit distance, and normalized Levenshtein does not give its own example (Table 5), whose merged
    first sentences are 0.708 alike by it; Jaro-Winkler at 0.89 does.

    distinct_numbers: whether only steps with the same numbers and letters of options merge.
    distinct_answers: reads the final answer that a step states, given the step and the question, so that steps with
      different ones never merge; such as `openprm.rewards.answer_equivalence.stated_answer`.
    distinct_names: whether steps that name different things, or of which only one denies something, never merge.
    linkage: which similar steps merge; see `openprm.trees.clustering.LINKAGES`.
    seed: gives another order of the responses, for what depends on it: which step opens a node, and ties.

    Raises ValueError for an unknown separator, similarity or linkage, and for a threshold outside (0, 1].
    """

    separator: str = DEFAULT_SEPARATOR
    similarity: str | Embed | Similarity = DEFAULT_SIMILARITY
    threshold: float = DEFAULT_THRESHOLD
    distinct_numbers: bool = False
    distinct_answers: ReadAnswer | None = None
    distinct_names: bool = False
    linkage: str = "first"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; a similarity lies in (0, 1]")
        split("", self.separator)
        similarity(self.similarity)
        if self.linkage not in LINKAGES:
            raise ValueError(f"unknown linkage {self.linkage!r}; choose one of {', '.join(LINKAGES)}")

    def kind(self, text: str, question: Sequence[Message]) -> Hashable:
        """What steps must have in common to merge."""
        read, denied = self.distinct_answers, self.distinct_names and denies(text)
        return numbers(text) if self.distinct_numbers else (), read(text, question) if read else None, denied

    def record(self) -> BuildParameters:
        """These parameters as a tree records them."""
        measure = similarity(self.similarity)
        named = {
            "similarity": measure.name,
            "embedder": measure.model,
            "distinct_answers": bool(self.distinct_answers),
        }
        return BuildParameters(**{**vars(self), **named})  # type: ignore[typeddict-item]


def merge(
    responses: Sequence[Sequence[str]],
    rewards: Sequence[float],
    parameters: MergeParameters | None = None,
    question: Sequence[Message] = (),
) -> list[Node]:
    """The nodes of the tree over n responses, each a list of steps, with their values. `rewards` has n numbers.

    A response without steps ends at the root.
    """
    parameters = parameters or MergeParameters()
    if len(responses) != len(rewards):
        raise ValueError(f"{len(responses)} responses but {len(rewards)} rewards")
    texts = [[comparable(step).strip() for step in steps] for steps in responses]
    measure = similarity(parameters.similarity)
    names: ReadNames = lambda text: frozenset()  # noqa: E731
    if parameters.distinct_names:
        names = name_reader([*(turn["content"] for turn in question), *(text for steps in texts for text in steps)])

    def children(members: list[int], depth: int) -> list[list[int]]:
        """Groups the responses that continue below a node by their step at index `depth`."""
        exact: dict[str, list[int]] = {}
        for response in members:
            if len(texts[response]) > depth:
                exact.setdefault(texts[response][depth], []).append(response)
        if len(exact) == 1:  # most nodes of a real tree are links of a chain
            return list(exact.values())
        kinds: dict[Hashable, list[str]] = {}
        for text in exact:
            kinds.setdefault(parameters.kind(text, question), []).append(text)
        compared = [text for alike in kinds.values() if len(alike) > 1 for text in alike]
        items = iter(measure.prepare(compared))
        groups = []
        for alike in kinds.values():
            found = [[0]]
            if len(alike) > 1:
                own = [*islice(items, len(alike))]
                found = clusters(own, [*map(names, alike)], measure, parameters.threshold, parameters.linkage)
            groups += [[at for index in group for at in exact[alike[index]]] for group in found]
        return sorted(map(sorted, groups))

    nodes: list[Node] = []
    # parent, depth and responses of the nodes to make
    pending: list[tuple[int | None, int, list[int]]] = [(None, 0, list(range(len(responses))))]
    while pending:
        parent, depth, through = pending.pop()
        members = [Member(response=response, step=depth - 1) for response in through] if depth else []
        nodes.append(
            Node(
                id=len(nodes),
                parent=parent,
                depth=depth,
                text=responses[through[0]][depth - 1] if depth else "",
                value=fmean(rewards[response] for response in through),
                n_leaves=len(through),
                members=members,
            )
        )
        below = [(nodes[-1]["id"], depth + 1, group) for group in children(through, depth)]
        pending.extend(reversed(below))
    return nodes


def tie_break(seed: int, prompt_id: str, text: str) -> str:
    """What ties are broken by: a hash of seed, prompt and response, so that no order of rows becomes a label."""
    return hashlib.blake2b(json.dumps([seed, prompt_id, text]).encode(), digest_size=16).hexdigest()


def build_tree(candidates: Sequence[Candidate], reward_name: str, parameters: MergeParameters | None = None) -> Tree:
    """The tree of one prompt, from its candidates in any order; its responses are in order of `tie_break`.

    The value of a node is the mean reward of the responses through it, V(P) in the paper. Raises ValueError if there
    is no candidate, if they answer several prompts, or if one has no finite reward of that name or no step.
    """
    parameters = parameters or MergeParameters()
    if not candidates:
        raise ValueError("a tree needs at least one candidate")

    def order(candidate: Candidate) -> tuple[str, str, int]:
        key = tie_break(parameters.seed, candidate["prompt_id"], candidate["response"])
        rest = json.dumps({**candidate, "sample_index": 0}, sort_keys=True)  # of equal responses
        return key, rest, candidate["sample_index"]

    candidates = sorted(candidates, key=order)
    first = candidates[0]
    responses = []
    for candidate in candidates:
        if candidate["prompt_id"] != first["prompt_id"]:
            raise ValueError(f"candidates of two prompts: {first['prompt_id']!r} and {candidate['prompt_id']!r}")
        where = f"prompt {first['prompt_id']!r}, sample {candidate['sample_index']}"
        steps = split(candidate["response"], parameters.separator)
        if not steps:
            raise ValueError(f"{where}: the response is empty")
        responses.append(
            TreeResponse(
                sample_index=candidate["sample_index"],
                model=candidate["generator"]["model"],
                steps=steps,
                reward=_named_reward(candidate["rewards"], reward_name, where),
                rewards=candidate["rewards"],
            )
        )
    return Tree(
        schema_version=SCHEMA_VERSION,
        prompt_id=first["prompt_id"],
        source=first["source"],
        question=first["question"],
        reference=first["reference"],
        reward_name=reward_name,
        responses=responses,
        nodes=merge(
            [response["steps"] for response in responses],
            [response["reward"] for response in responses],
            parameters,
            first["question"],
        ),
        build=parameters.record(),
    )


def _named_reward(rewards: Sequence[Reward], name: str, where: str) -> float:
    """The reward of that name; raises ValueError if there is none, or if it is not finite."""
    values = [reward["value"] for reward in rewards if reward["name"] == name]
    if not values:
        known = ", ".join(sorted(reward["name"] for reward in rewards)) or "none"
        raise ValueError(f"{where}: no reward named {name!r} (it has: {known})")
    if not math.isfinite(values[0]):
        raise ValueError(f"{where}: the reward {name!r} is {values[0]}")
    return values[0]


def response_text(response: TreeResponse) -> str:
    """The response a tree was built from, exactly."""
    return "".join(response["steps"])


def revalue(tree: Tree, reward_name: str) -> Tree:
    """The same tree with the values of another reward of its responses. Nothing is merged again."""
    where = f"prompt {tree['prompt_id']!r}, sample"
    rewards = [
        _named_reward(response["rewards"], reward_name, f"{where} {response['sample_index']}")
        for response in tree["responses"]
    ]
    return with_rewards(tree, rewards, reward_name)


def with_rewards(tree: Tree, rewards: Sequence[float], reward_name: str) -> Tree:
    """The same tree with these rewards, one per response, back-propagated."""
    if len(rewards) != len(tree["responses"]):
        raise ValueError(f"{len(rewards)} rewards for {len(tree['responses'])} responses")
    responses = [
        TreeResponse(**{**response, "reward": reward})
        for response, reward in zip(tree["responses"], rewards, strict=True)
    ]
    tree = Tree(**{**tree, "reward_name": reward_name, "responses": responses})
    return with_values(tree, [fmean(rewards_through(tree, node)) for node in tree["nodes"]])


def rewards_through(tree: Tree, node: Node) -> list[float]:
    """Of the responses that pass through a node."""
    if not node["depth"]:
        return [response["reward"] for response in tree["responses"]]
    return [tree["responses"][member["response"]]["reward"] for member in node["members"]]


def with_values(tree: Tree, values: Sequence[float]) -> Tree:
    """The same tree with these values of its nodes, by id."""
    nodes = [Node(**{**node, "value": value}) for node, value in zip(tree["nodes"], values, strict=True)]
    return Tree(**{**tree, "nodes": nodes})


def siblings(tree: Tree) -> list[list[Node]]:
    """The children of each node that has at least two, in order of the parents' ids."""
    children: dict[int, list[Node]] = {}
    for node in tree["nodes"]:
        if node["parent"] is not None:
            children.setdefault(node["parent"], []).append(node)
    return [children[parent] for parent in sorted(children) if len(children[parent]) > 1]


def sibling_gaps(tree: Tree) -> list[float]:
    """For each node with at least two children, the largest difference between their values."""
    values = [[node["value"] for node in nodes] for nodes in siblings(tree)]
    return [max(among) - min(among) for among in values]
