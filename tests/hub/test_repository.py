"""What was published, read from a Hub with its real client, which takes the address at import: in fresh processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from openprm.runs.folder import read_manifest
from tests.folders import contents
from tests.local_hub import Fault, Hub
from tests.publication import change_rows, publish

pytestmark = pytest.mark.slow

KINDS = {"candidates": "dataset", "trees": "dataset", "pairs": "dataset", "openprm": "model"}


@pytest.fixture
def hub(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with everything, as `v1`; behind it came candidates of which nothing else was made."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    owner = publish(run, tmp_path / "owner", run / "openprm")
    with Hub(tmp_path / "hub") as hub:
        for name in KINDS:
            send(hub, owner / name)
            api(hub).create_tag(f"openprm/{name}", tag="v1", repo_type=KINDS[name])
        api(hub).create_tag("openprm/trees", tag="only-trees", repo_type="dataset")
        shutil.rmtree(owner / "candidates")
        other = publish(run, tmp_path / "other")
        for split in ("train", "test"):
            change_rows(other / "candidates" / "data" / f"{split}-00000.parquet", lambda rows: rows.reverse())
        manifest = json.loads((other / "candidates" / "manifest.json").read_text())
        for part in manifest["parts"].values():
            part["row_hash"] = "f" * 64
        (other / "candidates" / "manifest.json").write_text(json.dumps(manifest))
        send(hub, other / "candidates")
        hub.requests.clear()
        yield hub


def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def send(hub: Hub, folder: Path) -> None:
    name = f"openprm/{folder.name}"
    api(hub).create_repo(name, repo_type=KINDS[folder.name], exist_ok=True)
    api(hub).upload_folder(repo_id=name, repo_type=KINDS[folder.name], folder_path=folder)


def ask(hub: Hub, home: Path, code: str, **options: Any) -> Any:
    """What the code puts into `answer`, in a process that has nothing but this Hub."""
    code = f"import json\n{code}\nprint(json.dumps(answer))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=hub.environment(home, **options) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


VERIFY = """
from openprm.verify.verify import exit_code, verify
checks = {where: [*verify(where)] for where in WHERE}
answer = {where: [*map(str, found), exit_code(found)] for where, found in checks.items()}
"""

COMPARE = """
from openprm.verify.compare import compare_datasets
answer["changes"] = str(compare_datasets("openprm/candidates@v1", "openprm/candidates", "test")["test"])
"""


def test_publications_are_verified_though_newer_candidates_came(hub: Hub, tmp_path: Path):
    where = ["openprm/trees", "openprm/trees@only-trees", "openprm/pairs@v1", "openprm/openprm"]
    found = ask(hub, tmp_path / "home", f"WHERE = {where}\n{VERIFY}{COMPARE}")
    assert found.pop("changes") == "12 rows before, 12 after: the same ones in another order"
    for *checks, code in found.values():
        assert code == 0
        assert len(checks) in (4, 7)
        assert all(": identical" in check for check in checks), checks
    newest = api(hub).repo_info("openprm/candidates", repo_type="dataset").sha
    downloads = [request.path for request in hub.requests if f"/resolve/{newest}/data" in request.path]
    assert all("train" not in path for path in downloads)  # only what was compared


def test_a_broken_download_is_resumed_and_a_cached_copy_is_not_taken_for_the_publication(hub: Hub, tmp_path: Path):
    home, code = tmp_path / "home", f"WHERE = ['openprm/trees']\n{VERIFY}"
    hub.faults.append(Fault(r"GET .*resolve/.*/data/train.*", 500, times=999))
    hub.faults.append(Fault(r"GET /storage.*", 500, times=999))
    *checks, exit_code = ask(hub, home, code)["openprm/trees"]
    assert exit_code == 2
    assert all("could not be checked" in check and "is in trouble" in check for check in checks), checks
    hub.faults.clear()
    assert ask(hub, home, code)["openprm/trees"][-1] == 0
    unreachable = "import os\nos.environ['HF_ENDPOINT'] = 'http://127.0.0.1:9'\n"
    unreachable += "import time\ntime.sleep = lambda _: None\n"  # the client waits before it retries
    files, *_, exit_code = ask(hub, home, unreachable + code)["openprm/trees"]
    assert files.startswith("files: could not be checked (openprm/trees: the Hub cannot be reached (")
    assert "check the connection and HF_ENDPOINT" in files
    assert exit_code == 2


def test_files_come_once_and_parts_alone(hub: Hub, run: Path, tmp_path: Path):
    code = """
from openprm.hub.publication import open_publication, restore
publication = open_publication("openprm/trees")
answer = [publication.kind, restore(publication, "test", {out!r})["row_hash"]]
"""
    checkout = """
import os
from openprm.data.readers import numbered_rows
from openprm.runs.folder import read_rows, rows_hash
os.makedirs({out!r} + "/openprm/trees")
open({out!r} + "/openprm/trees/__init__.py", "w").close()
os.chdir({out!r})
rows = [row for _, row in numbered_rows("openprm/trees", "test")]
answer = ["trees", rows_hash(read_rows("openprm/trees", split="test"))] if len(rows) == 3 else rows
"""
    home, out = tmp_path / "home", tmp_path / "trees"
    found = ask(hub, home, code.format(out=str(out)))
    assert found == ["trees", read_manifest(run / "trees-test")["row_hash"]]
    assert {name: content for name, content in contents(out).items() if name.startswith("data")} == {
        name: content for name, content in contents(run / "trees-test").items() if name.startswith("data")
    }
    asked = [request.path for request in hub.requests]
    assert any("test-00000" in path for path in asked)
    assert not any("train-00000" in path or "README" in path for path in asked)
    hub.requests.clear()
    shutil.rmtree(out)
    assert ask(hub, home, code.format(out=str(out))) == found
    assert not any("resolve" in request.path for request in hub.requests)
    shutil.rmtree(out)
    assert ask(hub, home, checkout.format(out=str(out))) == found  # a package of the same name is no dataset


OPEN = """
from openprm.hub.publication import open_publication
from openprm.errors import InputError
answer = {}
for where in WHERE:
    try:
        answer[where] = open_publication(where).kind
    except InputError as error:
        answer[where] = str(error)
"""


def test_what_cannot_be_opened_is_said(hub: Hub, tmp_path: Path):
    api(hub).create_repo("openprm/foreign", repo_type="model")
    api(hub).create_repo("openprm/secret", repo_type="dataset", private=True)
    hub.faults.append(Fault(r"GET /api/datasets/openprm/gated", 403, times=99, code="GatedRepo"))
    hub.faults.append(Fault(r"GET /api/datasets/openprm/closed", 403, times=99))
    names = ["trees", "trees@v1", "trees@v7", "nothing", "foreign", "secret", "gated", "closed", "bad..name"]
    where = [f"openprm/{name}" for name in names]
    code = f"WHERE = {where!r}\n{OPEN}"
    found = ask(hub, tmp_path / "home", code, token=hub.other_token)
    assert found["openprm/trees"] == found["openprm/trees@v1"] == "trees"
    assert "openprm/trees@v7: there is no such repository or revision" in found["openprm/trees@v7"]
    for name in ("nothing", "secret"):
        assert (
            f"openprm/{name}: there is no such repository or revision, or you may not see it"
            in found[f"openprm/{name}"]
        )
    assert "not published by openprm: it has no manifest.json" in found["openprm/foreign"]
    for name in ("gated", "closed"):
        assert f"openprm/{name}: you may not do this" in found[f"openprm/{name}"]
    assert "HFValidationError: Cannot have" in found["openprm/bad..name"]
    wrong = ask(hub, tmp_path / "other-home", code, token="hf_" + "x" * 34)
    assert "log in" in wrong["openprm/secret"]


def test_a_model_of_the_same_name_is_no_stand_in_for_a_dataset_that_fails(hub: Hub, tmp_path: Path):
    api(hub).create_repo("openprm/trees", repo_type="model")
    shutil.copytree(tmp_path / "owner" / "openprm", tmp_path / "model" / "trees")
    api(hub).upload_folder(repo_id="openprm/trees", repo_type="model", folder_path=tmp_path / "model" / "trees")
    code = f"WHERE = ['openprm/trees', 'openprm/openprm']\n{OPEN}"
    hub.faults.append(Fault(r"GET /api/datasets/openprm/trees.*", 500, times=999))
    assert "the Hub is in trouble (500" in ask(hub, tmp_path / "home", code)["openprm/trees"]
    hub.faults.clear()
    assert ask(hub, tmp_path / "home", code) == {"openprm/trees": "trees", "openprm/openprm": "model"}
