"""The changes from one version of a dataset to another.

Rows are matched by what they are of (a prompt, a response to it, a pair of texts), the nodes of a tree by the texts
on the way to them. Of one version the digests of all rows are held, and otherwise only rows that differ and stand at
other places in the two.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..hub.publication import RECORDS, open_publication, part_rows
from ..runs.folder import is_folder, read_manifest, read_rows, row_digest
from ..schema import Candidate, Pair, Prompt, Scored, Tree
from .difference import equal, short

Row = Mapping[str, Any]
#: A dataset that can be read again.
Rows = Callable[[], Iterable[Row]]

EXAMPLES = 5  # shown of each kind of change

_STAGES: dict[str, type] = {
    "prompts": Prompt,
    "sampling": Candidate,
    "candidates": Candidate,
    "rewards": Candidate,
    "trees": Tree,
    "pairs": Pair,
    "scores": Scored,
}
_UNITS: dict[type, str] = {
    Prompt: "prompts",
    Candidate: "responses",
    Tree: "trees",
    Pair: "pairs",
    Scored: "scores",
}
#: The columns that say what a row is of.
_KEYS: dict[type, tuple[str, ...]] = {
    Prompt: ("prompt_id",),
    Candidate: ("prompt_id", "sample_index"),
    Tree: ("prompt_id",),
    Pair: ("prompt_id", "level", "context", "chosen", "rejected_context", "rejected"),
    Scored: ("prompt_id", "sample_index"),
}


@dataclass
class Diff:
    """The changes from one version to another: how many of each kind, and the first few of them in words."""

    unit: str
    rows: tuple[int, int] = (0, 0)
    identical: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] += 1
        if len(shown := self.examples.setdefault(kind, [])) < EXAMPLES:
            shown.append(example)


def diff(a: Rows, b: Rows, record: type) -> Diff:
    """The changes from dataset `a` to dataset `b`, both of `record`s. Reads each once, twice where they differ.

    Rows that differ are told apart into prompts and, by kind, responses and their rewards, nodes and their values, or
    pairs and their gaps.
    """
    result = Diff(_UNITS[record])
    before: dict[bytes, bytes] = {}
    total, prompts = hashlib.sha256(), set()
    for key, row in _keyed(a(), record):
        before[key] = row_digest(row)
        total.update(before[key])
        prompts.add(row["prompt_id"])
    changed, added, kept = set(), set(), set()
    other, count = hashlib.sha256(), 0
    for key, row in _keyed(b(), record):
        digest, count = row_digest(row), count + 1
        other.update(digest)
        kept.add(row["prompt_id"])
        old = before.get(key)
        if old is None:
            added.add(key)
        else:
            before[key] = b""  # not removed
            if old != digest:
                changed.add(key)
    result.rows = (len(before), count)
    result.identical = total.digest() == other.digest()
    removed = {key for key, digest in before.items() if digest}
    before.clear()
    if changed or added or removed:
        for prompt in sorted(kept - prompts):
            result.add("prompts added", repr(prompt))
        for prompt in sorted(prompts - kept):
            result.add("prompts removed", repr(prompt))
        touched = _details(a, b, record, (removed, added, changed), result)
        for prompt in sorted(touched & prompts & kept):
            result.add("prompts changed", repr(prompt))
    return result


def _keyed(rows: Iterable[Row], record: type) -> Iterator[tuple[bytes, Row]]:
    """Each row with 16 bytes that say what it is of; of several of the same, with their number."""
    seen: Counter[bytes] = Counter()
    for row in rows:
        key = row_digest({name: row[name] for name in _KEYS[record]})
        seen[key] += 1
        yield (row_digest({"key": key.hex(), "number": seen[key]}) if seen[key] > 1 else key), row


def _details(
    a: Rows, b: Rows, record: type, keys: tuple[set[bytes], set[bytes], set[bytes]], result: Diff
) -> set[str]:
    """Enters every change into the result; returns the ids of the prompts that have one."""
    removed, added, changed = keys
    touched = set()
    waiting: tuple[dict[bytes, Row], dict[bytes, Row]] = ({}, {})  # of rows that changed, the one still alone
    for pair in zip_longest(_keyed(a(), record), _keyed(b(), record)):
        for side, entry in enumerate(pair):
            if entry is None:
                continue
            key, row = entry
            if key in changed:
                waiting[side][key] = row
                if key in waiting[1 - side]:
                    touched.add(row["prompt_id"])
                    _changes(waiting[0].pop(key), waiting[1].pop(key), record, result)
            elif key in (added if side else removed):
                touched.add(row["prompt_id"])
                if record not in (Prompt, Tree):  # one row a prompt: said already
                    result.add(f"{result.unit} {'added' if side else 'removed'}", _name(row, record))
    return touched


def _changes(before: Row, after: Row, record: type, result: Diff) -> None:
    name = _name(after, record)
    for column in {**before, **after}:
        old, new = before.get(column), after.get(column)
        if equal(old, new):
            continue
        if column == "rewards":
            _rewards(old or [], new or [], name, result)
        elif column == "nodes":
            _nodes(before, after, result)
        elif column == "responses":
            result.add("trees with other responses or rewards", name)
        else:
            shown = f"{name}: {short(old)} -> {short(new)}"
            result.add("gaps changed" if column == "gap" else f"{column} changed", shown)


def _rewards(before: list[Any], after: list[Any], name: str, result: Diff) -> None:
    old, new = ({reward["name"]: reward for reward in rewards} for rewards in (before, after))
    for reward in {**old, **new}:
        if reward not in old:
            result.add(f"rewards {reward!r} added", name)
        elif reward not in new:
            result.add(f"rewards {reward!r} removed", name)
        elif not equal(old[reward], new[reward]):
            shown = f"{old[reward]['value']!r} -> {new[reward]['value']!r}"
            result.add(f"rewards {reward!r} changed", f"{name}: {shown}")


def _nodes(before: Row, after: Row, result: Diff) -> None:
    """Nodes are matched by the texts on the way to them, what is left by the steps that they hold."""
    prompt = after["prompt_id"]
    old, new = _by_texts(before), _by_texts(after)
    left, come = _by_members(before, old.keys() - new.keys()), _by_members(after, new.keys() - old.keys())
    couples = [(path, old[path], new[path]) for path in new if path in old]
    for members in [members for members in come if members in left]:
        path, node = come.pop(members)
        _, earlier = left.pop(members)
        couples.append((path, earlier, node))
        if earlier["text"] != node["text"]:
            result.add("texts changed", f"{_path(prompt, path)}: was {short(earlier['text'])}")
    for kind, nodes in (("nodes added", come), ("nodes removed", left)):
        for path, _ in nodes.values():
            result.add(kind, _path(prompt, path))
    for path, earlier, node in couples:
        if not equal(earlier["value"], node["value"]):
            result.add("values changed", f"{_path(prompt, path)}: {earlier['value']!r} -> {node['value']!r}")


_Path = tuple[tuple[str, int], ...]


def _by_texts(tree: Row) -> dict[_Path, Any]:
    """The nodes by the texts from the root; of siblings with one text, by their number."""
    paths: dict[int | None, _Path] = {}
    found: dict[_Path, Any] = {}
    for node in tree["nodes"]:
        parent = paths.get(node["parent"])
        path: _Path = () if parent is None else (*parent, (node["text"], 0))
        while path in found:
            path = (*path[:-1], (node["text"], path[-1][1] + 1)) if path else ((node["text"], 1),)
        paths[node["id"]] = path
        found[path] = node
    return found


def _by_members(tree: Row, paths: Iterable[_Path]) -> dict[Any, tuple[_Path, Any]]:
    """Nodes by the steps that they hold, of responses by model and sample: those keep, whatever is beside them."""
    nodes, responses = _by_texts(tree), tree["responses"]

    def members(node: Row) -> Any:
        return frozenset(
            (responses[member["response"]]["model"], responses[member["response"]]["sample_index"], member["step"])
            for member in node["members"]
        )

    wanted = set(paths)
    return {(len(path), members(node)): (path, node) for path, node in nodes.items() if path in wanted}


def _path(prompt: str, path: _Path) -> str:
    return " > ".join([repr(prompt), *(short(text) for text, _ in path)])


def _name(row: Row, record: type) -> str:
    prompt = repr(row["prompt_id"])
    if record is Pair:
        return f"{prompt}, {row['level']}: {short(row['chosen'])} over {short(row['rejected'])}"
    return f"{prompt}, sample {row['sample_index']}" if "sample_index" in row else prompt


def lines(diffs: Mapping[str, Diff]) -> Iterator[str]:
    """Diffs by split in words."""
    for split, found in diffs.items():
        before, after = found.rows
        if found.identical:
            yield f"{split}: identical, {after} {found.unit}"
            continue
        yield f"{split}: {before} {found.unit} before, {after} after"
        if not found.counts:
            yield "  the rows are the same, in another order"
        for kind, count in found.counts.items():
            yield f"  {kind}: {count}"
            yield from (f"    {example}" for example in found.examples[kind])
            if count > EXAMPLES:
                yield "    ..."


def diff_datasets(a: str | Path, b: str | Path, split: str | None = None) -> dict[str, Diff]:
    """The changes from one version of a dataset to another, by split.

    Each is a folder that a stage wrote, or what was published: OWNER/NAME[@REVISION] or a local folder. Without
    `split`, all that either has; the folder of a stage is compared as the split that is asked for, else as `train`.
    Raises InputError where one is no dataset, they are of different kinds, or there is no such split.
    """
    if split is None and (is_folder(a) or is_folder(b)):
        split = "train"
    one, other = _open(a, split), _open(b, split)
    if one[0] is not other[0]:
        raise InputError(f"{a} holds {_UNITS[one[0]]}, {b} {_UNITS[other[0]]}; compare two of a kind")
    return {part: diff(one[1].get(part, tuple), other[1].get(part, tuple), one[0]) for part in {**one[1], **other[1]}}


def _open(where: str | Path, split: str | None) -> tuple[type, dict[str, Rows]]:
    if is_folder(where):
        stage = read_manifest(where)["stage"]
        if stage not in _STAGES:
            raise InputError(f"{where} is no dataset, but the result of {stage!r}; give one of {', '.join(_STAGES)}")
        record = _STAGES[stage]
        return record, {split or "train": lambda: read_rows(where, record)}
    publication = open_publication(where)
    if publication.kind not in RECORDS:
        raise InputError(f"{where} is no dataset, but a {publication.kind}; give one of {', '.join(RECORDS)}")
    parts = [split] if split is not None else [*publication.parts]
    if split is not None and split not in publication.parts:
        raise InputError(f"{where} has no split {split!r}; there are {', '.join(publication.parts)}")
    return RECORDS[publication.kind], {part: _rows(publication, part) for part in parts}


def _rows(publication: Any, part: str) -> Rows:
    return lambda: part_rows(publication, part)
