"""The command line that runs a stage again, from its declaration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from .declaration import Stage, options_of


def rerun_command(stage: Stage, out: str) -> str:
    """The `openprm` command that makes the folder `out` by `stage`, in lines of about 100 characters.

    An option that has its default is left out.
    """
    words = ["openprm", stage.kind]
    options: list[str] = []
    for field, hint in options_of(type(stage)):
        value = getattr(stage, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if field.metadata.get("argument"):
            words += _named_paths(field.name, value) if isinstance(value, Mapping) else _texts(value)
        elif value != default and value is not None:
            flag = option_name(field)
            if hint is bool:
                options.append(flag if value else f"--no-{flag[2:]}")
            else:
                for text in _texts(value):
                    options += [flag, escape(text) if field.metadata.get("escapes") else text]
    return _wrapped([*words, *options, "--out", out])


def option_name(field: Any) -> str:
    """The name of a field's option, such as `--min-gap`."""
    return field.metadata.get("flag", "--" + field.name.replace("_", "-"))


def unescape(text: str) -> str:
    r"""A shell passes `\n` as two characters. Regular expressions understand them as they are."""
    return text if text.startswith("re:") else text.replace("\\n", "\n").replace("\\t", "\t")


def escape(text: str) -> str:
    r"""A text as the command line takes it: `\n` in two characters, but for regular expressions."""
    return text if text.startswith("re:") else text.replace("\n", "\\n").replace("\t", "\\t")


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}={_item(item)}" for name, item in value.items()]
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _item(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _named_paths(name: str, paths: Mapping[str, str]) -> list[str]:
    """The paths, with their names where these are not the ones that the command line gives."""
    given = (f"{name}{index or ''}" for index in range(len(paths)))
    return [
        path if role == default and "=" not in path else f"{role}={path}"
        for default, (role, path) in zip(given, paths.items(), strict=True)
    ]


def _wrapped(words: list[str]) -> str:
    lines = [""]
    for word in words:
        quoted = shlex.quote(word)
        if lines[-1] and len(lines[-1]) + len(quoted) > 96 and quoted.startswith("--"):
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + quoted
    return "\n".join(lines)
