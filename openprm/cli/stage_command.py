"""A command from a stage's declaration: an argument or option for each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import yaml

from ..runs.command_line import from_text, option_name, to_text
from ..runs.declaration import Stage, options_of
from ..runs.folder import finished
from .report import print_result


def stage_command(
    stage: type[Stage], more: Sequence[inspect.Parameter] = (), instead: Callable[..., bool] | None = None
) -> Callable[..., None]:
    """The command that runs a stage and prints what it made.

    more, instead: options of the command alone, and what is called with the stage, `out`, `force` and their values:
    where it returns True the command is done.
    """
    options = options_of(stage)

    def command(out: Path | None, force: bool, **values: Any) -> None:
        typed = [(field, hint, values[field.name]) for field, hint in options if values[field.name] is not None]
        made = stage(**{field.name: read_typed(field, hint, value) for field, hint, value in typed})
        if instead is not None and instead(made, out, force, **{one.name: values[one.name] for one in more}):
            return
        if out is None:
            raise typer.BadParameter("give the folder to write", param_hint="--out")
        run_and_print(made, out, force)

    parameters = [field_option(field, hint) for field, hint in options]
    parameters.sort(key=lambda parameter: isinstance(parameter.annotation.__metadata__[0], typer.models.OptionInfo))
    parameters += [
        *more,
        cli_option("out", Path | None, "Folder to write.", flags=("--out", "-o")),
        cli_option("force", bool, "Make it again, whatever is there.", False),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = inspect.getdoc(stage)
    return command


def run_and_print(stage: Stage, out: Path, force: bool) -> None:
    """Makes a stage's folder, and prints what is in it."""
    before = None if force else finished(out)
    manifest = stage.run(out, force=force)
    print_result(manifest, out, already=manifest == before)


def cli_option(
    name: str, kind: Any, help: str, default: Any = None, *, flags: Sequence[str] = (), argument: bool = False
) -> inspect.Parameter:
    """An option (or argument) of a command."""
    flags = flags or ["--" + name.replace("_", "-")]
    info: Any = typer.Argument(help=help) if argument else typer.Option(*flags, help=help)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default)


def field_option(field: Any, hint: Any) -> inspect.Parameter:
    """The parameter of a command: a mapping becomes NAME=VALUE, a flag has no `--no-` unless it is on by default."""
    default = None if field.default_factory is not MISSING else field.default
    required = default is MISSING
    kind: Any = hint
    if get_origin(hint) in (dict, list):
        item = get_args(hint)[0] if get_origin(hint) is list else str
        kind = list[item] if required else list[item] | None  # type: ignore[valid-type]
    if isinstance(default, str):
        default = to_text(field, default)
    flag = option_name(field)
    return cli_option(
        field.name,
        kind,
        field.metadata["help"],
        inspect.Parameter.empty if required else default,
        flags=[f"{flag}/--no-{flag[2:]}" if hint is bool and default else flag],
        argument=field.metadata.get("argument", False),
    )


def read_typed(field: Any, hint: Any, value: Any) -> Any:
    """A field's value of what was typed."""
    if isinstance(value, str):
        return from_text(field, value)
    if get_origin(hint) is list:
        return [from_text(field, item) if isinstance(item, str) else item for item in value]
    if get_origin(hint) is not dict:
        return value
    named = field.metadata.get("named")
    if named or field.metadata.get("argument"):  # the name may be left out
        numbered = [(f"{field.name}{index or ''}", text) for index, text in enumerate(value)]
        names = map(named, value) if named else numbered
        value = [text if "=" in text else "=".join(pair) for text, pair in zip(value, names, strict=True)]
    typed = [text.split("=", 1) for text in value if "=" in text]
    found = dict(typed)
    if len(found) < len(value):
        twice = next(
            (f"two are called {name!r}; " for name, _ in typed if [one for one, _ in typed].count(name) > 1), ""
        )
        raise typer.BadParameter(f"{twice}give NAME=VALUE, each name once", param_hint=option_name(field))
    kind = get_args(hint)[1]
    if get_origin(kind) is list:
        return {name: text.split(",") for name, text in found.items()}
    return {name: yaml.safe_load(text) if kind is Any else from_text(field, text) for name, text in found.items()}
