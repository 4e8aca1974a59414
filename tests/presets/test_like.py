"""Presets that say what differs from another."""

from __future__ import annotations

from openprm.presets.like import merged

BASE = {
    "assume": {"prompts": {"a": 1}},
    "settings": {"k": 8, "n": 1},
    "stages": {
        "samples": {"run": "sample", "n": "$n"},
        "labels": {"run": "label", "labels": "samples", "harden": 0.0},
        "test": {"run": "choices", "scores": {"prm": "labels"}},
    },
}


def test_parameters_are_changed_and_stages_added_where_they_are_taken():
    changes = {
        "settings": {"k": 32, "judge": None},
        "stages": {
            "labels": {"other": "judged", "harden": None},
            "asked": {"run": "prompts"},
            "judged": {"run": "judge-steps", "candidates": "asked"},
            "last": {"run": "publish"},
        },
    }
    found = merged(BASE, changes)
    assert [*found["stages"]] == ["samples", "asked", "judged", "labels", "test", "last"]
    assert found["stages"]["labels"] == {"run": "label", "labels": "samples", "harden": None, "other": "judged"}
    assert found["settings"] == {"k": 32, "n": 1, "judge": None}
    assert found["assume"] == BASE["assume"]
    assert BASE["stages"]["labels"]["harden"] == 0.0
