"""Publications verified: whole ones, and each kind of damage, which must be found where it is."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openprm.data.candidate_source import CandidateSource
from openprm.engines.specs import RewardSpec
from openprm.errors import InputError
from openprm.hub.publication import open_publication, part_rows
from openprm.rewards.registry import make_rewarder, rewarder_from
from openprm.rewards.reward_model import ModelRewarder
from openprm.runs.folder import read_manifest, read_rows, rows_hash
from openprm.schema import Candidate
from openprm.stages.reward import reward_candidates
from openprm.verify.verify import Report, lines, verify
from openprm.verify import rebuild as remake
from tests.folders import Killed, candidate, dataset, kill
from tests.publication import change_manifest, change_rows, listed, make_model, make_run, publish, publish_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    folder = make_run(tmp_path_factory.mktemp("verify") / "run")
    make_model(folder, base)
    return folder


@pytest.fixture
def owner(run: Path, tmp_path: Path) -> Path:
    publish(run, tmp_path / "hub" / "somebody")
    publish_model(run, tmp_path / "hub" / "somebody")
    return tmp_path / "hub" / "somebody"


def verified(folder: Path, work: Path | None = None) -> Report:
    return verify(folder, work, say=lambda _: None)


def states(report: Report) -> dict[str, bool | None]:
    return {finding.what: finding.ok for finding in report.findings}


def detail(report: Report, what: str) -> str:
    return next(finding.detail for finding in report.findings if finding.what == what)


#: What is looked at of every dataset before its rows.
SAID = dict.fromkeys(("files", "card", "license", "origins", "what loads"), True)


@pytest.mark.parametrize("kind", ["candidates", "trees", "pairs"])
def test_a_dataset_is_made_again_and_identical(owner: Path, kind: str):
    said: list[str] = []
    report = verify(owner / kind, say=said.append)
    assert report.ok
    rows = ["rows of train", "rows of test", "train, made again", "test, made again"]
    assert states(report) == SAID | dict.fromkeys(rows, True)
    assert report.exit_code == 0
    assert detail(report, "train, made again") == "identical"
    assert said == [f"{finding.what} ..." for finding in report.findings]
    assert [*lines(report)][-1] == "verified (exit code 0)"


def test_a_model_is_measured_again_and_its_results_are_identical(owner: Path):
    report = verified(owner / "openprm")
    checks = ["files", "card", "license", "origins", "checkpoint", "code", "results, measured again"]
    assert states(report) == dict.fromkeys(checks, True) | {"training": None}
    assert report.exit_code == 0
    assert [*lines(report)][-1] == "verified, but for 1 of 8 checks that nobody can make (exit code 0)"
    assert detail(report, "results, measured again").endswith("rows, identical")


def test_what_has_only_files_is_checked_by_them(owner: Path):
    (owner / "trees" / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# something\n")
    list_files(owner / "trees")
    for kind in ("metric", "demo"):
        change_manifest(owner / "trees", lambda manifest, kind=kind: manifest.update(kind=kind, parts={}))
        assert states(verified(owner / "trees")) == {"files": True, "card": True, "license": True}


def test_a_changed_value_is_found_where_it_is(owner: Path):
    file = owner / "trees" / "data" / "test-00000.parquet"
    change_rows(file, lambda rows: rows[1]["nodes"][2].update(value=7.25))
    report = verified(owner / "trees")
    assert states(report) == {
        **SAID,
        "rows of train": True,
        "rows of test": False,
        "train, made again": True,
        "test, made again": False,
    }
    found = detail(report, "test, made again")
    start = (
        "first difference in data/test-00000.parquet, row 2, prompt 'test-1', nodes[2].value: published 7.25, rebuilt "
    )
    assert found.startswith(start)
    assert [*lines(report)][-1] == "NOT verified: 2 of 9 checks found something wrong (exit code 1)"


def test_a_change_is_found_although_hashes_were_made_to_fit(owner: Path):
    file = owner / "pairs" / "process" / "train-00000.parquet"
    change_rows(file, lambda rows: rows[0].update(gap=0.75))
    fitting = rows_hash(part_rows(open_publication(owner / "pairs"), "train"))
    change_manifest(owner / "pairs", lambda manifest: manifest["parts"]["train"].update(row_hash=fitting))
    report = verified(owner / "pairs")
    assert states(report)["rows of train"]
    assert not report.ok
    assert "process/train-00000.parquet, row 1, prompt 'train-0', gap: published 0.75" in detail(
        report, "train, made again"
    )


def test_the_row_is_counted_in_its_file(owner: Path):
    import pyarrow.parquet as pq

    data = owner / "trees" / "data"
    table = pq.read_table(data / "train-00000.parquet")
    for index, (start, rows) in enumerate([(0, 1), (1, 2)]):
        pq.write_table(table.slice(start, rows), data / f"train-{index:05d}.parquet")
    change_manifest(owner / "trees", lambda manifest: manifest["files"].update({"data/train-00001.parquet": "0"}))
    change_rows(data / "train-00001.parquet", lambda rows: rows[1].update(source="elsewhere"))
    found = detail(verified(owner / "trees"), "train, made again")
    assert "data/train-00001.parquet, row 2, prompt 'train-2', source: published 'elsewhere'" in found


def test_a_wrong_reward_is_found(owner: Path):
    file = owner / "candidates" / "data" / "train-00000.parquet"
    change_rows(file, lambda rows: rows[1]["rewards"][0].update(value=1.0))
    found = detail(verified(owner / "candidates"), "train, made again")
    assert "row 2, prompt 'train-0', rewards[0].value: published 1.0, rebuilt 0.0" in found


def test_rows_that_are_missing_or_too_many_are_found(owner: Path):
    change_rows(owner / "pairs" / "outcome" / "train-00000.parquet", lambda rows: rows.pop())
    change_rows(owner / "pairs" / "outcome" / "test-00000.parquet", lambda rows: rows.append(rows[-1]))
    report = verified(owner / "pairs")
    assert detail(report, "train, made again").endswith("there is less published than rebuilt")
    assert detail(report, "test, made again").endswith("there is more published than rebuilt")


def test_rows_are_counted_by_config(owner: Path):
    change_manifest(owner / "pairs", lambda manifest: manifest["rows"]["process"].update(test=99))
    assert "rows of process, not 99, as recorded" in detail(verified(owner / "pairs"), "rows of test")


def test_counts_that_are_not_so_are_found(owner: Path):
    change_manifest(owner / "trees", lambda manifest: manifest["parts"]["test"]["counts"].update(nodes=99))
    found = detail(verified(owner / "trees"), "test, made again")
    assert found.startswith("the rows are identical, but not what the manifest says of counts: nodes is ")
    assert found.endswith(", not 99")


def test_a_damaged_file_stops_no_other_check(owner: Path):
    file = owner / "trees" / "data" / "train-00000.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    report = verified(owner / "trees")
    assert states(report) == {
        **SAID,
        "files": False,
        "rows of train": False,
        "rows of test": True,
        "train, made again": False,
        "test, made again": True,
    }
    assert "data/train-00000.parquet is damaged" in detail(report, "rows of train")


def test_without_what_was_before_the_rest_is_checked(owner: Path):
    shutil.rmtree(owner / "candidates")
    report = verified(owner / "trees")
    assert report.ok
    assert states(report)["train, made again"] is None
    assert "there is no such folder" in detail(report, "train, made again")
    assert report.exit_code == 2
    last = "nothing is wrong, but NOT all was checked: for 3 of 9 checks something is missing (exit code 2)"
    assert [*lines(report)][-1] == last
    assert states(verified(owner / "openprm"))["results, measured again"] is None


def test_what_was_before_must_itself_be_what_was_published(owner: Path):
    change_rows(owner / "trees" / "data" / "train-00000.parquet", lambda rows: rows.pop())
    report = verified(owner / "pairs")
    assert states(report)["train, made again"] is None
    assert "is not what its manifest says" in detail(report, "train, made again")


UNREBUILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "imported": (
        lambda part: part.update(stage="candidates") or part["counts"].update(prompts=3),
        "given with the responses",
    ),
    "sampled": (
        lambda part: part.update(stage="sampling") or part["counts"].update(tokens=0),
        "nothing is sampled again",
    ),
    "judged": (lambda part: part["parameters"].update(reward={"judge": "x"}), r"kind: judge"),
    "given": (lambda part: part["parameters"].update(reward={"kind": "given"}), r"kind: given"),
    "remote code": (
        lambda part: part["parameters"].update(reward={"kind": "model", "trust_remote_code": True}),
        "kind: model",
    ),
}


@pytest.mark.parametrize("name", UNREBUILT)
def test_what_cannot_be_computed_again_is_said(owner: Path, name: str):
    change, message = UNREBUILT[name]
    change_manifest(owner / "candidates", lambda manifest: change(manifest["parts"]["train"]))
    report = verified(owner / "candidates")
    assert report.ok
    assert report.exit_code == 0
    assert states(report)["train, made again"] is None
    assert message in detail(report, "train, made again")
    assert states(report)["test, made again"]


def test_pairs_of_preferences_cannot_be_made_again(owner: Path):
    change_manifest(
        owner / "pairs", lambda manifest: manifest["parts"]["train"].update(inputs={"preferences": {"hash": "0" * 64}})
    )
    change_manifest(owner / "pairs", lambda manifest: manifest.pop("repositories"))
    report = verified(owner / "pairs")
    assert report.exit_code == 0
    assert "not made of trees, but of preferences" in detail(report, "train, made again")


def test_other_results_are_named_with_both_numbers(owner: Path, run: Path):
    def change(accuracy: float) -> str:
        change_manifest(
            owner / "openprm", lambda manifest: manifest["evaluation"]["metrics"][0].update(accuracy=accuracy)
        )
        report = verified(owner / "openprm", owner / "work")
        assert states(report)["results, measured again"] is report.ok
        return detail(report, "results, measured again")

    right = read_manifest(run / "evaluation")["metrics"][0]["accuracy"]
    assert f"'single sample': published 0.99, measured {right};" in change(0.99)
    assert change(right + 1e-8).startswith("equal to 1e-06: other hardware can differ in the last digits")
    assert change(right).endswith("identical")
    change_manifest(owner / "openprm", lambda manifest: manifest["evaluation"]["metrics"].pop())
    assert detail(verified(owner / "openprm", owner / "work"), "results, measured again").endswith("is not published")


def test_a_changed_checkpoint_is_found(owner: Path):
    (owner / "openprm" / "tokenizer_config.json").write_text("{}")
    report = verified(owner / "openprm")
    wrong = [what for what, ok in states(report).items() if ok is False]
    assert wrong == ["files", "checkpoint", "code", "results, measured again"]
    assert detail(report, "files").startswith("tokenizer_config.json is not the file that was published")


def test_work_that_is_there_is_not_done_again(owner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(remake, "make_pairs", kill)
        with pytest.raises(Killed):
            verified(owner / "pairs", work)
    assert verified(owner / "pairs", work).ok
    logs = {log: log.read_text() for log in work.glob("*/log.jsonl")}
    assert logs
    monkeypatch.setattr("openprm.stages.datasets.tree_pairs", kill)
    assert verified(owner / "pairs", work).ok
    assert {log: log.read_text() for log in work.glob("*/log.jsonl")} == logs


def test_several_processes_make_the_same(owner: Path):
    assert verify(owner / "trees", say=lambda _: None, num_proc=2).ok


def test_no_name_in_a_manifest_becomes_a_path(owner: Path, tmp_path: Path):
    def escape(manifest: dict[str, Any]) -> None:
        for part in manifest["parts"].values():
            for entry in part["inputs"].values():
                entry["name"] = "../../escaped"

    for kind in ("trees", "pairs", "openprm"):
        change_manifest(owner / kind, escape)
        assert verified(owner / kind, tmp_path / "a" / "b" / "work").ok

    for name, code in (("x/../../escaped", 2), ("x/..", 1)):
        change_manifest(owner / "trees", lambda manifest, name=name: _name_others(manifest, name))
        assert verified(owner / "trees").exit_code == code
    assert not (tmp_path / "a" / "escaped").exists()
    change_manifest(owner / "trees", lambda manifest: manifest["parts"].update({"../x": manifest["parts"]["train"]}))
    with pytest.raises(InputError, match="damaged"):
        verified(owner / "trees")


def test_a_reward_model_s_rewards_are_computed_again(run: Path, tmp_path: Path):
    rows = [candidate("p", index, text) for index, text in enumerate(["It is 5", "It is 6", "No idea", ""])]
    dataset(tmp_path / "run" / "samples", Candidate, rows)
    mine = tmp_path / "run"
    rewarder, inputs = make_rewarder("model", model=str(run / "openprm"), name="orm")
    for end in ("", "-test"):
        reward_candidates(CandidateSource(str(mine / "samples")), rewarder, mine / f"candidates{end}", inputs=inputs)
    for kind in ("trees", "pairs"):
        for end in ("", "-test"):
            shutil.copytree(run / f"{kind}{end}", mine / f"{kind}{end}")
    owner = publish(mine, tmp_path / "hub")
    assert states(verified(owner / "candidates"))["train, made again"] is None  # its model is not there
    publish_model(run, owner)
    report = verified(owner / "candidates")
    assert detail(report, "train, made again") == "identical"

    file = owner / "candidates" / "data" / "train-00000.parquet"
    (value, *_) = _rewards(file)
    change_rows(file, lambda rows: rows[0]["rewards"][0].update(value=value + 1e-5))
    found = verified(owner / "candidates")
    assert states(found)["train, made again"]
    assert "but for the last digits of 1 rewards" in detail(found, "train, made again")
    change_rows(file, lambda rows: rows[0]["rewards"][0].update(value=value + 1e-2))
    assert "row 1, prompt 'p', rewards[0].value: published" in detail(
        verified(owner / "candidates"), "train, made again"
    )


def _rewards(file: Path) -> list[float]:
    import pyarrow.parquet as pq

    return [row["rewards"][0]["value"] for row in pq.read_table(file).to_pylist() if row["rewards"]]


def test_a_second_reward_is_computed_again_beside_the_first(run: Path, tmp_path: Path):
    mine = shutil.copytree(run, tmp_path / "run")
    rewarder, _ = make_rewarder("stated", name="strict")
    for end in ("", "-test"):
        shutil.rmtree(mine / f"candidates{end}")
        reward_candidates(CandidateSource(str(run / f"candidates{end}")), rewarder, mine / f"candidates{end}")
    assert any("unparsable" in row["marks"] for row in read_rows(mine / "candidates"))
    assert verified(publish(mine, tmp_path / "hub") / "candidates").ok


@pytest.mark.parametrize("by", ["answer", "stated", "re:([0-9]+)", "choice", "math", "instructions"])
def test_a_rule_is_known_by_its_description(by: str):
    rewarder, _ = make_rewarder(by, name="mine")
    again = rewarder_from(json.loads(json.dumps(rewarder.describe())), "mine")
    assert again is not None
    assert (again.name, again.describe()) == ("mine", rewarder.describe())
    assert type(again) is type(rewarder)


def test_a_reward_model_is_known_by_its_description_and_folder(run: Path):
    options = {"max_model_len": 99}
    rewarder = ModelRewarder(RewardSpec(str(run / "openprm"), "vllm", dtype="bfloat16", options=options), name="mine")
    description = rewarder.describe()
    again = rewarder_from(description, "mine", run / "openprm")
    assert again is not None
    assert again.describe() == description
    assert rewarder_from(description, "mine") is None
    assert rewarder_from({**description, "trust_remote_code": True}, "mine", run / "openprm") is None


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
@pytest.mark.parametrize(
    "options", [{"trust_remote_code": True}, {"hf_overrides": {"auto_map": {}}}, {"max_model_len": "x"}, {"a": 1}]
)
def test_no_option_of_another_s_reaches_an_engine(run: Path, engine: str, options: dict[str, Any]):
    description = ModelRewarder(run / "openprm", name="mine").describe()
    assert rewarder_from(description, "mine", run / "openprm") is not None
    assert rewarder_from({**description, "engine": engine, "engine_options": options}, "mine", run / "openprm") is None


def test_a_full_disk_says_nothing_of_what_was_published(owner: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("openprm.runs.folder.os.replace", full)
    report = verified(owner / "trees")
    assert report.exit_code == 2
    assert "No space left" in detail(report, "train, made again")


def list_files(folder: Path) -> None:
    change_manifest(folder, lambda manifest: manifest.update(files=listed(folder)))


def _name_others(manifest: dict[str, Any], name: str) -> None:
    manifest["repositories"]["train"]["candidates"]["name"] = name


def _train(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_manifest(folder, lambda manifest: change(manifest["parts"]["train"]))


def _manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return lambda folder: change_manifest(folder, change)


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
        list_files(folder)

    return change


def _serve(folder: Path) -> None:
    shutil.copytree(folder / "data", folder / "served")
    _text("README.md", "path: data/train", "path: served/train")(folder)


def _extra(folder: Path) -> None:
    shutil.copyfile(folder / "data" / "test-00000.parquet", folder / "data" / "train-extra.parquet")
    list_files(folder)


def _no_code(folder: Path) -> None:
    (folder / "steps.py").unlink()
    list_files(folder)


_NC = {"name": "x", "kind": "data", "license": "cc-by-nc-4.0"}

#: What somebody may change, hashes made to fit: the repository, the change, what finds it, and in which words.
FORGED: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "file that loads": ("trees", _extra, "what loads", "train-extra.parquet is no file of this dataset"),
    "other folder": ("trees", _serve, "what loads", "served/train-00000.parquet is no file"),
    "other split": (
        "trees",
        _text("README.md", "path: data/train", "path: data/test"),
        "what loads",
        "config 'default' reads data/test-00000.parquet",
    ),
    "elsewhere": ("trees", _text("README.md", "path: data/", "path: /x/"), "what loads", "no pattern of files"),
    "filtered": (
        "trees",
        _text("README.md", "- config_name: default", "- columns: [source]\n  config_name: default"),
        "what loads",
        "is read with columns",
    ),
    "other default": (
        "pairs",
        _text(
            "README.md",
            "- config_name: process\n  data_files",
            "- config_name: process\n  default: true\n  data_files",
        ),
        "what loads",
        "is not what loads where none is named",
    ),
    "other types": ("trees", _text("README.md", "dtype: float64", "dtype: float32"), "what loads", "other types"),
    "number on the card": ("trees", _text("README.md", "# trees", "# trees\n\n98765 trees"), "card", "98765"),
    "no card": ("trees", lambda folder: (folder / "README.md").unlink() or list_files(folder), "card", "is missing"),
    "result": (
        "openprm",
        _text(".eval_results/openprm.yaml", "[]", "- {value: 0.98765}"),
        "card",
        "openprm.yaml: value 0.98765",
    ),
    "license": ("trees", _manifest(lambda manifest: manifest.update(license=None)), "license", "must be named"),
    "forbidden": ("trees", _manifest(lambda manifest: manifest["origins"].append(_NC)), "license", "commercial"),
    "no origins": ("trees", _manifest(lambda manifest: manifest.pop("origins")), "origins", "'origins'"),
    "origin left out": ("trees", _train(lambda part: part["origins"].append(_NC)), "origins", "x (cc-by-nc-4.0)"),
    "named as another": (
        "trees",
        _manifest(lambda manifest: manifest["repositories"]["train"]["candidates"].update(part="test")),
        "origins",
        "its manifest names openprm/candidates (test)",
    ),
    "measured on another": (
        "openprm",
        _manifest(lambda manifest: manifest["evaluation"]["dataset"].update(part="train")),
        "origins",
        "its manifest names openprm/candidates (train)",
    ),
    "code": ("openprm", _text("pipeline.py", "import", "import os\nimport"), "code", "pipeline.py: not as"),
    "no code": ("openprm", _no_code, "code", "steps.py: not as"),
    "pipeline": ("openprm", _text("config.json", "pipeline.Open", "evil--x.Open"), "code", "config.json: not as"),
    "rows": ("trees", _train(lambda part: part.update(rows=99)), "rows of train", "3 rows, not 99"),
    "counts of candidates": (
        "candidates",
        _train(lambda part: part["counts"].update(rewarded=99)),
        "rows of train",
        "rewarded is 12, not 99",
    ),
    "parameter": (
        "trees",
        _train(lambda part: part["parameters"].pop("similarity")),
        "train, made again",
        "does not record 'similarity'",
    ),
    "bad parameter": ("trees", _train(lambda part: part["parameters"].update(threshold=7)), "train, made again", "7"),
    "no input": ("trees", _train(lambda part: part.update(inputs={})), "train, made again", "not made of candidates"),
    "bad hash": (
        "trees",
        _train(lambda part: part["inputs"]["candidates"].update(hash=0)),
        "train, made again",
        "input 'candidates' is no hash",
    ),
    "unknown pattern": (
        "candidates",
        _train(lambda part: part["parameters"]["reward"].update(pattern="nonsense")),
        "train, made again",
        "unknown pattern 'nonsense'",
    ),
    "no name": (
        "candidates",
        _train(lambda part: part["parameters"].pop("name")),
        "train, made again",
        "does not record 'name'",
    ),
    "no mapping": (
        "candidates",
        _train(lambda part: part["parameters"].update(reward=3)),
        "train, made again",
        "cannot be used",
    ),
    "prompts measured": (
        "openprm",
        _manifest(lambda manifest: manifest["evaluation"]["counts"].update(prompts=3000)),
        "results, measured again",
        "counts prompts as 3000, and they are 3",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_was_forged_is_found_though_hashes_fit(owner: Path, name: str):
    kind, change, what, words = FORGED[name]
    change(owner / kind)
    report = verified(owner / kind)
    assert states(report)["files"]
    assert states(report)[what] is False
    assert report.exit_code == 1
    assert words in detail(report, what)


def test_an_input_that_is_nowhere_leaves_the_check_open(owner: Path):
    _train(lambda part: part["inputs"]["candidates"].update(hash="0" * 64))(owner / "trees")
    report = verified(owner / "trees")
    assert report.exit_code == 2
    assert states(report)["train, made again"] is None


def test_the_code_of_another_version_is_not_called_wrong(owner: Path):
    change_manifest(owner / "openprm", lambda manifest: manifest.update(published_by="openprm 0.0.1"))
    assert states(verified(owner / "openprm"))["code"]
    _text("pipeline.py", "import", "import os\nimport")(owner / "openprm")
    report = verified(owner / "openprm")
    assert report.exit_code == 2
    assert "published by openprm 0.0.1, and this is openprm" in detail(report, "code")


def test_what_needs_an_extra_that_is_not_here_is_missing(owner: Path, monkeypatch: pytest.MonkeyPatch):
    def lacking(*_: Any) -> None:
        raise InputError("needs the extra") from ImportError()

    monkeypatch.setattr(remake, "rewarder_from", lacking)
    assert verified(owner / "candidates").exit_code == 2
