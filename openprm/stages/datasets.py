"""The stages that make datasets: candidates, trees, pairs.

Each reads rows, applies pure functions and writes a folder (see `openprm.runs.manifest`, `openprm.runs.folder`). What
cannot be used goes to `rejected.jsonl` with the reason; with `strict`, the first such row stops the stage.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.candidate_source import CandidateSource
from ..data.preferences import PreferenceColumns, read_preferences
from ..errors import Failure, InputError
from ..runs.dataset import Rejections, finish_dataset, most_common, read_rejected, strictly, write_shards
from ..runs.folder import REJECTED, read_rows
from ..runs.manifest import WORK, run_stage, write_whole
from ..runs.processes import in_processes
from ..runs.progress import Progress, shown
from ..runs.shards import Shards, response_key, write_dataset
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
        rejections = Rejections(folder / REJECTED, strict)
        counts: Counter[str] = Counter()
        prompts: set[str] = set()
        marks: Counter[str] = Counter()

        def rows() -> Iterator[Candidate]:
            for row in shown(rejections.filter(source.read(counts)), "import"):
                prompts.add(row["prompt_id"])
                marks.update(row["marks"])
                yield row

        shards = write_shards(folder, rows(), Candidate, CANDIDATES_PER_SHARD)
        result = {"prompts": len(prompts), "marks": dict(marks), "skipped": counts["skipped"]}
        return finish_dataset(folder, Candidate, "candidates", shards, {**result, "rejected": dict(rejections.counts)})

    manifest = run_stage(
        out, "candidates", source.parameters(), source.inputs(), work, force=force, replace_finished=True
    )
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
        stored = Shards(folder, Tree)
        grow = partial(
            _grow_shard,
            folder=folder,
            parameters=parameters,
            separators=dict(separators or {}),
            reward_name=buckets["reward_name"],
            strict=strict,
        )
        finished = stored.notes()
        missing = [index for index in range(buckets["shards"]) if index not in finished]
        done = sum(note.items for note in finished.values())
        with Progress("trees", "prompts", buckets["prompts"], done, note=folder / WORK / "progress.txt") as progress:
            for prompts in in_processes(grow, missing, num_proc):
                progress.report(prompts)
        rejections = Rejections(folder / REJECTED, strict)
        for failure in read_rejected(folder / WORK):
            rejections.add(failure)
        files, notes = write_dataset(folder, stored, rejections, source.path, per_file=PROMPTS_PER_SHARD)
        statistics = TreeStatistics()
        for note in notes:
            statistics.merge(dict(note.counts))
        counts = {
            **statistics.summary(),
            "other_separators": _one_step_shares(folder),
            "skipped": buckets["skipped"],
            "rejected": dict(rejections.counts),
        }
        return finish_dataset(folder, Tree, "trees", files, counts)

    described = {**source.parameters(), **parameters.record(), "separators": dict(separators or {})}
    manifest = run_stage(out, "trees", described, source.inputs(), work, force=force, replace_finished=True)
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
        # a gap in the reward's own units needs no look at the rewards; it is entered as sources appear
        gaps: dict[str, float] = defaultdict(lambda: min_gap.amount)
        if min_gap.units != "reward":
            gaps |= min_gap.in_reward_units(shown(read(), "gaps", "trees"))
        statistics = PairStatistics()

        def rows() -> Iterator[Pair]:
            for tree in shown(read(), "pairs", "trees"):
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
    return run_stage(out, "pairs", described, {"trees": trees}, work, force=force, replace_finished=True)


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
        rejections = Rejections(folder / REJECTED, strict)
        statistics = PairStatistics()
        pairs = rejections.filter(read_preferences(path, columns, split=split, source=source))
        shards = write_unique(folder, shown(pairs, "pairs", "pairs"), statistics)
        if not statistics.pairs:
            raise InputError(f"{path}: no pair could be used; " + most_common(rejections.counts))
        return finish_dataset(
            folder, Pair, "pairs", shards, {**statistics.summary(), "rejected": dict(rejections.counts)}
        )

    described = {"columns": asdict(columns), "split": split, "source": source}
    manifest = run_stage(out, "pairs", described, {"preferences": path}, work, force=force, replace_finished=True)
    return strictly(manifest, out) if strict else manifest


def _bucket(folder: Path, source: CandidateSource, strict: bool) -> dict[str, Any]:
    """Sorts candidates into one file per shard of prompts, in one reading with bounded memory.

    Candidates of one prompt may lie anywhere in the file; prompts are numbered as they first appear.
    """
    marker = folder / WORK / "buckets.json"
    if marker.exists():
        return json.loads(marker.read_text("utf-8"))
    for path in (folder / WORK).glob("bucket-*"):  # of a killed run
        path.unlink()
    rejections = Rejections(folder / WORK / REJECTED, strict)
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

    for row in shown(rejections.filter(source.read(counts)), "trees, reading"):
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
    result = {"shards": shards, "prompts": len(ranks), "skipped": counts["skipped"], "reward_name": name}
    write_whole(marker, json.dumps(result))
    return result


def _bucket_path(folder: Path, index: int) -> Path:
    return folder / WORK / f"bucket-{index:05d}.jsonl"


def _grow_shard(
    index: int,
    *,
    folder: Path,
    parameters: MergeParameters,
    separators: dict[str, str],
    reward_name: str | None,
    strict: bool,
) -> int:
    """Builds and stores the trees of one bucket; returns its number of prompts."""
    prompts: dict[str, list[Candidate]] = {}
    with _bucket_path(folder, index).open(encoding="utf-8") as lines:
        for line in lines:
            row: Candidate = json.loads(line)
            prompts.setdefault(row["prompt_id"], []).append(row)
    trees: list[Tree] = []
    failures: list[Failure] = []
    for candidates in prompts.values():
        usable = []
        for candidate in sorted(candidates, key=lambda candidate: candidate["sample_index"]):
            problem = _unusable(candidate, reward_name)
            if problem and strict:
                raise InputError(f"{problem} (stopped by --strict)")
            if problem:
                failures.append(problem)
            else:
                usable.append(candidate)
        if usable:
            source = usable[0]["source"]
            chosen = replace(parameters, separator=separators.get(source, parameters.separator))
            assert reward_name is not None  # without any reward none is usable
            trees.append(build_tree(usable, reward_name, chosen))
    statistics = TreeStatistics()
    for tree in trees:
        statistics.add(tree)
    Shards(folder, Tree).write(index, trees, failures, statistics.state(), len(prompts))
    return len(prompts)


def _unusable(candidate: Candidate, reward_name: str | None) -> Failure | None:
    if not candidate["response"].strip():
        return Failure("empty response", "leave it out, or sample it again", key=response_key(candidate))
    names = [reward["name"] for reward in candidate["rewards"]]
    if reward_name not in names:
        return Failure("no reward", "reward it, or name another with --reward-name", key=response_key(candidate))
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
