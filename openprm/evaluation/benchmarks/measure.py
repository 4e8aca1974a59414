"""The rewards that one model gives to the responses of a benchmark, in shards that a killed run keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...errors import Failure
from ...runs.dataset import Rejections, finish_dataset
from ...runs.folder import REJECTED, batched, read_rows, rows_hash
from ...runs.manifest import run_stage
from ...runs.progress import Report
from ...runs.shards import Items, Made, Shards, Work, compute_missing, write_dataset
from ...schema import SCHEMA_VERSION, BenchmarkReward
from ...scoring.scored_answer import ScoredAnswer
from .items import Item, Rewarded

RESPONSES_PER_SHARD = 512


class Scorer(Protocol):
    """Rewards the steps of responses: `openprm.engines.step_scorer.StepScorer` and its kin."""

    @property
    def unit(self) -> str:
        """Of the rewards (`openprm.scoring.units`)."""

    @property
    def aggregation(self) -> str:
        """How the model's own step rewards become a score."""

    def score_rows(self, rows: Iterable[Mapping[str, Any]], report: Report) -> list[ScoredAnswer | Failure]:
        """Each row's `response` to its `question`; split into its `steps` where it has some (not None)."""

    def close(self) -> None: ...


def measure(
    out: Path,
    views: Mapping[str, Sequence[Item]],
    scorer: Callable[[], Scorer],
    name: str,
    parameters: Mapping[str, Any],
) -> tuple[str, str, dict[str, list[list[Rewarded]]]]:
    """The model's aggregation and unit, and what it gives to the responses of each view's items, in their order.

    All of it is kept in the folder `out`.

    views: items by the name of a probe that changed them; "" are the benchmark's own. scorer: makes the model, and is
    called only where something is missing. parameters: all about the model that rewards depend on. What is asked of it
    counts by its hash, so rewards are given again only for the same responses, whatever left others out.
    """
    rows = [
        {"view": view, "item": item.id, "response": index, "question": item.question, **_text(response)}
        for view, items in views.items()
        for item in items
        for index, response in enumerate(item.responses)
    ]

    def compute(shards: Iterable[tuple[int, Items]], report: Report) -> Iterator[tuple[int, list[Made]]]:
        loaded = scorer()
        for index, some in shards:
            asked = [{**row, "response": row["text"]} for row in some]
            found = loaded.score_rows(asked, report)
            yield index, [_made(row, one) for row, one in zip(some, found, strict=True)]

    def work(folder: Path) -> Mapping[str, Any]:
        said = {"aggregation": scorer().aggregation, "unit": scorer().unit}
        stored = Shards(folder, BenchmarkReward)
        todo = Work(
            name=name,
            unit="responses",
            source=str(out),
            total=len(rows),
            per_shard=RESPONSES_PER_SHARD,
            shards=lambda: batched(rows, RESPONSES_PER_SHARD),
            compute=compute,
            key=_key,
            count=lambda some: {"rows": len(some)},
        )
        compute_missing(stored, todo)
        rejections = Rejections(folder / REJECTED)
        digests, _ = write_dataset(folder, stored, rejections, name)
        return said | finish_dataset(folder, BenchmarkReward, "rewards", digests, {})

    manifest = run_stage(out, "rewards", {**parameters, "asked": rows_hash(rows)}, {}, work, replace=True)
    given = {
        _key(row): Rewarded(tuple(row["steps"]), tuple(row["step_rewards"])) for row in read_rows(out, BenchmarkReward)
    }
    rewarded = {
        view: [
            [given[_key({"view": view, "item": item.id, "response": index})] for index in range(len(item.responses))]
            for item in items
        ]
        for view, items in views.items()
    }
    return manifest["aggregation"], manifest["unit"], rewarded


def _text(response: Any) -> dict[str, Any]:
    return {"text": response.text, "steps": None if response.steps is None else list(response.steps)}


def _key(row: Mapping[str, Any]) -> str:
    view = f"{row['view']}, " if row["view"] else ""
    return f"{view}{row['item']}, response {row['response']}"


def _made(row: Mapping[str, Any], scored: ScoredAnswer | Failure) -> Made:
    """A row, also for a response without rewards, which a benchmark counts; none where a retry may get them."""
    found: dict[str, Any] = {"steps": [], "step_rewards": [], "failure": None}
    if not isinstance(scored, Failure):
        found |= {"steps": scored.steps, "step_rewards": scored.step_rewards}
    elif scored.transient:
        return Made([], scored)
    else:
        found["failure"] = scored.reason
    about = {name: row[name] for name in ("view", "item", "response")}
    return Made([{"schema_version": SCHEMA_VERSION, **about, **found}])
