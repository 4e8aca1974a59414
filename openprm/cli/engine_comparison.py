"""`openprm score --compare-engines`: do all engines give the same rewards on a sample of the user's responses?"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from ..engines.specs import RewardSpec
from ..errors import Failure
from ..stages.score import Score
from .report import print_table

_SAMPLE = 32  # responses, at least
_TOLERANCE = 1e-3  # of a reward in float32


def compare_engines(stage: Score) -> bool:
    """Prints how far the rewards of each engine, dtype and batch are from plain float32 passes of one sequence each.

    transformers, vLLM where it is installed, and the stage's servers, in float32 and bfloat16. False where a reward in
    float32 differs by more than 1e-3.
    """
    from ..evaluation.engine_parity import deviations, sample

    rows = stage.candidate_source(rewards=False).read()
    chosen = sample((row for row in rows if not isinstance(row, Failure)), _SAMPLE)
    base = RewardSpec(
        stage.checkpoint or stage.model, revision=stage.revision, trust_remote_code=stage.trust_remote_code
    )
    others = [replace(base, dtype="bfloat16")]
    if find_spec("vllm"):
        options = stage.engine_options
        others += [replace(base, engine="vllm", dtype=name, options=options) for name in ("float32", "bfloat16")]
    others += [
        replace(base, model=stage.model, engine="server", servers=(url,), checkpoint=base.model)
        for url in stage.servers
    ]
    lines, same = [], True
    for one in deviations(chosen, base, others, aggregation=stage.aggregation, separator=stage.separator):
        same &= one.dtype != "float32" or one.largest <= _TOLERANCE
        numbers = f"{one.largest:.1e}", f"{one.mean:.1e}", f"{one.changed} of {one.prompts}"
        lines.append([one.engine, one.dtype or "its own", one.batch, *numbers])
    print_table(
        f"step rewards of {len(chosen)} responses, against plain float32 passes of one sequence each",
        ["engine", "dtype", "batch", "largest difference", "mean", "another best of n"],
        lines,
    )
    return same
