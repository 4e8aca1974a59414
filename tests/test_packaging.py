"""What pyproject.toml installs is what stands in the folders: no package and no data file is left behind."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
OUTER = {"openprm.builders": "builders", "openprm.cards": "cards", "openprm.push": "push"}


def folder(package: str) -> Path:
    """Where a package's files stand, as setuptools maps it."""
    mapped = SETUPTOOLS["package-dir"].get(package)
    return ROOT / (mapped or package.replace(".", "/"))


def modules() -> list[str]:
    names = []
    for package in SETUPTOOLS["packages"]:
        names += [package] + [f"{package}.{file.stem}" for file in folder(package).glob("*.py") if file.stem[0] != "_"]
    return sorted(names)


def files() -> dict[str, Path]:
    """Every file that should be installed, by its path in the wheel."""
    found = {}
    for package in SETUPTOOLS["packages"]:
        for file in folder(package).iterdir():
            if file.is_file() and not file.name.startswith(".") and file.suffix != ".pyc":
                found[f"{package.replace('.', '/')}/{file.name}"] = file
    return found


def test_every_folder_with_python_files_is_a_package():
    inner = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "openprm").rglob("__init__.py")
        if "__pycache__" not in path.parts
    }
    assert sorted(SETUPTOOLS["packages"]) == sorted(inner | set(OUTER))
    assert {name: SETUPTOOLS["package-dir"][name] for name in OUTER} == OUTER
    loose = [path for path in (ROOT / "openprm").rglob("*.py") if not (path.parent / "__init__.py").exists()]
    assert not loose


def test_every_data_file_matches_a_pattern():
    for name, path in files().items():
        package = name.rpartition("/")[0].replace("/", ".")
        patterns = ["*.py", *SETUPTOOLS["package-data"].get(package, ())]
        assert any(path.match(pattern) for pattern in patterns), f"{path.relative_to(ROOT)} would not be installed"
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list(folder(package).glob(pattern)), f"no file matches {pattern} of {package}"


def test_files_named_by_the_metadata_exist():
    project = PROJECT["project"]
    for name in (project["readme"], *project["license-files"], "constraints.txt", "CITATION.cff", "CHANGELOG.md"):
        assert (ROOT / name).is_file(), name


def test_the_version_is_the_same_everywhere():
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", modules())
def test_every_module_is_importable(name):
    importlib.import_module(name)


@pytest.mark.slow
def test_a_wheel_holds_every_file_and_works(tmp_path):
    if importlib.util.find_spec("setuptools") is None or importlib.util.find_spec("pip") is None:
        pytest.skip("no setuptools or pip to build a wheel with")
    copy = tmp_path / "copy"  # setuptools leaves build/ and egg-info where it builds
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("openprm", *OUTER.values()):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    done = subprocess.run([*build, "-w", str(tmp_path)], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    assert not files().keys() - names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.split("/")[0] in {"tests", "benchmarks", *OUTER.values()}]

    code = f"""
import sys
sys.path.insert(0, {str(installed)!r})
# an editable install's finder comes first on sys.meta_path, and would find the checkout
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import openprm, openprm.builders.trees, openprm.push.publish
from openprm.runs.dataset_card import render
from openprm.presets.preset import load_preset
assert openprm.__file__.startswith({str(installed)!r}), openprm.__file__
assert openprm.builders.__file__.startswith({str(installed)!r}), openprm.builders.__file__
assert load_preset("tiny")["stages"]
from importlib.resources import files
assert files("openprm.cards").joinpath("model.md.j2").is_file()
sys.argv = ["openprm", "--help"]
from openprm.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "publish" in done.stdout
