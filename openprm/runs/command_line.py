"""How the values of a stage are typed on the command line, and the command that runs it again."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from ..errors import InputError
from .declaration import Stage, options_of

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def rerun_command(stage: Stage, out: str) -> str:
    """The `openprm` command that makes the folder `out` by `stage`, in lines of about 100 characters.

    An option that has its default is left out.
    """
    words = ["openprm", stage.kind]
    options: list[str] = []
    for field, hint in options_of(type(stage)):
        value = getattr(stage, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        flag = option_name(field)
        if field.metadata.get("argument"):
            words += _named_paths(field.name, value) if isinstance(value, Mapping) else _texts(field, value)
        elif value != default and hint is bool:
            options.append(flag if value else f"--no-{flag[2:]}")
        elif value != default:
            options += [word for text in _texts(field, value) for word in (flag, text)]
    return _wrapped([*words, *options, "--out", out])


def option_name(field: Any) -> str:
    """The name of a field's option, such as `--min-gap`."""
    return field.metadata.get("flag", "--" + field.name.replace("_", "-"))


def from_text(field: Any, text: str) -> str:
    """A field's value from what was typed: with `escapes` see `unescape`, with `file` a text, or @FILE."""
    if not field.metadata.get("file"):
        return unescape(text) if field.metadata.get("escapes") else text
    if not text.startswith("@"):
        if os.path.isfile(text):
            raise InputError(f"{text} is a file; write @{text} for what it holds")
        return text
    if text.startswith("@@"):
        return text[1:]
    try:
        return Path(text[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{text[1:]} cannot be read: {error}") from error


def to_text(field: Any, value: str) -> str:
    """What is typed for a field's value, so that `from_text` reads it back."""
    if field.metadata.get("file"):
        return f"@{value}" if value.startswith("@") else value
    return escape(value) if field.metadata.get("escapes") else value


def unescape(text: str) -> str:
    r"""A text in which `\n`, `\t` and `\\` were typed in two characters each. Regular expressions stay as they are."""
    return text if text.startswith("re:") else re.sub(r"\\([nt\\])", lambda found: _ESCAPES[found[1]], text)


def escape(text: str) -> str:
    """What is typed for a text, so that `unescape` reads it back."""
    if text.startswith("re:"):
        return text
    return text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t")


def _texts(field: Any, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        bare = "named" in field.metadata  # where a name alone is typed
        return [name if bare and not item else f"{name}={_item(field, item)}" for name, item in value.items()]
    return [_item(field, item) for item in (value if isinstance(value, list | tuple) else [value])]


def _item(field: Any, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return to_text(field, value) if isinstance(value, str) else json.dumps(value)


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
