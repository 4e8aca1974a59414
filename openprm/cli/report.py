"""What a person reads in the terminal of a stage's result: summaries and tables. No computation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..evaluation.choices_tables import tables
from ..evaluation.report.page import PAGE, RESULTS
from ..evaluation.report.tables import overview, remarks
from ..runs.console import console, say, styled
from ..runs.folder import read_manifest
from ..runs.shards import status
from ..schema import LEVELS
from ..trees.near_threshold import excerpts
from ..trees.statistics import PAPER_PAIRS_PER_PROMPT

if TYPE_CHECKING:
    from ..hub.publication import Publication
    from ..presets.plan import StagePlan

_MOSTLY_ONE_STEP = 0.5
_HARDLY_MERGED = 0.02
_MOSTLY_SINGLE = 0.7
_NARROW = 0.05  # of a standard deviation
_NEAR = {"merged": "Different steps that merged just above ", "apart": "Steps that stayed apart just below "}
_WARNING = ("Warning: ", "yellow")


def print_result(manifest: Mapping[str, Any], out: Any, already: bool = False) -> None:
    """What a stage made (`already`: before), or how far it is where only a part of it was run."""
    if already:
        told = f"{out} was already made, with the same parameters and inputs; --force makes it again"
        console().print(told, style="italic", soft_wrap=True)
    if not manifest:
        print_unfinished(out)
    elif manifest["stage"] == "choices":
        print_evaluation(manifest)
    elif manifest["stage"] == "evaluate":
        print_benchmarks(json.loads((Path(out) / RESULTS).read_text("utf-8")), out)
    else:
        print_summary(manifest, out)


def print_summary(manifest: Mapping[str, Any], out: Any) -> None:
    """The counts of a stage, with warnings where its data will not do what was wanted."""
    counts = dict(manifest["counts"])
    screen = console()
    rows = f"{manifest['rows']} rows in " if "rows" in manifest else ""
    screen.print(f"{manifest['stage']}: {rows}{out}", style="italic", soft_wrap=True)
    table = Table(show_header=False, box=None)
    rejected = counts.pop("rejected", {})
    counts.pop("other_separators", None)
    for name, value in counts.items():
        text = ", ".join(f"{key}: {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
        if value or isinstance(value, float):  # a share of 0.0 says something, a count of 0 does not
            table.add_row(name.replace("_", " "), text)
    for name, value in manifest.get("metrics", {}).items():
        table.add_row(name.replace("eval_", "held-out ").replace("_", " "), f"{value:.3f}")
    screen.print(table)
    if "sibling_pairs_per_prompt" in counts:
        paper = ", ".join(f"{source} {value}" for source, value in PAPER_PAIRS_PER_PROMPT.items())
        screen.print(f"The paper kept, per prompt: {paper} (Table 4).")
    for name, examples in manifest.get("near_threshold", {}).items():
        for index, (*texts, alike) in enumerate(examples):
            if not index:
                screen.print(_NEAR[name] + f"the threshold of {manifest['parameters']['threshold']}:", style="italic")
            shown = "\n         ".join(excerpts(texts, screen.width - 9))
            screen.print(f"  {alike:.4f} {shown}", soft_wrap=True)
    for warning in _warnings(manifest):
        screen.print(styled(_WARNING, warning))
    if rejected:
        screen.print(
            styled((f"{sum(rejected.values())} rows were rejected", "yellow"), f", listed in {out}/rejected.jsonl:")
        )
        for reason, count in sorted(rejected.items(), key=lambda item: -item[1])[:10]:
            screen.print(f"  {count:8}  {reason}")


def _warnings(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Where a stage's data will not do what was wanted, and what to do."""
    counts, parameters = manifest["counts"], manifest["parameters"]
    for source, sd in counts.get("reward_sd_by_source", {}).items():
        gap = counts["min_gap_by_source"][source]
        if 0 < gap < _NARROW * sd:
            yield (
                f"a gap of {gap:g} is only {gap / sd:.1%} of a standard deviation of the rewards of {source}: "
                "--min-gap 0.5sd asks for half of one."
            )
    wanted, found = str(parameters.get("outcome")), counts.get("levels", {}).get("outcome", 0)
    if wanted.isdigit() and found < int(wanted):
        yield f"there are only {found} outcome pairs of such a gap, not the {wanted} of --outcome."
    if (single := counts.get("single_response_share_by_level", {}).get("process", 0)) > _MOSTLY_SINGLE:
        yield (
            f"{single:.0%} of the process pairs have one response behind each side, so they say no more than its "
            "reward: merge by meaning (openprm trees --similarity embedding), or sample branches (openprm sample "
            "--branch)."
        )
    if counts.get("one_step_share", 0) > _MOSTLY_ONE_STEP:
        tried = {**counts["other_separators"], parameters["separator"]: 1.0}  # not the one in use
        best = min(tried, key=lambda separator: tried[separator])
        name = best.replace("\n", "\\n")
        advice = f" With --separator '{name}' it would be {tried[best]:.0%} (on a sample)."
        yield (
            f"{counts['one_step_share']:.0%} of the responses are one step, which no process pair can come from."
            f"{advice if tried[best] < counts['one_step_share'] else ''}"
        )
    if counts.get("end_nodes_with_right_and_wrong"):
        yield (
            f"{counts['end_nodes_with_right_and_wrong']} of {counts['end_nodes_of_several_responses']} end nodes of "
            "several responses hold right and wrong ones: --distinct-answers keeps answers apart, --distinct-numbers "
            "numbers."
        )
    if counts.get("merged_share", 1) < _HARDLY_MERGED:
        yield (
            f"{counts['merged_share']:.1%} of the steps merged, so most values are the rewards of single responses: "
            "try another separator, or a similarity or threshold from --plot."
        )
    if counts.get("prompts_with_one_response"):
        yield f"{counts['prompts_with_one_response']} prompts have one response: no pairs there."


def print_unfinished(out: str | Path) -> None:
    """How far the run that makes `out` is. Raises InputError where there is none."""
    lines = status(out)
    if lines is None:
        manifest = read_manifest(out)
        lines = [f"{out} is finished: {manifest['stage']}, {manifest.get('rows', 0):,} rows"]
    for line in lines:
        say(line)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text, the others numbers."""
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", overflow="fold")  # never cut
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_evaluation(manifest: Mapping[str, Any]) -> None:
    """The tables of an evaluation stage: each way to choose, and the differences between kinds of models."""
    for name, missing in manifest["counts"]["unscored"].items():
        if missing:
            console().print(styled(_WARNING, f"{missing} candidates have no score by {name}."))
    for reason, count in manifest["counts"]["rejected"].items():
        console().print(styled(_WARNING, f"{count} left out, listed in rejected.jsonl: {reason}."))
    for table in tables(manifest):
        print_table(*table)


def print_benchmarks(results: Mapping[str, Any], out: Any) -> None:
    """The headline numbers of an evaluation on benchmarks, and what must be known of them."""
    title, header, rows = overview(results)
    if len(header) > len(rows):  # many benchmarks: downward, where there is room
        header, *rows = map(list, zip(header, *rows, strict=True))
    print_table(title, header, rows)
    for text in remarks(results):
        console().print(styled(_WARNING, f"{text}."))
    say(f"All numbers, with pictures: {out}/{PAGE}")


def print_upload_plan(planned: Sequence[Publication], private: bool, tag: str | None) -> None:
    """What would be sent: repositories, files with their sizes, and the cards in full. Nothing was."""
    screen = console()
    total = 0
    for publication in planned:
        title, sizes = f"{publication.type} {publication.name}", publication.sizes()
        screen.rule(styled(title), align="left", characters="=")
        say((publication.folder / "README.md").read_text("utf-8"))
        total += (size := sum(sizes.values()))
        rows = [[name, f"{bytes:,}"] for name, bytes in [*sizes.items(), ("all", size)]]
        print_table(title, ["file", "bytes"], rows)
    count = f"{len(planned)} repositories" if len(planned) > 1 else "one repository"
    seen = "private where they are new" if private else "public where they are new"
    tagged = f", tagged {tag}" if tag else ""
    say(f"{count}, {total:,} bytes, {seen}{tagged}. Nothing was sent (--dry-run).")


def print_run(manifests: Mapping[str, Mapping[str, Any]], out: Any) -> None:
    """The end of a preset's run: its evaluation, and where everything lies."""
    measured: dict[str, dict[str, str]] = {}
    for name, manifest in manifests.items():
        metrics = manifest["metrics"] if manifest["stage"] == "train" else {}
        found = {level: f"{metrics[key]:.3f}" for level in LEVELS if (key := f"eval_accuracy_{level}") in metrics}
        measured |= {name: found} if found else {}
    if levels := [level for level in LEVELS if any(level in found for found in measured.values())]:
        rows = [[name, *(found.get(level, "") for level in levels)] for name, found in measured.items()]
        print_table("accuracy on held-out pairs", ["model", *levels], rows)
    for manifest in manifests.values():
        if manifest["stage"] == "choices":
            print_evaluation(manifest)
    folders = [[f"{out}/{name}", manifest["stage"]] for name, manifest in manifests.items()]
    print_table("where everything lies", ["folder", "what it holds"], folders)
    for name, manifest in manifests.items():
        if manifest["stage"] == "choices":
            say(f"The tables again, with all differences: {out}/{name}/table.md")


def print_made(manifest: Mapping[str, Any], out: Any) -> None:
    """What must be known of a stage's data before the next one is made: warnings, and how many rows were rejected."""
    if "rows" not in manifest:
        return
    for warning in _warnings(manifest):
        console().print(styled(_WARNING, warning))
    if rejected := sum(manifest["counts"].get("rejected", {}).values()):
        console().print(styled(_WARNING, f"{rejected} rows were rejected, listed in {out}/rejected.jsonl."))


_PLANNED = ("prompts", "samples", "tokens", "generated", "generated_at_most", "rewards", "pairs")


def print_plan(plans: Sequence[StagePlan]) -> None:
    """A row for each stage of a preset, and their sum; what is unknown is named by `assume` in the preset."""
    rows = [[f"{plan.name} ({plan.kind})", *(_number(getattr(plan, name)) for name in _PLANNED)] for plan in plans]
    sums = {name: [value for plan in plans if (value := getattr(plan, name)) is not None] for name in _PLANNED}
    rows.append(["sum", *(_number(math.fsum(sums[name])) if sums[name] else "" for name in _PLANNED)])
    print_table("Expected, before anything starts", ["stage", *(name.replace("_", " ") for name in _PLANNED)], rows)
    console().print("tokens: read in prompts, responses and pairs. unknown: give it in the preset, under `assume`.")


def _number(value: float | None) -> str:
    """`1,234`, `3.83 M`, `unknown` for NaN, nothing for None."""
    if value is None:
        return ""
    if math.isnan(value):
        return "unknown"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:,.0f}"
