"""The stages that make datasets: candidates, trees, pairs.

Each reads rows, applies pure functions and writes a folder (see `openprm.runs.manifest`, `openprm.runs.folder`). What
cannot be used goes to `rejected.jsonl` with the reason; with `strict`, the first such row stops the stage.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.candidate_source import CandidateSource
from ..data.preferences import PreferenceColumns, read_preferences
from ..errors import InputError, Rejection
from ..runs.dataset import Rejections, clear, finish_dataset, most_common, progress, strictly, write_shards
from ..runs.folder import DATA, REJECTED, read_rows, write_shard
from ..runs.manifest import run_stage, write_whole
from ..runs.processes import end_with_parent
from ..schema import LEVELS, Candidate, Pair, Tree
from ..scoring.steps import split
from ..trees.pairs import Duplicates, MinGap, PairParameters, tree_pairs
from ..trees.statistics import PairStatistics, TreeStatistics
from ..trees.tree import MergeParameters, build_tree, revalue, with_rewards

CANDIDATES_PER_SHARD = 20_000
PROMPTS_PER_SHARD = 500
PAIRS_PER_SHARD = 20_000
_FLUSH = 50_000_000  # characters held back before the buckets of candidates are written


def make_candidates(
    source: CandidateSource, out: str | Path, *, strict: bool = False, force: bool = False
) -> dict[str, Any]:
    """Stage: candidates in the unified format, one row per response. Returns the manifest."""

    def work(folder: Path) -> dict[str, Any]:
        clear(folder)
        rejections = Rejections(folder / REJECTED, strict)
        counts: Counter[str] = Counter()
        prompts: set[str] = set()
        marks: Counter[str] = Counter()

        def rows() -> Iterator[Candidate]:
            for row in tqdm(rejections.filter(source.read(counts)), "candidates", unit=" rows", disable=None):
                prompts.add(row["prompt_id"])
                marks.update(row["marks"])
                yield row

        shards = write_shards(folder, rows(), Candidate, CANDIDATES_PER_SHARD)
        result = {"prompts": len(prompts), "marks": dict(marks), "skipped": counts["skipped"]}
        return finish_dataset(folder, Candidate, "candidates", shards, {**result, "rejected": dict(rejections.counts)})

    manifest = run_stage(out, "candidates", source.parameters(), source.inputs(), work, force=force)
    return strictly(manifest, out) if strict else manifest


def make_trees(
    source: CandidateSource,
    out: str | Path,
    parameters: MergeParameters | None = None,
    *,
    separators: Mapping[str, str] | None = None,
    num_proc: int = 1,
    strict: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: one preference tree per prompt. Returns the manifest.

    `separators` overrides the separator for some sources, by name. Trees are built by `num_proc` processes, each
    prompt apart, and stand in the order in which prompts first appear. A killed run keeps its finished shards.
    """
    parameters = parameters or MergeParameters()

    def work(folder: Path) -> dict[str, Any]:
        buckets = _bucket(folder, source, strict)
        grow = partial(
            _grow_shard,
            folder=folder,
            file=source.path,
            parameters=parameters,
            separators=dict(separators or {}),
            reward_name=buckets["reward_name"],
            strict=strict,
        )
        missing = [index for index in range(buckets["shards"]) if not _statistics_path(folder, index).exists()]
        for _ in tqdm(_map(grow, missing, num_proc), "trees", len(missing), unit=" shards", disable=None):
            pass
        statistics = TreeStatistics()
        rejections = Rejections(folder / REJECTED, strict)
        rejections.absorb(folder / _UNREAD)
        for index in range(buckets["shards"]):
            statistics.merge(json.loads(_statistics_path(folder, index).read_text("utf-8")))
            rejections.absorb(_rejected_path(folder, index))
        if not statistics.trees:
            raise InputError(f"{source.path}: no tree could be built; " + most_common(rejections.counts))
        counts = {
            **statistics.summary(),
            "other_separators": _one_step_shares(folder),
            "skipped": buckets["skipped"],
            "rejected": dict(rejections.counts),
        }
        (folder / _BUCKETS).unlink()  # first: without it, a run killed from here on starts over
        for pattern in (_UNREAD, f"{DATA}/.bucket-*", f"{DATA}/.statistics-*", f"{DATA}/.rejected-*"):
            for path in folder.glob(pattern):
                path.unlink()
        return finish_dataset(folder, Tree, "trees", buckets["shards"], counts)

    described = {**source.parameters(), **parameters.record(), "separators": dict(separators or {})}
    manifest = run_stage(out, "trees", described, source.inputs(), work, force=force)
    return strictly(manifest, out) if strict else manifest


def make_pairs(
    trees: str | Path,
    out: str | Path,
    min_gap: MinGap,
    parameters: PairParameters | None = None,
    *,
    split: str | None = None,
    reward_name: str | None = None,
    shuffle_rewards: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: process and outcome pairs from a folder (or published dataset) of trees. Returns the manifest.

    `split` is that of a published dataset (default: train). `reward_name` takes another of the rewards that the
    responses carry. `shuffle_rewards`, a seed, makes a control: the rewards of all responses are dealt out anew, so a
    model trained on these pairs should learn nothing.
    """
    parameters = parameters or PairParameters()

    def read() -> Iterator[Tree]:
        rows: Iterator[Any] = read_rows(trees, Tree, split)
        if reward_name is not None:
            rows = (revalue(tree, reward_name) for tree in rows)
        return rows if shuffle_rewards is None else _shuffled(rows, read_rows(trees, Tree, split), shuffle_rewards)

    def work(folder: Path) -> dict[str, Any]:
        clear(folder)
        # a gap in the reward's own units needs no look at the rewards; it is entered as sources appear
        gaps: dict[str, float] = defaultdict(lambda: min_gap.amount)
        if min_gap.units != "reward":
            gaps |= min_gap.in_reward_units(progress(read(), "gaps"))
        statistics = PairStatistics()

        def rows() -> Iterator[Pair]:
            for tree in progress(read(), "pairs"):
                statistics.add_tree(tree, gaps[tree["source"]], parameters.min_support)
                yield from tree_pairs(tree, gaps[tree["source"]], parameters)

        shards = write_unique(folder, rows(), statistics)
        if not statistics.pairs:
            raise InputError(
                f"{trees}: no pair has a gap of {min_gap} or more (widest gap {statistics.widest_gap:.3g}); "
                "lower --min-gap, or look at the rewards"
            )
        return finish_dataset(folder, Pair, "pairs", shards, {**statistics.summary(), "min_gap_by_source": gaps})

    described = {
        **asdict(parameters),
        "min_gap": str(min_gap),
        "reward_name": reward_name,
        "shuffle_rewards": shuffle_rewards,
        **({"split": split} if split not in (None, "train") else {}),
    }
    return run_stage(out, "pairs", described, {"trees": trees}, work, force=force)


def _shuffled(rows: Iterator[Tree], again: Iterator[Any], seed: int) -> Iterator[Tree]:
    """`again`: the same trees, to take the rewards from."""
    rewards = [response["reward"] for tree in again for response in tree["responses"]]
    random.Random(seed).shuffle(rewards)
    dealt = iter(rewards)
    for tree in rows:
        yield with_rewards(tree, list(islice(dealt, len(tree["responses"]))), f"{tree['reward_name']}, shuffled")


def make_preference_pairs(
    path: str,
    out: str | Path,
    columns: PreferenceColumns,
    *,
    split: str | None = None,
    source: str | None = None,
    strict: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Stage: outcome pairs from any preference dataset with chosen and rejected columns. Returns the manifest."""

    def work(folder: Path) -> dict[str, Any]:
        clear(folder)
        rejections = Rejections(folder / REJECTED, strict)
        statistics = PairStatistics()
        pairs = rejections.filter(read_preferences(path, columns, split=split, source=source))
        shards = write_unique(folder, progress(pairs, "pairs"), statistics)
        if not statistics.pairs:
            raise InputError(f"{path}: no pair could be used; " + most_common(rejections.counts))
        return finish_dataset(
            folder, Pair, "pairs", shards, {**statistics.summary(), "rejected": dict(rejections.counts)}
        )

    described = {"columns": asdict(columns), "split": split, "source": source}
    manifest = run_stage(out, "pairs", described, {"preferences": path}, work, force=force)
    return strictly(manifest, out) if strict else manifest


_BUCKETS = ".buckets.json"
_UNREAD = ".rejected.jsonl"  # rows rejected while reading; joined by those that shards reject


def _bucket(folder: Path, source: CandidateSource, strict: bool) -> dict[str, Any]:
    """Sorts candidates into one file per shard of prompts, in one reading with bounded memory.

    Candidates of one prompt may lie anywhere in the file; prompts are numbered as they first appear.
    """
    marker = folder / _BUCKETS
    if marker.exists():
        return json.loads(marker.read_text("utf-8"))
    clear(folder)
    (folder / DATA).mkdir()
    rejections = Rejections(folder / _UNREAD, strict)
    counts: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    held: dict[int, list[str]] = {}
    names: set[str] = set()
    size = 0

    def flush() -> None:
        for index, lines in held.items():
            with _bucket_path(folder, index).open("a", encoding="utf-8") as file:
                file.writelines(lines)
        held.clear()

    for row in tqdm(rejections.filter(source.read(counts)), "reading", unit=" rows", disable=None):
        rank = ranks.setdefault(row["prompt_id"], len(ranks))
        names.update(reward["name"] for reward in row["rewards"])
        line = json.dumps(row, ensure_ascii=False) + "\n"
        held.setdefault(rank // PROMPTS_PER_SHARD, []).append(line)
        size += len(line)
        if size > _FLUSH:
            flush()
            size = 0
    flush()
    if not ranks:
        raise InputError(f"{source.path}: no candidate could be used; " + most_common(rejections.counts))
    if source.reward_name is None and len(names) > 1:
        raise InputError(
            f"{source.path}: candidates have rewards {', '.join(sorted(names))}; choose one with --reward-name"
        )
    if source.reward_name is not None and names and source.reward_name not in names:
        raise InputError(
            f"{source.path}: no candidate has a reward {source.reward_name!r}; there are {', '.join(sorted(names))}"
        )
    name = source.reward_name or next(iter(names), None)
    shards = -(-len(ranks) // PROMPTS_PER_SHARD)
    result = {"shards": shards, "skipped": counts["skipped"], "reward_name": name}
    write_whole(marker, json.dumps(result))
    return result


def _bucket_path(folder: Path, index: int) -> Path:
    return folder / DATA / f".bucket-{index:05d}.jsonl"


def _statistics_path(folder: Path, index: int) -> Path:
    return folder / DATA / f".statistics-{index:05d}.json"


def _rejected_path(folder: Path, index: int) -> Path:
    return folder / DATA / f".rejected-{index:05d}.jsonl"


def _grow_shard(
    index: int,
    *,
    folder: Path,
    file: str,
    parameters: MergeParameters,
    separators: dict[str, str],
    reward_name: str | None,
    strict: bool,
) -> None:
    """Builds and writes the trees of one bucket; its statistics file appears last and marks it as done."""
    prompts: dict[str, list[Candidate]] = {}
    with _bucket_path(folder, index).open(encoding="utf-8") as lines:
        for line in lines:
            row: Candidate = json.loads(line)
            prompts.setdefault(row["prompt_id"], []).append(row)
    statistics = TreeStatistics()
    rejections = Rejections(_rejected_path(folder, index), strict)

    def trees() -> Iterator[Tree]:
        for candidates in prompts.values():
            usable = []
            for candidate in sorted(candidates, key=lambda candidate: candidate["sample_index"]):
                problem = _unusable(candidate, reward_name, file)
                if problem:
                    rejections.add(problem)
                else:
                    usable.append(candidate)
            if usable:
                source = usable[0]["source"]
                chosen = replace(parameters, separator=separators.get(source, parameters.separator))
                assert reward_name is not None  # without any reward none is usable
                tree = build_tree(usable, reward_name, chosen)
                statistics.add(tree)
                yield tree

    write_shard(folder, index, trees(), Tree)
    write_whole(_statistics_path(folder, index), json.dumps(statistics.state()))


def _unusable(candidate: Candidate, reward_name: str | None, file: str) -> Rejection | None:
    where = f"prompt {candidate['prompt_id']!r}, sample {candidate['sample_index']}: "
    if not candidate["response"].strip():
        return Rejection(file, None, "empty response", f"{where}leave it out, or sample it again")
    names = [reward["name"] for reward in candidate["rewards"]]
    if reward_name not in names:
        return Rejection(file, None, "no reward", f"{where}reward it, or name another with --reward-name")
    return None


def _one_step_shares(folder: Path, sample: int = 2000) -> dict[str, float]:
    """The share of responses that are a single step, for each separator there is, on a sample."""
    with _bucket_path(folder, 0).open(encoding="utf-8") as file:
        lines = file.readlines()
    # every so many: files are often in order of the model that answered
    responses = [json.loads(line)["response"] for line in lines[:: -(-len(lines) // sample)]]
    return {
        separator: round(sum(len(split(text, separator)) == 1 for text in responses) / len(responses), 4)
        for separator in (".\n", "paragraph", "line", "sentence")
    }


def _map(function: Callable[[int], Any], items: list[int], num_proc: int) -> Iterator[Any]:
    if num_proc == 1 or len(items) < 2:
        yield from map(function, items)
        return
    # spawn: forking a process that has threads (pyarrow's, torch's) can hang it
    workers = min(num_proc, len(items))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=end_with_parent) as pool:
        yield from pool.map(function, items)


def write_unique(folder: Path, pairs: Iterable[Pair], statistics: PairStatistics) -> int:
    """Writes the pairs without duplicates and contradictions: all to a scratch file first, then those that stay.

    Process pairs come first, outcome pairs behind them, so that files by level, as they are published, are in order.
    """
    duplicates = Duplicates()
    scratch = folder / ".pairs.jsonl"
    with scratch.open("w", encoding="utf-8") as file:
        for pair in pairs:
            duplicates.add(pair)
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")

    def kept() -> Iterator[Pair]:
        for level in LEVELS:
            with scratch.open(encoding="utf-8") as file:
                for line in file:
                    pair: Pair = json.loads(line)
                    if pair["level"] == level and duplicates.keep(pair):
                        statistics.add(pair)
                        yield pair

    shards = write_shards(folder, kept(), Pair, PAIRS_PER_SHARD)
    scratch.unlink()
    statistics.duplicates, statistics.contradictions = duplicates.duplicates, duplicates.contradictions
    return shards
