"""The tree page: preference trees as one static HTML file, to be opened from a disk, offline, or to be linked to.

Questions and answers are untrusted: they are embedded as JSON that cannot end its element, the script inserts them
as text, and a content security policy lets nothing but that one script run and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs.atomic import whole_file
from ..runs.folder import read_rows
from ..schema import Node, Tree
from ..text import excerpt
from ..trees.pairs import MinGap, PairParameters, sibling_pairs
from ..trees.tree import siblings
from .colors import SCALE, color_class, stylesheet

_DIGITS = 6  # significant ones of a value in the page; it shows three decimals
_SNIPPET = 120  # characters of a question in the list of prompts


def write_tree_page(
    trees: Iterable[Tree],
    path: str | Path,
    *,
    title: str,
    pairs: Callable[[Tree], Sequence[tuple[Node, Node]]],
    about: str = "",
) -> None:
    """Writes the page of some trees to `path`; equal trees give equal bytes. Holds one tree in memory at a time.

    `pairs` says which nodes of a tree to mark as (chosen, rejected), as `openprm.trees.pairs.sibling_pairs` does;
    `about` is a line below the title, such as how they were chosen. Raises InputError where there is no tree.
    """
    from jinja2 import Environment, StrictUndefined

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the page a name in it, such as {path / 'trees.html'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    resources = files("openprm.viewer.pages")
    script = resources.joinpath("tree.js").read_text("utf-8")
    style = f"{resources.joinpath('tree.css').read_text('utf-8')}{stylesheet()}\n"
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(resources.joinpath("tree.html.j2").read_text("utf-8"))
    with whole_file(path) as partial:
        page.stream(
            title=title,
            about=about,
            trees=_checked(trees, path, pairs),
            script=script,
            classes=len(SCALE),
            style=style,
            script_hash=_hash(script),
            style_hash=_hash(style),
        ).dump(str(partial), "utf-8")


def show_trees(
    folder: str | Path, path: str | Path, min_gap: MinGap, *, prompt_id: str | None = None, limit: int = 20
) -> None:
    """The page of the first `limit` trees with a fork in a folder (or of one prompt's tree), all their pairs marked.

    Raises InputError where there is no such tree, or `folder` holds none.
    """
    trees: Callable[[], Iterator[Any]] = lambda: read_rows(folder, Tree)  # noqa: E731
    gaps: dict[str, float] = {} if min_gap.units == "reward" else min_gap.in_reward_units(trees())
    wanted = (tree for tree in trees() if (tree["prompt_id"] == prompt_id if prompt_id else siblings(tree)))
    every = PairParameters(select="all")
    write_tree_page(
        islice(wanted, limit),
        path,
        title=f"Preference trees: {Path(folder).name}",
        pairs=lambda tree: sibling_pairs(tree, gaps.get(tree["source"], min_gap.amount), every),
        about=f"Pairs: all siblings whose values differ by {min_gap} or more.",
    )


def _checked(
    trees: Iterable[Tree], path: Path, pairs: Callable[[Tree], Sequence[tuple[Node, Node]]]
) -> Iterator[dict[str, str]]:
    """What the template shows of each tree."""
    empty = True
    for tree in trees:
        empty = False
        yield {
            "id": tree["prompt_id"],
            "question": excerpt(" ".join(message["content"] for message in tree["question"]), _SNIPPET),
            "json": _json(tree_data(tree, pairs(tree))),
        }
    if empty:
        raise InputError(f"{path}: there are no trees to show; check the folder and the prompt's id")


def tree_data(tree: Tree, pairs: Sequence[tuple[Node, Node]]) -> dict[str, Any]:
    """What the page knows of a tree.

    `nodes` are in the tree's order, so that a node's id is its index: parent, text, value, color class, n_leaves,
    `wordings` (the other texts merged into it, [text, how many responses]) and `ends` (indices of `responses` that end
    there). `responses` are [sample index, reward], `pairs` are [chosen, rejected, gap].
    """
    values = [node["value"] for node in tree["nodes"]]
    low, high = min(values), max(values)
    return {
        "id": tree["prompt_id"],
        "source": tree["source"],
        "question": [[message["role"], message["content"]] for message in tree["question"]],
        "reference": tree["reference"],
        "reward": tree["reward_name"],
        "low": _short(low),
        "high": _short(high),
        "responses": [[response["sample_index"], _short(response["reward"])] for response in tree["responses"]],
        "nodes": [
            {
                "parent": node["parent"],
                "text": node["text"],
                "value": _short(node["value"]),
                "color": color_class(node["value"], low, high),
                "leaves": node["n_leaves"],
                "wordings": _wordings(tree, node),
                "ends": [
                    member["response"]
                    for member in node["members"]
                    if member["step"] == len(tree["responses"][member["response"]]["steps"]) - 1
                ],
            }
            for node in tree["nodes"]
        ],
        "pairs": [
            [chosen["id"], rejected["id"], _short(chosen["value"] - rejected["value"])] for chosen, rejected in pairs
        ],
    }


def _wordings(tree: Tree, node: Node) -> list[list[Any]]:
    texts = Counter(
        tree["responses"][member["response"]]["steps"][member["step"]].strip() for member in node["members"]
    )
    return [[text, count] for text, count in texts.items() if text != node["text"].strip()]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _json(data: Any) -> str:
    """JSON that stays inside a script element, and that is JavaScript too."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
