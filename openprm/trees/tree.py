"""Merge the steps of parallel responses into a tree and back-propagate their rewards (paper, section 3.1).

Merging is deterministic and depends only on the order of the responses:

- Two steps can merge only if they are children of one parent, so they have the same index in their
  responses (appendix B.3).
- Steps are compared without the whitespace around them. Equal texts merge first.
- Then each distinct text, in order of its first response, joins the node it is most similar to, if that
  similarity reaches the threshold (the older node on a tie); else it opens a new node.
- A node is represented by the text that opened it.
- With `distinct_numbers`, a text joins only nodes whose representative has the same numbers in the same order.

Nodes are numbered depth-first: a node comes before its subtree, children in order of their first response.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..schema import SCHEMA_VERSION, BuildParameters, Candidate, Member, Node, Tree, TreeResponse
from ..scoring.steps import DEFAULT_SEPARATOR, split
from .similarity import DEFAULT_SIMILARITY, Embed, Similarity, numbers, similarity

#: The paper's threshold (appendix B.2).
DEFAULT_THRESHOLD = 0.88


@dataclass(frozen=True)
class MergeParameters:
    """How to build a tree.

    The defaults of `separator` and `threshold` are the paper's (appendix B.2). It names no similarity: normalized
    Levenshtein is this package's choice, as is `distinct_numbers` (off: steps with different numbers may merge).

    Raises ValueError for a threshold outside (0, 1].
    """

    separator: str = DEFAULT_SEPARATOR
    similarity: str | Embed | Similarity = DEFAULT_SIMILARITY
    threshold: float = DEFAULT_THRESHOLD
    distinct_numbers: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}; a similarity lies in (0, 1]")
        split("", self.separator)
        similarity(self.similarity)

    def record(self) -> BuildParameters:
        """These parameters as a tree records them."""
        return BuildParameters(
            separator=self.separator,
            similarity=similarity(self.similarity).name,
            threshold=self.threshold,
            distinct_numbers=self.distinct_numbers,
        )


def merge(
    responses: Sequence[Sequence[str]],
    rewards: Sequence[float],
    measure: str | Embed | Similarity = DEFAULT_SIMILARITY,
    threshold: float = DEFAULT_THRESHOLD,
    distinct_numbers: bool = False,
) -> list[Node]:
    """The nodes of the tree over responses given as steps, with their values.

    `responses` has n lists of steps (a list may be empty: that response ends at the root), `rewards` n numbers.
    """
    if len(responses) != len(rewards):
        raise ValueError(f"{len(responses)} responses but {len(rewards)} rewards")
    texts = [[step.strip() for step in steps] for steps in responses]
    distinct = list(dict.fromkeys(step for steps in texts for step in steps))
    nearest = similarity(measure)
    items = dict(zip(distinct, nearest.prepare(distinct), strict=True))

    def children(members: list[int], depth: int) -> list[list[int]]:
        """Groups the responses that continue below a node by their step at index `depth`."""
        exact: dict[str, list[int]] = {}
        for response in members:
            if len(texts[response]) > depth:
                exact.setdefault(texts[response][depth], []).append(response)
        if len(exact) == 1:  # most nodes of a real tree are links of a chain
            return list(exact.values())
        groups: list[list[int]] = []
        # similar texts are looked for among representatives with one key: all, or those with equal numbers
        candidates: dict[tuple[str, ...], tuple[list, list[int]]] = {}
        for text, same in exact.items():
            others, where = candidates.setdefault(numbers(text) if distinct_numbers else (), ([], []))
            found = nearest.nearest(items[text], others, threshold)
            if found is None:
                others.append(items[text])
                where.append(len(groups))
                groups.append(list(same))
            else:
                groups[where[found]].extend(same)
        return groups

    nodes: list[Node] = []
    everyone = list(range(len(responses)))
    pending: list[tuple[int | None, int, list[int]]] = [(None, 0, everyone)]  # parent, depth, responses through
    while pending:
        parent, depth, through = pending.pop()
        members = [Member(response=response, step=depth - 1) for response in through] if depth else []
        nodes.append(
            Node(
                id=len(nodes),
                parent=parent,
                depth=depth,
                text=responses[through[0]][depth - 1] if depth else "",
                value=_mean(rewards[response] for response in through),
                n_leaves=len(through),
                members=members,
            )
        )
        below = [(nodes[-1]["id"], depth + 1, sorted(group)) for group in children(through, depth)]
        pending.extend(reversed(below))
    return nodes


def _mean(rewards: Iterable[float]) -> float:
    # fsum: the value must not depend on the order of the responses
    rewards = list(rewards)
    return math.fsum(rewards) / len(rewards)


def build_tree(candidates: Sequence[Candidate], reward_name: str, parameters: MergeParameters | None = None) -> Tree:
    """The tree of one prompt, from its candidates.

    Values follow the paper's formula V(P) = sum of R_k over the responses through P / their number. Raises
    ValueError where there is no candidate, where they are not of one prompt, or where one has no
    finite reward of that name or no step.
    """
    parameters = parameters or MergeParameters()
    if not candidates:
        raise ValueError("a tree needs at least one candidate")
    first = candidates[0]
    responses = []
    for candidate in candidates:
        if candidate["prompt_id"] != first["prompt_id"]:
            raise ValueError(f"candidates of two prompts: {first['prompt_id']!r} and {candidate['prompt_id']!r}")
        responses.append(
            TreeResponse(
                sample_index=candidate["sample_index"],
                model=candidate["generator"]["model"],
                steps=split(candidate["response"], parameters.separator),
                reward=named_reward(candidate, reward_name),
                rewards=candidate["rewards"],
            )
        )
        if not responses[-1]["steps"]:
            raise ValueError(
                f"prompt {first['prompt_id']!r}, sample {candidate['sample_index']}: the response is empty"
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
            parameters.similarity,
            parameters.threshold,
            parameters.distinct_numbers,
        ),
        build=parameters.record(),
    )


def named_reward(candidate: Candidate, name: str) -> float:
    """The candidate's reward of that name; raises ValueError where it has none, or one that is not finite."""
    where = f"prompt {candidate['prompt_id']!r}, sample {candidate['sample_index']}"
    values = [reward["value"] for reward in candidate["rewards"] if reward["name"] == name]
    if not values:
        known = ", ".join(sorted(reward["name"] for reward in candidate["rewards"])) or "none"
        raise ValueError(f"{where}: no reward named {name!r} (it has: {known})")
    if not math.isfinite(values[0]):
        raise ValueError(f"{where}: the reward {name!r} is {values[0]}")
    return values[0]


def response_text(response: TreeResponse) -> str:
    """The response a tree was built from, exactly."""
    return "".join(response["steps"])


def revalue(tree: Tree, reward_name: str) -> Tree:
    """The same tree with the values of another reward its responses carry. Needs no new merging."""
    rewards = []
    for response in tree["responses"]:
        values = [reward["value"] for reward in response["rewards"] if reward["name"] == reward_name]
        if not values:
            where = f"prompt {tree['prompt_id']!r}, sample {response['sample_index']}"
            raise ValueError(f"{where}: no reward named {reward_name!r}")
        rewards.append(values[0])
    return with_rewards(tree, rewards, reward_name)


def with_rewards(tree: Tree, rewards: Sequence[float], reward_name: str) -> Tree:
    """The same tree with these rewards of its responses, back-propagated."""
    if len(rewards) != len(tree["responses"]):
        raise ValueError(f"{len(rewards)} rewards for {len(tree['responses'])} responses")
    nodes = []
    for node in tree["nodes"]:
        through = [member["response"] for member in node["members"]] if node["depth"] else range(len(rewards))
        nodes.append(Node(**{**node, "value": _mean(rewards[response] for response in through)}))
    responses = [
        TreeResponse(**{**response, "reward": reward})
        for response, reward in zip(tree["responses"], rewards, strict=True)
    ]
    return Tree(**{**tree, "reward_name": reward_name, "responses": responses, "nodes": nodes})


def siblings(tree: Tree) -> list[list[Node]]:
    """The children of each node that has at least two, in order of the parents' ids."""
    children: dict[int, list[Node]] = {}
    for node in tree["nodes"]:
        if node["parent"] is not None:
            children.setdefault(node["parent"], []).append(node)
    return [children[parent] for parent in sorted(children) if len(children[parent]) > 1]
