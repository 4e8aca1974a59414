"""A command from a stage's declaration: an argument or option for each field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import yaml

from ..errors import InputError
from ..runs.command_line import escape, option_name, unescape
from ..runs.declaration import Stage, options_of

_OUT = inspect.Parameter(
    "out",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
)
_FORCE = inspect.Parameter(
    "force",
    inspect.Parameter.KEYWORD_ONLY,
    annotation=Annotated[bool, typer.Option("--force", help="Make it again, whatever is there.")],
    default=False,
)


def stage_command(
    stage: type[Stage],
    then: Callable[[Mapping[str, Any], Path], None],
    more: Sequence[inspect.Parameter] = (),
    instead: Callable[..., bool] | None = None,
) -> Callable[..., None]:
    """The command that runs a stage and hands its manifest and folder to `then`.

    more, instead: options of the command alone, and what is called with their values and the stage's: where it returns
    True the command is done.
    """
    options = options_of(stage)

    def command(**values: Any) -> None:
        out, force = values.pop("out"), values.pop("force")
        extra = {name: values.pop(name) for name in [parameter.name for parameter in more]}
        given = {field.name: _from_text(field, hint, values[field.name]) for field, hint in options}
        given = {name: value for name, value in given.items() if value is not MISSING}
        if instead is not None and instead(given, out, force, **extra):
            return
        if out is None:
            raise typer.BadParameter("give the folder to write", param_hint="--out")
        made = stage(**given)
        then(made.run(out, force=force), out)

    out = _OUT if instead is None else _optional(_OUT)
    arguments_first = sorted(options, key=lambda option: "argument" not in option[0].metadata)
    parameters = [_parameter(field, hint) for field, hint in arguments_first]
    parameters.sort(
        key=lambda parameter: not isinstance(parameter.annotation.__metadata__[0], typer.models.ArgumentInfo)
    )
    command.__signature__ = inspect.Signature([*parameters, *more, out, _FORCE])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in [*parameters, *more, out, _FORCE]}
    command.__doc__ = inspect.getdoc(stage)
    return command


def cli_option(name: str, kind: Any, help: str, default: Any = None, *, argument: bool = False) -> inspect.Parameter:
    """An option (or argument) that a command has besides its stage's."""
    flag = "--" + name.replace("_", "-")
    info: Any = typer.Argument(help=help) if argument else typer.Option(flag, help=help)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default)


def _optional(parameter: inspect.Parameter) -> inspect.Parameter:
    kind, option = get_args(parameter.annotation)
    return parameter.replace(annotation=Annotated[kind | None, option], default=None)


def _parameter(field: Any, hint: Any) -> inspect.Parameter:
    """The parameter of a command: a mapping becomes NAME=VALUE, a flag has no `--no-` unless it is on by default."""
    required = field.default is MISSING and field.default_factory is MISSING
    default = None if field.default_factory is not MISSING else field.default
    kind: Any = hint
    if get_origin(hint) in (dict, list):
        item = get_args(hint)[0] if get_origin(hint) is list else str
        kind = list[item] if required else list[item] | None  # type: ignore[valid-type]
    if field.metadata.get("escapes") and isinstance(default, str):
        default = escape(default)
    flag = option_name(field)
    info: Any
    if field.metadata.get("argument"):
        info = typer.Argument(help=field.metadata["help"])
    elif hint is bool:
        info = typer.Option(f"{flag}/--no-{flag[2:]}" if default else flag, help=field.metadata["help"])
    else:
        info = typer.Option(flag, help=field.metadata["help"])
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[kind, info],
        default=inspect.Parameter.empty if required else default,
    )


def _from_text(field: Any, hint: Any, value: Any) -> Any:
    """A field's value of what was typed; MISSING where nothing was and the field has its default."""
    if value is None:
        return MISSING
    if get_origin(hint) is dict:
        typed = Any in get_args(hint)
        if field.metadata.get("argument"):  # of which each may go without a name
            value = [text if "=" in text else f"{field.name}{index or ''}={text}" for index, text in enumerate(value)]
        found = named(value, option_name(field))
        if get_origin(get_args(hint)[1]) is list:
            return {name: text.split(",") for name, text in found.items()}
        return {name: yaml.safe_load(text) if typed else _text(field, text) for name, text in found.items()}
    if isinstance(value, list | tuple):
        return [_text(field, item) if isinstance(item, str) else item for item in value]
    return _text(field, value) if isinstance(value, str) else value


def _text(field: Any, text: str) -> str:
    if field.metadata.get("file"):
        try:
            return Path(text).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{text} cannot be read: {error}") from error
    return unescape(text) if field.metadata.get("escapes") else text


def named(options: Sequence[str], hint: str, form: str = "NAME=VALUE") -> dict[str, str]:
    """Options of the form NAME=... as a mapping."""
    found = dict(option.split("=", 1) for option in options if "=" in option)
    if len(found) < len(options):
        raise typer.BadParameter(f"give {form}, each name once", param_hint=hint)
    return found
