"""The rooms of the package import one another in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import openprm

PACKAGE = Path(openprm.__file__).parent
ROOT = PACKAGE.parent
#: Each imports only from those before it.
ORDER = (
    *(
        "errors",
        "schema",
        "text",
        "hub_id",
        "figure",
        "scoring",
        "runs",
        "trees",
        "models",
        "data",
        "training",
        "engines",
    ),
    *(
        "rewards",
        "labels",
        "decoding",
        "evaluation",
        "stages",
        "hub",
        "viewer",
        "push",
        "verify",
        "presets",
        "builders",
        "cli",
    ),
)
OUTER = {"push": ROOT / "push", "builders": ROOT / "builders"}


def modules() -> Iterator[tuple[str, Path]]:
    """Each module's room, and its file."""
    for room in ORDER:
        place = OUTER.get(room, PACKAGE / room)
        yield from (
            (room, path) for path in ([place.with_suffix(".py")] if not place.is_dir() else place.rglob("*.py"))
        )


def imported(path: Path, package: str) -> Iterator[str]:
    """The full names that a module imports of ours, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def arrows() -> Iterator[tuple[str, str, Path]]:
    for room, path in modules():
        place = OUTER.get(room, PACKAGE / room)
        inside = path.relative_to(place).parent.parts if place.is_dir() else ()
        package = ".".join(["openprm", *([room, *inside] if place.is_dir() else [])])
        for name in imported(path, package):
            parts = name.split(".")
            if parts[0] == "openprm" and len(parts) > 1 and parts[1] in ORDER:
                yield room, parts[1], path


def test_every_folder_is_a_room():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms <= {*ORDER}, rooms - {*ORDER}


def test_no_arrow_points_back():
    place = {room: index for index, room in enumerate(ORDER)}
    back = [f"{path}: {room} imports {other}" for room, other, path in arrows() if place[other] > place[room]]
    assert not back, "\n".join(back)


def test_the_scoring_room_imports_nothing_else_of_ours():
    assert {other for room, other, _ in arrows() if room == "scoring"} == {"scoring"}
