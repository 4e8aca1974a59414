"""The stage that builds preference trees (paper, section 3.1)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.candidates import CandidateSource
from ..engines.sentence_embeddings import SentenceEmbeddings
from ..errors import Failure, InputError
from ..rewards.answer_equivalence import stated_answer
from ..runs.atomic import write_whole
from ..runs.dataset import Rejections, finish_dataset, most_common, read_rejected
from ..runs.declaration import execution, input_path, nearest, parameter
from ..runs.folder import REJECTED, read_rows
from ..runs.manifest import WORK
from ..runs.processes import in_processes
from ..runs.progress import Progress, shown
from ..runs.shards import Shards, response_key, write_dataset
from ..schema import Candidate, Tree
from ..scoring.steps import DEFAULT_SEPARATOR, split
from ..trees.near_threshold import excerpts, near_threshold
from ..trees.similarity import DEFAULT_SIMILARITY, EMBEDDING, EmbeddingSimilarity, Similarity, similarity
from ..trees.statistics import TreeStatistics
from ..trees.tree import DEFAULT_THRESHOLD, MergeParameters, build_tree, merge, tie_break
from .shared_options import ReadsCandidates

PROMPTS_PER_SHARD = 500
_FLUSH = 50_000_000  # characters held back before the buckets of candidates are written
_Meaning = tuple[Similarity, SentenceEmbeddings | None]


@dataclass(frozen=True, kw_only=True)
class Trees(ReadsCandidates, kind="trees"):
    """Merge the responses to each prompt into a preference tree and back-propagate their rewards.

    Neither the trees nor their order depend on the order of the candidates: ties are broken by a hash of prompt,
    response and seed, and trees stand in the order of a hash of their prompt ids.
    """

    separator: str = parameter(
        r"Where steps end: '.\n' (the paper's), paragraph, line, sentence or re:PATTERN.",
        DEFAULT_SEPARATOR,
        escapes=True,
    )
    separators: dict[str, str] = parameter(
        "Another separator for one source, SOURCE=SEPARATOR; may be repeated.",
        {},
        flag="--source-separator",
        escapes=True,
    )
    similarity: str = parameter(
        "levenshtein (our choice), indel, jaro_winkler, or embedding: of meaning, by --embedder.", DEFAULT_SIMILARITY
    )
    embedder: str | None = input_path("Sentence-embedding model of --similarity embedding: a folder or Hub id.", None)
    threshold: float = parameter("Least similarity of steps that merge; 0.88 is the paper's.", DEFAULT_THRESHOLD)
    distinct_numbers: bool = parameter("Never merge steps with different numbers or option letters.", False)
    distinct_answers: bool = parameter("Never merge steps that state different final answers.", False)
    distinct_names: bool = parameter("Never merge steps with different names, or of which one denies.", False)
    linkage: str = parameter(
        "Which similar steps merge: with the first step of a node (first), or agglomerative: average or complete.",
        "first",
    )
    responses: int | None = parameter(
        "Only so many responses to each prompt, the first that were sampled.", None, above=0
    )
    seed: int = parameter("Of the hash that orders responses and breaks ties.", 0)
    num_proc: int = execution("Processes.", 1, above=0)
    embedding_cache: str | None = execution(
        "Folder that keeps embeddings for other runs; default: until this one is finished.", None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for separator in (self.separator, *self.separators.values()):
            self._parameters(separator, DEFAULT_SIMILARITY)  # raises for invalid ones
        if self.similarity != EMBEDDING:
            similarity(self.similarity)
        if (self.similarity == EMBEDDING) != (self.embedder is not None):
            raise InputError("--similarity embedding and --embedder MODEL go together; give both, or none of them")

    def work(self, folder: Path) -> Mapping[str, Any]:
        meaning = self.measure(folder / WORK)
        merge([["a"], ["b"]], [0, 0], self._parameters(self.separator, DEFAULT_SIMILARITY))  # raises without SciPy
        buckets = _bucket(folder, self.candidate_source(), self.strict, self.responses)
        for source in self.separators:
            if source not in buckets["sources"]:
                hint = nearest(source, buckets["sources"])
                raise InputError(f"--source-separator: no candidate is of source {source!r}{hint}")
        stored = Shards(folder, Tree)
        finished = stored.notes()
        missing = [shard for shard in enumerate(buckets["shards"]) if shard[0] not in finished]
        grow = partial(self._grow_shard, folder, buckets["reward_name"], meaning)
        done = sum(note.items for note in finished.values())
        with Progress("trees", "prompts", buckets["prompts"], done, note=folder / WORK / "progress.txt") as progress:
            for prompts in in_processes(grow, missing, self.num_proc):
                progress.report(prompts)
        rejections = Rejections(folder / REJECTED, self.strict)
        for failure in read_rejected(folder / WORK):
            rejections.add(failure)
        digests, notes = write_dataset(folder, stored, rejections, self.candidates, per_file=PROMPTS_PER_SHARD)
        statistics = TreeStatistics()
        for note in notes:
            statistics.merge(dict(note.counts))
        counts = {
            **statistics.summary(),
            "other_separators": _one_step_shares(folder, buckets["shards"][0]),
            "skipped": buckets["skipped"],
            "rejected": dict(rejections.counts),
        }
        rows: Iterator[Any] = read_rows(folder, Tree)
        near = near_threshold(islice(rows, 100), self._parameters(self.separator, meaning[0]))
        examples = {name: [[*excerpts(texts, 300), alike] for alike, *texts in found] for name, found in near.items()}
        return {**finish_dataset(folder, Tree, "trees", digests, counts), "near_threshold": examples}

    def measure(self, folder: Path) -> _Meaning:
        """The similarity of steps, and the embeddings behind it, which are kept in `folder`, or in the cache.

        Raises InputError where they cannot be computed.
        """
        if self.embedder is None:
            return similarity(self.similarity), None
        embeddings = SentenceEmbeddings(self.embedder, Path(self.embedding_cache or folder))
        embeddings(["a"])  # what cannot be loaded is said before anything is read
        return EmbeddingSimilarity(embeddings, embeddings.name), embeddings

    def _parameters(self, separator: str, measure: str | Similarity) -> MergeParameters:
        answers = stated_answer if self.distinct_answers else None
        return MergeParameters(
            separator,
            measure,
            self.threshold,
            distinct_numbers=self.distinct_numbers,
            distinct_answers=answers,
            distinct_names=self.distinct_names,
            linkage=self.linkage,
            seed=self.seed,
        )

    def _grow_shard(self, folder: Path, reward_name: str, meaning: _Meaning, shard: tuple[int, list[int]]) -> int:
        """Builds and stores the trees of a shard, a number and its buckets; returns its number of prompts."""
        index, buckets = shard
        prompts: dict[str, list[Candidate]] = {}
        for line in _lines(folder, buckets):
            row = json.loads(line)
            prompts.setdefault(row["prompt_id"], []).append(row)
        measure, embeddings = meaning
        cut_before = embeddings.cut if embeddings else 0
        trees: list[Tree] = []
        failures: list[Failure] = []
        statistics = TreeStatistics()
        for _, candidates in sorted(prompts.items(), key=lambda item: _place(item[0])):
            problems = [_unusable(candidate, reward_name) for candidate in candidates]
            usable = [candidate for candidate, problem in zip(candidates, problems, strict=True) if problem is None]
            failures += filter(None, problems)
            separator = self.separators.get(min((one["source"] for one in usable), default=""), self.separator)
            try:
                trees += [build_tree(usable, reward_name, self._parameters(separator, measure))] if usable else []
            except Failure as failure:  # of one step
                failures += [failure.at(response_key(candidate)) for candidate in usable]
            if failures and self.strict:
                raise InputError(f"{failures[0]} (stopped by --strict)")
        for tree in trees:
            statistics.add(tree)
        statistics.counts["cut"] += embeddings.cut - cut_before if embeddings else 0
        Shards(folder, Tree).write(index, trees, failures, statistics.state(), len(prompts))
        return len(prompts)


def _bucket(folder: Path, source: CandidateSource, strict: bool, responses: int | None) -> dict[str, Any]:
    """Sorts candidates into files by a hash of their prompts, in one reading with bounded memory.

    Candidates of one prompt may lie anywhere. A shard is so many neighboring files that it has enough prompts.
    """
    marker = folder / WORK / "buckets.json"
    if marker.exists():
        return json.loads(marker.read_text("utf-8"))
    for path in (folder / WORK).glob("bucket-*"):  # of a killed run
        path.unlink()
    rejections = Rejections(folder / WORK / REJECTED, strict)
    counts: Counter[str] = Counter()
    prompts: set[str] = set()
    held: dict[int, list[str]] = {}
    sources: set[str] = set()
    names: set[str] = set()
    size = 0

    def flush() -> None:
        for index, lines in held.items():
            with _bucket_path(folder, index).open("a", encoding="utf-8") as file:
                file.writelines(lines)
        held.clear()

    for row in shown(rejections.filter(source.read(counts)), "trees, reading"):
        if responses is not None and row["sample_index"] >= responses:
            continue
        prompts.add(row["prompt_id"])
        sources.add(row["source"])
        names.update(reward["name"] for reward in row["rewards"])
        line = json.dumps(row, ensure_ascii=False) + "\n"
        held.setdefault(_bucket_of(row["prompt_id"]), []).append(line)
        size += len(line)
        if size > _FLUSH:
            flush()
            size = 0
    flush()
    if not prompts:
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
    shards: list[list[int]] = []
    size = PROMPTS_PER_SHARD
    for index, inside in sorted(Counter(map(_bucket_of, prompts)).items()):
        if size >= PROMPTS_PER_SHARD:
            shards.append([])
            size = 0
        shards[-1].append(index)
        size += inside
    found = {"prompts": len(prompts), "sources": sorted(sources), "skipped": counts["skipped"], "reward_name": name}
    result = {"shards": shards, **found}
    write_whole(marker, json.dumps(result))
    return result


def _place(prompt_id: str) -> str:
    """What trees are ordered by."""
    return tie_break(0, prompt_id, "")


def _bucket_of(prompt_id: str) -> int:
    """One of 4,096."""
    return int(_place(prompt_id)[:3], 16)


def _lines(folder: Path, buckets: list[int]) -> Iterator[str]:
    for index in buckets:
        with _bucket_path(folder, index).open(encoding="utf-8") as lines:
            yield from lines


def _bucket_path(folder: Path, index: int) -> Path:
    return folder / WORK / f"bucket-{index:05d}.jsonl"


def _unusable(candidate: Candidate, reward_name: str) -> Failure | None:
    key = response_key(candidate)
    if not candidate["response"].strip():
        return Failure("empty response", "leave it out, or sample it again", key=key)
    if all(reward["name"] != reward_name for reward in candidate["rewards"]):
        return Failure("no reward", "reward it, or name another with --reward-name", key=key)
    return None


def _one_step_shares(folder: Path, buckets: list[int], sample: int = 2000) -> dict[str, float]:
    """The share of responses that are a single step, for each separator there is, on a sample."""
    lines = list(_lines(folder, buckets))
    # every so many: files are often in order of the model that answered
    responses = [json.loads(line)["response"] for line in lines[:: -(-len(lines) // sample)]]
    return {
        separator: round(sum(len(split(text, separator)) == 1 for text in responses) / len(responses), 4)
        for separator in (".\n", "paragraph", "line", "sentence")
    }
