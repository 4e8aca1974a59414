"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")]
Force = Annotated[bool, typer.Option(help="Make it again even if nothing has changed.")]
Strict = Annotated[bool, typer.Option(help="Stop at the first row that cannot be used, instead of listing it.")]
Split = Annotated[str | None, typer.Option(help="Split of a dataset (not of a file).")]
Where = Annotated[list[str] | None, typer.Option(help="Only rows with COLUMN=VALUE; may be repeated.")]
Questions = Annotated[Path | None, typer.Option(help="Second file with the questions, joined on the prompt id.")]
QuestionsOptions = Annotated[str | None, typer.Option(help="Its column with a list of answer options.")]
Source = Annotated[str | None, typer.Option(help="Name of the data's source; else the file's name.")]
RewardName = Annotated[
    str | None, typer.Option(help="Which reward, where there are several; of a file: its name, else its column's.")
]
QuestionColumn = Annotated[str, typer.Option(help="Text or chat messages.")]
ResponseColumn = Annotated[str, typer.Option(help="Text, or a list of texts.")]
RewardColumn = Annotated[str, typer.Option(help="Number, boolean, or win/tie/lose.")]
IdColumn = Annotated[str | None, typer.Option(help="Prompt id; else a hash of the question.")]
ReferenceColumn = Annotated[str | None, typer.Option(help="Golden answer.")]
SourceColumn = Annotated[str | None, typer.Option(help="Source of each row.")]
ModelColumn = Annotated[str | None, typer.Option(help="Model that gave the response.")]


_ENGINE_OPTION = "An option of the engine, NAME=VALUE, such as tensor_parallel_size=4; may be repeated."
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server", help="Address of an OpenAI-compatible server, such as http://host:8000/v1; may be repeated."
    ),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="The reward model's folder or id, where servers know it by another name.")
]
EngineOptions = Annotated[list[str] | None, typer.Option("--engine-option", help=_ENGINE_OPTION)]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a model on the Hub.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, ...")]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")]
Shard = Annotated[str | None, typer.Option(help="I/N: compute only the Ith of N parts; a run without it finishes.")]
AllowFailures = Annotated[
    bool, typer.Option("--allow-failures", help="Finish though something failed that another try may get.")
]


def candidate_source(path, columns, split, where, questions, options, source, reward_name):
    from ..data.candidate_source import CandidateSource
    from ..data.columns import Columns

    pairs = [condition.partition("=") for condition in where or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"{name!r} is not COLUMN=VALUE", param_hint="--where")
    return CandidateSource(
        path,
        Columns(**columns),
        split=split,
        where={name: value for name, _, value in pairs} or None,
        questions=str(questions) if questions else None,
        questions_options=options,
        source=source,
        reward_name=reward_name,
    )


def separators(options: list[str]) -> tuple[str, dict[str, str]]:
    from ..scoring.steps import DEFAULT_SEPARATOR

    default, by_source = DEFAULT_SEPARATOR, {}
    for option in options:
        name, equals, value = option.partition("=")
        if name and equals and not option.startswith("re:"):
            by_source[name] = unescape(value)
        else:
            default = unescape(option)
    return default, by_source


def unescape(text: str) -> str:
    r"""A shell passes `\n` as two characters. Regular expressions understand them as they are."""
    return text if text.startswith("re:") else text.replace("\\n", "\n").replace("\\t", "\t")


def parse_part(shard: str | None):
    from ..runs.manifest import Part

    return None if shard is None else Part.parse(shard)


def engine_options(options: list[str] | None) -> dict[str, object]:
    """NAME=VALUE options; a value is a number, true or false where it reads as one (YAML)."""
    import yaml

    found = named(options or [], "--engine-option", "NAME=VALUE")
    try:
        return {name: yaml.safe_load(value) for name, value in found.items()}
    except yaml.YAMLError:
        raise typer.BadParameter("a value is a number, true, false or text", param_hint="--engine-option") from None


def named(options: list[str], hint: str, form: str = "NAME=FOLDER") -> dict[str, str]:
    """Options of the form NAME=... as a mapping."""
    found = dict(option.split("=", 1) for option in options if "=" in option)
    if len(found) < len(options):
        raise typer.BadParameter(f"give {form}, each name once", param_hint=hint)
    return found


def print_shared(manifest: dict, out: Path) -> None:
    from .report import print_summary, print_unfinished

    if manifest:
        print_summary(manifest, out)
    else:
        print_unfinished(out)
