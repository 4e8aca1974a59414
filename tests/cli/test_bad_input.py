"""Whatever is wrong with what a user gives, every command says it in one line: where, what, and what to do."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openprm.stages  # noqa: F401 (declares them)
from openprm.runs.declaration import STAGES

from ..answers import answers, rejected, write_jsonl

GOOD = {"question": "2 + 2?", "response": "Add.\nFour", "reward": 1.0}
WRONG = {"question": "2 + 2?", "response": "Guess.\nFive", "reward": 0.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base: Path, policy: Path) -> Path:
    """A file of answers, one of questions, and what each stage makes of them."""
    root = tmp_path_factory.mktemp("made")
    write_jsonl(root / "a.jsonl", answers(6))
    write_jsonl(root / "q.jsonl", [{"question": f"q {i}", "reference": str(i)} for i in range(4)])
    shutil.copytree(base, root / "model")
    shutil.copytree(policy, root / "policy")
    for kind, out, values in (
        ("import", "c", {"candidates": "a.jsonl"}),
        ("trees", "t", {"candidates": "a.jsonl"}),
        ("pairs", "p", {"trees": "t"}),
        ("prompts", "q", {"prompts": "q.jsonl"}),
        ("score", "s", {"candidates": "c", "model": "model"}),
    ):
        STAGES[kind](**{name: str(root / value) for name, value in values.items()}).run(root / out)
    return root


@pytest.fixture
def said(run: Any, made: Path, tmp_path: Path) -> Callable[[str], str]:
    """Runs a command beside what was made, and returns the one line that it must fail with, having made nothing."""
    for path in made.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)

    def call(command: str) -> str:
        code, _, err = run(*shlex.split(command))
        lines = [line for line in err.splitlines() if line and "Loading weights" not in line]
        assert "Traceback" not in err
        assert not Path("x").exists() or Path("x").is_file()
        if code == 2:  # how it is called
            assert (lines[0].startswith("Usage: "), lines[-1].startswith("Error: ")) == (True, True)
        else:
            assert (code, len(lines), lines[-1].startswith("openprm: ")) == (1, 1, True), err
        return lines[-1]

    return call


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


PRESET = "stages:\n  a: {run: trees, candidates: a.jsonl}\n"

#: A command, a part of what it says, and a file that it reads.
REFUSED: list[tuple[Any, ...]] = [
    # files
    ("trees nowhere.jsonl -o x", "nowhere.jsonl: there is no such file or folder"),
    ("trees e.jsonl -o x", "e.jsonl: the file is empty; check how it was written", b""),
    ("trees e.txt -o x", "e.txt: unknown format; use a file that ends in .jsonl", b"hello"),
    ("trees e.jsonl -o x", "2 rows were rejected, 2 of them for: broken JSON", b"{\n{\n"),
    ("trees e.json -o x", "one JSON object over several lines; write a list", b'{\n "a": 1\n}\n'),
    ("trees e.parquet -o x", "e.parquet: not a complete Parquet file", b"hello"),
    ("trees e.jsonl.gz -o x", "e.jsonl.gz: cannot be read: Not a gzipped file", b"hello"),
    ("trees e.csv -o x", "the text is UTF-16; save it as UTF-8", "question,response\n".encode("utf-16")),
    ("trees e.csv -o x", "zero bytes in the header, as in UTF-16", "question,response\n".encode("utf-16-le")),
    ("trees e.csv -o x", "the header names 'response' twice; rename one", b"question,response,response\na,b,c\n"),
    ("trees e.csv -o x", "the columns are separated by ';'", b"question;response;reward\na;b;1\n"),
    ("search policy nowhere.csv --prm model -o x", "nowhere.csv: there is no such file or folder"),
    # columns
    (
        "trees e.csv -o x",
        "it has 'prompt', 'text'; did you mean 'prompt' (--question-column prompt)?",
        b"prompt,text\na,b\n",
    ),
    (
        "import e.jsonl -o x",
        "did you mean 'output' (--response-column output)?",
        lines({"question": "a", "output": "b"}),
    ),
    (
        "import e.jsonl -o x",
        "did you mean 'score' (--reward-column score)?",
        lines({"question": "a", "response": "b", "score": 1}),
    ),
    (
        "prompts e.jsonl -o x",
        "did you mean 'instruction' (--question-column instruction)?",
        lines({"instruction": "a"}),
    ),
    (
        "preferences e.jsonl -o x",
        "name the column of chosen (--chosen-column NAME)",
        lines({"prompt": "a", "win": "b"}),
    ),
    ("trees a.jsonl -o x --id-column id", "name the column of prompt_id (--id-column NAME)"),
    ("trees a.jsonl -o x --where nope=1", "a.jsonl: no column 'nope'"),
    ("trees a.jsonl -o x --where question=zz", "no row has question = 'zz'; check the filter"),
    ("trees a.jsonl -o x --where question", "give NAME=VALUE"),
    ("reward c --by file --file q.jsonl -o x", "q.jsonl: no column 'reward'; it has 'question', 'reference'"),
    ("prompts a.jsonl --declared math -o x", "a.jsonl: no column 'problem'"),
    # folders
    ("train t --base model -o x", "t holds no pairs: there is no column 'context'"),
    ("pairs c -o x", "c holds no trees: there is no column 'reward_name'"),
    ("pairs a.jsonl -o x", "a.jsonl is a file; give a folder that openprm made"),
    ("score p --model model -o x", "p: no column 'response'"),
    ("evaluate c --scores m=t -o x", "t holds no scores: there is no column 'sample_index'"),
    ("sample c --model policy -o x", "stands in several rows; give each prompt one"),
    ("publish --trees train=c --license mit --out x --dry-run", "c holds no trees"),
    ("publish t", "t has no preset.yaml: it is not a folder of `openprm run`"),
    ("pairs model --split test -o x", "model has no data/train-*.parquet"),
    ("pairs t --split test -o x", "t has no split 'test': its splits are train"),
    ("trees a.jsonl --split test -o x", "a file has no split 'test'"),
    ("status nowhere", "nowhere has no manifest.json"),
    ("verify nowhere.x", "nowhere.x is neither a folder that exists nor OWNER/NAME"),
    # where to write
    (
        "trees a.jsonl -o q.jsonl",
        "q.jsonl exists and is not a folder that openprm wrote; choose another, or remove it",
    ),
    (
        "trees a.jsonl -o q.jsonl/x",
        "q.jsonl/x cannot be made ([Errno 17] File exists: 'q.jsonl'); choose another --out",
    ),
    ("trees a.jsonl -o /proc/x", "/proc/x cannot be made"),
    ("trees a.jsonl -o ''", "has no name of its own; choose another --out"),
    ("trees a.jsonl -o a.jsonl", "a.jsonl is an input of what should be written there"),
    ("pairs t -o c", "c holds the result of another stage (import)"),
    ("trees a.jsonl", "give the folder to write"),
    # options
    ("trees a.jsonl -o x --threshold 1.5", "threshold is 1.5; a similarity lies in (0, 1]"),
    ("trees a.jsonl -o x --similarity edit", "choose one of levenshtein, indel, jaro_winkler"),
    ("trees a.jsonl -o x --separator re:[", "separator 're:[' is not a regular expression"),
    ("trees a.jsonl -o x --separator lines", "did you mean line?"),
    ("trees a.jsonl -o x --num-proc 0", "--num-proc is 0; make it more than 0"),
    ("pairs t -o x --min-gap -1", "min gap '-1' is not a number (0.2), standard deviations (0.5sd) or a quantile"),
    ("pairs t -o x --min-gap q1.5", "a quantile lies between 0 and 1"),
    ("pairs t -o x --select some", "select is 'some'; use max, all"),
    ("pairs t -o x --reward-name nope", "no reward named 'nope' (it has: reward)"),
    ("pairs t -o x --no-process", "neither process nor outcome pairs are wanted"),
    ("train p --base model -o x --level proces", "there is no level 'proces'; did you mean 'process'?"),
    ("train p --base model -o x --batch-size 0", "--batch-size is 0; make it more than 0"),
    ("train p --base model -o x --eval-pairs p", "questions are trained on"),
    ("train p --base model -o x --aggregation nope", "unknown aggregation 'nope'; choose one of min, max"),
    ("prompts q.jsonl --limit 0 -o x", "--limit is 0; make it more than 0"),
    ("prompts --declared mathh -o x", "no declared dataset 'mathh'; there are ultrafeedback"),
    ("sample q --model policy -o x --temperature nan", "temperature is at least 0"),
    ("sample q --model policy -o x --engine vlm", "unknown engine 'vlm'; choose one of transformers"),
    ("sample q --model policy -o x --shard 3/2", "part 3/2 is not one of 1/2 to 2/2"),
    ("sample q --model policy -o x --prompts-per-shard 0", "--prompts-per-shard is 0; make it more than 0"),
    ("sample q --model policy -o x --chat-template @nowhere", "nowhere cannot be read"),
    ("score c --model model -o x --aggregation nope", "unknown aggregation 'nope'"),
    ("score c --model model -o x --server http://127.0.0.1:9/v1 --engine-option retries=0", "start them first"),
    ("reward c --by nope -o x", "unknown reward 'nope'; choose one of math, choice"),
    ("reward c --by answer -o x", "24 of them for: no reference"),
    ("search policy q --prm model -o x --method nope", "unknown method 'nope'; choose one of best-of-n"),
    ("search policy q -o x", "best-of-n needs a reward model; name one (--prm)"),
    ("evaluate c --scores m=s --kind k=z -o x", "the kinds name 'z', which has no scores"),
    ("evaluate c --scores m=s --reward-name nope -o x", "no reward 'nope' to measure by; choose one of reward"),
    ("evaluate e.jsonl --scores m=s -o x", "s has no score for any candidate of e.jsonl", lines(GOOD, WRONG)),
    # models
    ("score c --model policy -o x", "policy (LlamaForCausalLM) has no sequence-classification head"),
    ("sample q --model model -o x", "model lacks weights (lm_head.weight)"),
    ("score c --model t -o x", "t cannot be read as a model"),
    ("train p --base t -o x", "t cannot be loaded by AutoModelForSequenceClassification: Unrecognized model in t"),
    ("sample q --model nowhere/x -o x", "nowhere/x: there is no such file or folder; the Hub does not give it"),
    # presets
    ("run tny --out x", "no preset 'tny'; there are "),
    ("run e.yaml --out x", "a preset has a mapping `stages`", b""),
    ("run e.yaml --out x", "e.yaml: not YAML: while parsing", b"stages: [\n a: b"),
    ("run e.yaml --out x", "not YAML: 'a' stands twice in", (PRESET + PRESET.partition("\n")[2]).encode()),
    ("run e.yaml --out x", "cannot be called '../a', since its folder is", PRESET.replace("a:", "../a:", 1).encode()),
    (
        "run e.yaml --out x",
        "takes 'b' for its trees: that is no stage before it",
        b"stages:\n  a: {run: pairs, trees: b}\n  b: {run: trees, candidates: a}\n",
    ),
    (
        "run e.yaml --out x",
        "no parameter 'treshold'; did you mean 'threshold'?",
        PRESET.replace("}", ", treshold: 1}").encode(),
    ),
    (
        "run e.yaml --out x",
        "there is no stage 'tree'; did you mean 'trees'?",
        PRESET.replace("trees", "tree").encode(),
    ),
    ("run tiny --set nope=1 --out x", "nope"),
    ("run tiny --until nope --out x", "no stage 'nope'; its kinds are"),
]


@pytest.mark.parametrize(("command", "message", "content"), [(*one, None)[:3] for one in REFUSED])
def test_what_is_refused(said: Callable[[str], str], command: str, message: str, content: bytes | None):
    if content is not None:
        next(Path(word) for word in command.split() if word.startswith("e.")).write_bytes(content)
    assert message in said(command)


def flip(folder: Path) -> None:
    shard = next((folder / "data").iterdir())
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 0xFF
    shard.write_bytes(content)


def cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:50])


#: A command on `y`, a damaged copy of what was made; what it says; whose copy, and its damage.
DAMAGED: list[tuple[str, str, str, Callable[[Path], Any]]] = [
    ("pairs y -o x", "y/manifest.json is damaged", "t", lambda y: cut(y, "manifest.json")),
    ("trees y -o x", "y/manifest.json is damaged", "c", lambda y: cut(y, "manifest.json")),
    ("pairs y -o x", "y has no data/train-*.parquet", "t", lambda y: next((y / "data").iterdir()).unlink()),
    ("pairs y -o x", "train-00000.parquet is damaged", "t", flip),
    ("trees y -o x", "train-00000.parquet is damaged", "c", flip),
    ("pairs y -o x", "train-00000.parquet is damaged", "t", lambda y: cut(y, "data/train-00000.parquet")),
    (
        "pairs y -o x",
        "y has 12 rows, not 6 as its manifest.json says; make it again",
        "t",
        lambda y: shutil.copy(y / "data/train-00000.parquet", y / "data/train-00001.parquet"),
    ),
    ("sample q --model y -o x", "y cannot be loaded", "policy", lambda y: (y / "model.safetensors").unlink()),
    ("sample q --model y -o x", "Error while deserializing header", "policy", lambda y: cut(y, "model.safetensors")),
    ("score c --model y -o x", "y cannot be loaded by", "model", lambda y: cut(y, "model.safetensors")),
    ("train p --base y -o x", "Error while deserializing header", "model", lambda y: cut(y, "model.safetensors")),
    ("train p --base y -o x", "y cannot be loaded", "model", lambda y: (y / "tokenizer.json").unlink()),
    (
        "score c --model y -o x",
        "cannot be loaded by AutoTokenizer: Couldn't",
        "model",
        lambda y: (y / "tokenizer.json").unlink(),
    ),
    ("score c --model y -o x", "y cannot be read as a model", "model", lambda y: (y / "config.json").unlink()),
    ("sample q --model y -o x", "not a valid JSON file", "policy", lambda y: cut(y, "config.json")),
    ("score c --model y -o x", "has no chat template", "model", lambda y: (y / "chat_template.jinja").unlink()),
]


@pytest.mark.parametrize(("command", "message", "whose", "damage"), DAMAGED)
def test_what_is_damaged(said: Callable[[str], str], command: str, message: str, whose: str, damage: Any):
    damage(Path(shutil.copytree(whose, "y")))
    assert message in said(command)


#: A row that cannot be used among others that can, by its line, and why.
BAD_ROWS: list[tuple[Any, str]] = [
    (b'{"question": \n', "broken JSON"),
    (b"\0\0\0\n", "broken JSON"),
    (b"[1, 2]\n", "not a JSON object"),
    *(({**GOOD, "reward": reward}, f"'reward' is {reward!r}") for reward in ("good", float("nan"), float("inf"))),
    ({**GOOD, "reward": None}, "'reward' is missing"),
    ({"question": "a", "response": "b"}, "'reward' is missing"),
    ({**GOOD, "response": " "}, "empty response"),
    ({**GOOD, "response": None}, "'response' is missing"),
    ({**GOOD, "response": ["a", 5], "reward": [1, 0]}, "'response' should be a valid string"),
    ({**GOOD, "response": ["a", "b"]}, "2 responses, but 'reward' is not a list"),
    ({**GOOD, "question": None}, "'question' is missing"),
    ({**GOOD, "question": [{"content": "a"}]}, "'question[0].role' is missing"),
    ({**GOOD, "question": [{"role": "assistant", "content": "a"}]}, "ends with the assistant's turn"),
    ({**GOOD, "question": "3 + 3?", "prompt_id": "1"}, "prompt_id '1' has another question in row 1"),
]


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS)
def test_a_bad_row_is_listed_and_ends_nothing(run: Any, row: Any, reason: str):
    others = [{**one, "prompt_id": "1"} for one in (GOOD, WRONG)]
    line = row if isinstance(row, bytes) else lines({"prompt_id": "1", **row})
    Path("a.jsonl").write_bytes(lines(others[0]) + line + lines(others[1]))
    assert run("trees", "a.jsonl", "-o", "x")[0] == 0
    entries = rejected(Path("x"))
    assert reason in entries[0]["reason"]
    assert entries[0]["key"].startswith(("a.jsonl, row 2", "prompt '1', sample 1"))
    assert entries[0]["remedy"]


def test_what_only_looks_odd_is_read(run: Any):
    """A mark of the byte order, brackets in paths, slashes and brackets in ids, zero bytes in a text."""
    rows = "question,response,reward,prompt_id\na,b\0,1,a/b[1]\na,c,0,a/b[1]\n"
    Path("e[1].csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    assert run("trees", "e[1].csv", "-o", "y[1]/t")[0] == 0
    assert "+0.500 ×2" in run("show", "y[1]/t", "a/b[1]")[1]
    code, out, _ = run("pairs", "y[1]/t", "-o", "y[1]/p", "--outcome", "best")
    assert (code, out.splitlines()[0]) == (0, "pairs: 1 rows in y[1]/p")
