"""Whatever is wrong with what a user gives, every command says it in one line: where, what, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openprm.stages  # noqa: F401 (declares them)

GOOD = {"question": "2 + 2?", "response": "Add.\nFour", "reward": 1.0}
WRONG = {"question": "2 + 2?", "response": "Guess.\nFive", "reward": 0.0}


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


#: A benchmark's declaration, and a row of one that holds no preference.
PAIRS = b"title: Mine\nkind: pairs\n"
SAME = {"prompt": "q", "chosen": "a", "rejected": "a"}

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
    ("choices c --scores m=t -o x", "t holds no scores: there is no column 'sample_index'"),
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
    ("trees a.jsonl -o ''", "has an empty name); choose another --out"),
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
    ("choices c --scores m=s --kind k=z -o x", "--kind names 'z', which is no model's name"),
    ("choices c --scores m=s --reward-name nope -o x", "no reward 'nope' to measure by; choose one of reward"),
    ("choices e.jsonl --scores m=s -o x", "s has no score for any candidate of e.jsonl", lines(GOOD, WRONG)),
    # benchmarks
    ("evaluate model old/model --on llmbar=p -o x", "two are called 'model'; give NAME=VALUE, each name once"),
    ("evaluate model --on llmbar --on llmbar=p -o x", "two are called 'llmbar'; give NAME=VALUE, each name once"),
    ("evaluate model --on lmbar=p -o x", "there is no benchmark 'lmbar'; did you mean 'llmbar'?"),
    ("evaluate model --on nowhere.yaml=p -o x", "nowhere.yaml: there is no such file; give a benchmark's name or"),
    ("evaluate model --on llmbar -o x", "'llmbar' is not on the Hub; say where its file lies: --on llmbar=FILE"),
    ("evaluate model --on e.yaml -o x", "e.yaml: not YAML: while parsing", b"title: [\n a: b"),
    ("evaluate model --on e.yaml -o x", "no kind of benchmark 'pair'; did you mean 'pairs'?", b"kind: pair\n"),
    ("evaluate model --on e.yaml -o x", "e.yaml: title is missing", b"kind: pairs\n"),
    ("evaluate model --on e.yaml -o x", "no key 'colums'; did you mean 'columns'?", PAIRS + b"colums: {}\n"),
    (
        "evaluate model --on e.yaml -o x",
        "e.yaml: tie is 'win': Input should be 'loss' or",
        PAIRS + b"tie: win",
    ),
    (
        "evaluate model --on e.yaml -o x",
        "give the columns of chosen and rejected, or",
        PAIRS + b"columns: {subset: s}",
    ),
    (
        "evaluate model --on e.yaml -o x",
        "there is no section 'b'",
        PAIRS + b"sections: {a: {s: 1}}\nweights: {b: 2}",
    ),
    ("evaluate model --on e.jsonl -o x", "no column 'chosen'", lines({"prompt": "q", "answer": "a"})),
    ("evaluate model --on e.jsonl -o x", "1 of them for: chosen and rejected are the same text", lines(SAME)),
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
    ("run tiny --set nope=1 --out x", "the preset has no setting 'nope'; there are"),
    ("run tiny --set tres.threshold=1 --out x", "the preset has no stage 'tres'; did you mean 'trees'?"),
    ("run --data a.jsonl --base model --set trees.treshold=1 --out x", "did you mean 'threshold'?"),
    ("run --data a.jsonl --base model --holdout 2 --out x", "the share of prompts to hold out is 2"),
    ("run --data a.jsonl --base nowhere --out x", "takes 'nowhere' for its base"),
    ("run --data a.jsonl --base model --question-column q --out x/y", "(--question-column question)?"),
    # files to write
    ("export t -o q.jsonl", "q.jsonl exists; choose another --out, or replace it by --force"),
    ("export t -o x.txt", "x.txt: name a file that ends in .csv or .jsonl"),
    ("run tiny --until nope --out x", "no stage 'nope'; its kinds are"),
]


@pytest.mark.parametrize(("command", "message", "content"), [(*one, None)[:3] for one in REFUSED])
def test_what_is_refused(said: Callable[[str], str], command: str, message: str, content: bytes | None):
    if content is not None:
        next(Path(word) for word in command.split() if word.startswith("e.")).write_bytes(content)
    assert message in said(command)
