"""Rows of one prompt in the terminal: its tree, its responses with their steps, its pairs. No computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree as Branches

from ..runs.console import console, styled
from .colors import SCALE, color_class

_SHOWN = 160  # characters of a step in a tree


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
        _print_tree(screen, first["nodes"])
    elif "chosen" in first:
        _print_pairs(screen, rows)
    elif "sample_index" in first:
        _print_responses(screen, rows)


def _print_responses(screen: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Highest score first; the steps are colored by their rewards."""
    given = [reward for row in rows for reward in row.get("step_rewards", ()) if reward is not None]
    low, high = (min(given), max(given)) if given else (0.0, 0.0)
    for row in sorted(rows, key=lambda row: -(row.get("score") or 0.0)):
        screen.print(styled("\n", (f"sample {row['sample_index']}: {', '.join(_facts(row))}".rstrip(": "), "bold")))
        if not row.get("steps"):
            _print_beside(screen, styled("  "), row["response"])
        for step, reward in zip(row.get("steps", ()), row.get("step_rewards", ()), strict=True):
            number, style = ("none", "dim") if reward is None else _colored(reward, low, high)
            _print_beside(screen, styled("  ", (number.rjust(7), style), "  "), step)


def _facts(row: Mapping[str, Any]) -> list[str]:
    """What is known of a response besides its text."""
    facts = [] if row.get("score") is None else [f"score {row['score']:+.3f} ({row['aggregation']})"]
    facts += [f"{reward['name']} {reward['value']:+.3f}" for reward in row.get("rewards", ())]
    facts += ["too long for the model, scored by its first steps"] if row.get("truncated") else []
    facts += [f"by {row['generator']['model']}"] if row.get("generator", {}).get("model") else []
    return [*facts, *row.get("marks", ())]


def _print_pairs(screen: Console, pairs: Sequence[Mapping[str, Any]]) -> None:
    for pair in pairs:
        gap = "unknown gap" if pair["gap"] is None else f"gap {pair['gap']:.3f}"
        depth = f" at step {pair['depth']}" if pair["depth"] else ""
        behind = f"{pair['support']['chosen']} chosen, {pair['support']['rejected']} rejected"
        screen.print(styled("\n", (f"{pair['level']}{depth}, {gap}; responses behind: {behind}", "bold")))
        texts = [("context", pair["context"], ""), ("chosen", pair["chosen"], _style(len(SCALE) - 1))]
        texts += [("context", pair["rejected_context"], ""), ("rejected", pair["rejected"], _style(0))]
        for name, text, style in texts:
            if text:
                _print_beside(screen, styled("  ", (f"{name:>8}", style), "  "), text)


def _print_tree(screen: Console, nodes: Sequence[Mapping[str, Any]]) -> None:
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
            lines, end = [_shown(node["text"])], node
            # only children with the same responses stand below one another instead of ever further to the right
            while len(only := children.get(end["id"], [])) == 1 and only[0]["n_leaves"] == end["n_leaves"]:
                end = only[0]
                lines.append(_shown(end["text"]))
            text = "\n       ".join(lines)
            pending.append((end["id"], branch.add(_label(node["value"], node["n_leaves"], text, low, high))))
    screen.print(root)


def _label(value: float, leaves: int, text: str, low: float, high: float) -> Text:
    return styled(_colored(value, low, high), (f" ×{leaves} ", "dim"), text)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _colored(value: float, low: float, high: float) -> tuple[str, str]:
    return f"{value:+.3f}", _style(color_class(value, low, high))


def _style(index: int) -> str:
    background, ink = SCALE[index]
    return f"{ink} on {background}"


def _print_beside(screen: Console, head: Text, text: str) -> None:
    """A text in a column of its own to the right of `head`."""
    lines = styled(text.strip("\r\n")).wrap(screen, max(screen.width - head.cell_len, 20))
    for index, line in enumerate(lines):
        whole = Text.assemble(" " * head.cell_len if index else head, line)
        whole.rstrip()
        screen.print(whole, soft_wrap=True)
