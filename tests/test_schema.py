"""The columns of the records: their types as `datasets` knows them, and as cards describe them."""

from __future__ import annotations

import pytest
from datasets import Value

from openprm.schema import (
    Answer,
    BranchedCandidate,
    Candidate,
    Pair,
    Prompt,
    Scored,
    Tree,
    described_columns,
    features,
)


@pytest.mark.parametrize("record", [Prompt, Candidate, Tree, Pair, Scored, Answer, BranchedCandidate])
def test_every_column_is_described_in_order(record: type) -> None:
    described = {name: description for name, _, description in described_columns(record)}
    assert [name for name in described if "." not in name] == list(features(record)) == list(record.__annotations__)
    assert all(described.values())


def test_the_types_of_columns() -> None:
    assert features(Tree)["nodes"].feature["parent"] == Value("int64")
    kinds = {name: kind for name, kind, _ in described_columns(Tree)}
    assert kinds["responses.steps"] == "list of texts"
    assert kinds["nodes.parent"] == "integer or null"
    assert kinds["nodes.members.step"] == "integer"
    assert kinds["build"] == "record"
