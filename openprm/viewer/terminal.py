"""Rows of one prompt in the terminal: its tree, its responses with their steps, its pairs. No computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree as Branches

from ..runs.console import console, styled
from ..text import excerpt
from .colors import SCALE, color_class

_SHOWN = 160  # characters of a step in a tree
_Part = tuple[str, list[tuple[str, str, str]]]  # a heading, and texts, each with a label and its style


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of one prompt, of any record of `openprm.schema`; scores may have the columns of their candidates too."""
    first, screen = rows[0], console()
    about = f", reward {first['reward_name']}" if "nodes" in first else ""
    screen.print(styled((first["prompt_id"], "bold"), f" ({first['source']}){about}"))
    for message in first.get("question", ()):
        screen.print(f"{message['role']}: {message['content']}")
    if first.get("reference") is not None:
        screen.print(f"reference: {first['reference']}")
    if "nodes" in first:
        screen.print(_branches(first["nodes"]))
        return
    parts = _pairs(rows) if "chosen" in first else _responses(rows) if "sample_index" in first else ()
    for heading, texts in parts:
        screen.print(styled("\n", (heading, "bold")))
        for label, style, text in texts:
            head = styled("  ", (label, style), "  " if label else "")
            lines = styled(text.strip("\r\n")).wrap(screen, max(screen.width - head.cell_len, 20))
            for index, line in enumerate(lines):
                whole = Text.assemble(" " * head.cell_len if index else head, line)
                whole.rstrip()
                screen.print(whole, soft_wrap=True)


def _responses(rows: Sequence[Mapping[str, Any]]) -> Iterator[_Part]:
    """What is known of each, highest score first; its steps, colored by their rewards or labels, or its text."""
    given = [reward for row in rows for reward in _of_steps(row) if reward is not None]
    low, high = (min(given), max(given)) if given else (0.0, 0.0)
    for row in sorted(rows, key=lambda row: -(row.get("score") or 0.0)):
        facts = [] if row.get("score") is None else [f"score {row['score']:+.3f} ({row['aggregation']})"]
        facts += [f"{reward['name']} {reward['value']:+.3f}" for reward in row.get("rewards", ())]
        facts += ["too long for the model, scored by its first steps"] * row.get("truncated", False)
        facts += [f"by {model}" for model in [row.get("generator", {}).get("model")] if model]
        facts += row.get("marks", ())
        if "labels" in row:
            error = {None: "", -1: ", no step wrong"}.get(row["first_error"], f", step {row['first_error']} wrong")
            facts.append(f"labels ({row['kind']}) by {row['by']}{error}")
        labels = [_colored(reward, low, high) for reward in _of_steps(row)]
        steps = [
            (f"{label:>7}", style, step) for (label, style), step in zip(labels, row.get("steps", ()), strict=True)
        ]
        yield f"sample {row['sample_index']}: {', '.join(facts)}".rstrip(": "), steps or [("", "", row["response"])]


def _of_steps(row: Mapping[str, Any]) -> Sequence[float | None]:
    """The rewards, or the labels, of a row's steps; none where it has no steps."""
    found: Sequence[float | None] = row.get("step_rewards", row.get("labels", ()))
    return found


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> Iterator[_Part]:
    """Level, gap and support of each, and its texts."""
    styles = {"context": "", "chosen": _style(len(SCALE) - 1), "rejected_context": "", "rejected": _style(0)}
    for pair in pairs:
        gap = "unknown gap" if pair["gap"] is None else f"gap {pair['gap']:.3f}"
        depth = f" at step {pair['depth']}" if pair["depth"] else ""
        behind = f"{pair['support']['chosen']} chosen, {pair['support']['rejected']} rejected"
        texts = [(f"{name.removeprefix('rejected_'):>8}", styles[name], pair[name]) for name in styles if pair[name]]
        yield f"{pair['level']}{depth}, {gap}; responses behind: {behind}", texts


def _branches(nodes: Sequence[Mapping[str, Any]]) -> Branches:
    """Value and number of responses of each node, then its text; best branch first."""
    low = min(node["value"] for node in nodes)
    high = max(node["value"] for node in nodes)
    children: dict[int, list[Any]] = {}
    for node in nodes[1:]:
        children.setdefault(node["parent"] or 0, []).append(node)
    root = Branches(_label(nodes[0]["value"], nodes[0]["n_leaves"], "all responses", low, high))
    pending = [(0, root)]
    while pending:
        parent, branch = pending.pop()
        for node in sorted(children.get(parent, []), key=lambda node: -node["value"]):
            lines, end = [excerpt(node["text"], _SHOWN)], node
            # only children with the same responses stand below one another instead of ever further to the right
            while len(only := children.get(end["id"], [])) == 1 and only[0]["n_leaves"] == end["n_leaves"]:
                end = only[0]
                lines.append(excerpt(end["text"], _SHOWN))
            text = "\n       ".join(lines)
            pending.append((end["id"], branch.add(_label(node["value"], node["n_leaves"], text, low, high))))
    return root


def _label(value: float, leaves: int, text: str, low: float, high: float) -> Text:
    return styled(_colored(value, low, high), (f" ×{leaves} ", "dim"), text)


def _colored(value: float | None, low: float, high: float) -> tuple[str, str]:
    return ("none", "dim") if value is None else (f"{value:+.3f}", _style(color_class(value, low, high)))


def _style(index: int) -> str:
    background, ink = SCALE[index]
    return f"{ink} on {background}"
