r"""The command lines that make a published artifact again from the published ones before it, as its manifest has it.

A command line is given only where it says everything that the manifest records; else there is none.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .inputs import Input

Manifest = Mapping[str, Any]

_RULES = {"mathematics": "math", "multiple choice": "choice", "instructions followed": "instructions"}
_TRAINING = {
    "learning_rate": "--learning-rate",
    "num_train_epochs": "--epochs",
    "batch_size": "--batch-size",
    "per_device_train_batch_size": "--per-device",
    "max_length": "--max-length",
    "process_weight": "--process-weight",
    "margin": "--margin",
    "save_steps": "--save-steps",
    "seed": "--seed",
}


def dataset_command(kind: str, split: str, manifest: Manifest, source: Input) -> str | None:
    """The line that makes a split of candidates (their rewards), trees or pairs again of `source`; None where that is
    not published beside it, or there is no such line.
    """
    make = {"candidates": _reward, "trees": _trees, "pairs": _pairs}[kind]
    options = make(manifest["parameters"]) if manifest["stage"] == _STAGES[kind] else None
    if options is None or source.repository is None or source.part is None:
        return None
    start = ["openprm", _COMMANDS[kind], source.repository, "--split", source.part]
    return _line([*start, *options, "--out", f"rebuilt/{kind}-{split}"])


_STAGES = {"candidates": "rewards", "trees": "trees", "pairs": "pairs"}
_COMMANDS = {"candidates": "reward", "trees": "trees", "pairs": "pairs"}


def _reward(parameters: Manifest) -> list[str] | None:
    reward = parameters["reward"]
    if reward.get("rule") == "golden answer":
        by = [reward["pattern"]]
    elif reward.get("rule") in _RULES:
        by = [_RULES[reward["rule"]]]
    elif reward.get("kind") == "model" and reward["revision"] and not reward["engine_options"]:
        named = ["--model", reward["model"].partition("@")[0], "--revision", reward["revision"]]
        trust = ["--trust-remote-code"] if reward["trust_remote_code"] else []
        by = ["model", *named, "--engine", reward["engine"], "--dtype", reward["dtype"], *trust]
    else:  # a judge's servers and a user's file are nobody else's
        return None
    return ["--by", *by, "--name", f"{parameters['name']}-again"]  # beside the published one


def _trees(parameters: Manifest) -> list[str] | None:
    options = ["--separator", escape(parameters["separator"])]
    for source, separator in parameters["separators"].items():
        options += ["--separator", f"{source}={escape(separator)}"]
    options += ["--similarity", parameters["similarity"], "--threshold", str(parameters["threshold"])]
    if parameters["distinct_numbers"]:
        options.append("--distinct-numbers")
    if parameters.get("reward_name"):
        options += ["--reward-name", parameters["reward_name"]]
    return options


def _pairs(parameters: Manifest) -> list[str] | None:
    if "select" not in parameters:  # from a preference dataset
        return None
    options = ["--min-gap", parameters["min_gap"], "--select", parameters["select"]]
    options += ["--min-support", str(parameters["min_support"]), "--outcome", parameters["outcome"]]
    if parameters["shared_prefix"]:
        options.append("--shared-prefix")
    if not parameters["process"]:
        options.append("--no-process")
    if parameters["reward_name"] is not None:
        options += ["--reward-name", parameters["reward_name"]]
    if parameters["shuffle_rewards"] is not None:
        options += ["--shuffle-rewards", str(parameters["shuffle_rewards"])]
    return options


def training_command(name: str, pairs: Sequence[str], base: str, parameters: Manifest) -> str | None:
    """The line that trains the model again, on the train splits of `pairs`; None where the options that were used are
    not all the command's.
    """
    options = dict(parameters["options"])
    bf16 = options.pop("bf16", False)
    if options.keys() - _TRAINING or parameters["aggregation"] is not None:
        return None
    line = ["openprm", "train", *pairs, "--base", base, "--levels", ",".join(parameters["levels"])]
    for option, value in options.items():
        line += [_TRAINING[option], str(value)]
    if bf16:
        line.append("--bf16")
    if parameters["separator"]:
        line += ["--separator", escape(parameters["separator"])]
    return _line([*line, "--out", f"rebuilt/{name}"])


def escape(separator: str) -> str:
    r"""A separator as the command line takes it: `\n` in two characters, but for regular expressions."""
    return separator if separator.startswith("re:") else separator.replace("\n", "\\n").replace("\t", "\\t")


def _line(words: Sequence[str]) -> str:
    """The words, quoted for a shell, in lines of at most a hundred characters or so."""
    lines = [""]
    for word in words:
        quoted = shlex.quote(word)
        if lines[-1] and len(lines[-1]) + len(quoted) > 96 and quoted.startswith("--"):
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + quoted
    return "\n".join(lines)
