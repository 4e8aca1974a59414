import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid

from openprm.schema import Pair, features
from openprm.scoring.encoding import encode
from openprm.training.config import OpenPRMConfig
from openprm.training.trainer import OpenPRMTrainer
from tests import tiny_models
from tests.small_training import pair, pairs, points, trainer, tree_pairs


def weights(run: Any) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])


def plain_reward(run: Any, question: Any, answer: str) -> torch.Tensor:
    """By transformers alone: one sequence, one pass."""
    ids = torch.tensor([encode(run.processing_class, question, answer)])
    return run.model(input_ids=ids).logits[0, 0]


def plain_loss(run: Any, rows: list[Pair]) -> torch.Tensor:
    """Equation 2 over the rows, pair by pair, from plain passes."""
    total, weight = torch.tensor(0.0), 0.0
    for row in rows:
        before = row["context"] if row["rejected_context"] is None else row["rejected_context"]
        chosen = plain_reward(run, row["question"], row["context"] + row["chosen"])
        rejected = plain_reward(run, row["question"], before + row["rejected"])
        w = (run.args.process_weight if row["level"] == "process" else 1.0) * {"math": 1.5}.get(row["source"], 1.0)
        w *= row["weight"]
        assert row["gap"] is not None
        margin = run.args.margin * row["gap"] / run.gap_scales[row["source"]]
        centering = run.args.center_rewards_coefficient * (chosen + rejected) ** 2
        total = total + w * (centering - logsigmoid(chosen - rejected - margin))
        weight += w
    return total / weight


OBJECTIVE = {"process_weight": 0.5, "margin": 0.3, "center_rewards_coefficient": 0.02, "source_weights": {"math": 1.5}}


def test_a_step_follows_the_gradient_of_the_closed_formula(tmp_path: Path):
    rows = pairs(8)
    run = trainer(tmp_path, rows, rows, **OBJECTIVE)
    loss = plain_loss(run, rows)
    loss.backward()
    expected = torch.cat(
        [(p.detach() - 1e-2 * p.grad).flatten() for p in run.model.parameters() if p.grad is not None]
    )
    run.model.zero_grad()
    assert run.evaluate()["eval_loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert run.train().training_loss == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(weights(run), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen2", "qwen2-window"])
@pytest.mark.parametrize("budget", [4096, 150])
def test_what_pairs_of_a_tree_share_is_computed_once_with_the_same_gradient(tmp_path: Path, name: str, budget: int):
    rows = tree_pairs(12)
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if name == "gpt2" else {}
    model = tiny_models.model(name, vocab_size=len(tiny_models.tokenizer()), **dropout)
    options = {"batch_size": 12, "tokens_per_device": budget, "pairs_together": 3, **OBJECTIVE}
    run = trainer(tmp_path, rows, rows, model=model, **options)
    loss = plain_loss(run, rows)
    loss.backward()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for parameter in model.parameters():
        parameter.grad = None
    computed: list[int] = []
    model.score.register_forward_hook(lambda _, args, output: computed.append(output.numel()))
    assert run.train().training_loss == pytest.approx(loss.item(), abs=1e-5)
    separate = sum(run.train_dataset[index][0].length for index in range(12))
    assert sum(computed) < 0.7 * separate
    assert budget == 4096 or max(computed) <= budget
    weights = dict(model.named_parameters())
    for name, gradient in gradients.items():
        torch.testing.assert_close((before[name] - weights[name].detach()) / 1e-2, gradient, rtol=0, atol=1e-4)
    assert run.evaluate()["eval_accuracy"] >= 0


def test_micro_batches_do_not_change_the_run(tmp_path: Path):
    # 21 pairs: the last global batch has five
    options = {**OBJECTIVE, "num_train_epochs": 2}
    runs = [trainer(tmp_path, pairs(21), tokens_per_device=size, **options) for size in (10_000, 400, 1)]
    losses = [run.train().training_loss for run in runs]
    assert losses == [pytest.approx(losses[0], abs=1e-6)] * 3
    for run in runs[1:]:
        torch.testing.assert_close(weights(run), weights(runs[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_passes_do_not_change_a_run_on_pairs_and_points(tmp_path: Path, loss: str):
    rows = [*pairs(9), *points(6)]
    runs = [trainer(tmp_path, rows, tokens_per_device=size, point_loss=loss) for size in (10_000, 300, 1)]
    losses = [run.train().training_loss for run in runs]
    assert losses == [pytest.approx(losses[0], abs=1e-6)] * 3
    for run in runs[1:]:
        torch.testing.assert_close(weights(run), weights(runs[0]), rtol=0, atol=1e-6)
    assert runs[0].model.config.openprm["unit"] == "strength", "pairs leave the zero open"


@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_rewards_become_the_log_odds_of_labels(tmp_path: Path, loss: str):
    options = {"learning_rate": 3e-3, "optim": "adamw_torch", "num_train_epochs": 20, "point_loss": loss}
    run = trainer(tmp_path, points(24), points(12, start=100), **options)
    assert run.model.config.openprm["unit"] == "log-odds"
    run.train()
    measured = run.evaluate()
    assert measured["eval_accuracy_point"] >= 0.9
    least = 0.0 if loss == "squared-error" else -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert measured["eval_loss"] == pytest.approx(least, abs=0.1)


def test_a_row_that_is_neither_pair_nor_point_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"row 1 of the train pairs: 'target' is 1\.5"):
        trainer(tmp_path, [points(1)[0], {**points(1)[1], "target": 1.5}])


def test_training_learns(tmp_path: Path):
    options = {"learning_rate": 3e-3, "optim": "adamw_torch", "num_train_epochs": 12, "eval_strategy": "epoch"}
    run = trainer(tmp_path, pairs(24), pairs(12, start=100), **options)
    run.train()
    assert run.evaluate()["eval_accuracy"] >= 0.9


def test_what_is_left_out_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = [*pairs(4), pair(7, rejected=" seven" * 300)]
    run = trainer(tmp_path, rows, {"held": [pair(9), pair(8, context="five " * 300)]}, max_length=200)
    assert [(one.split, one.row, one.prompt_id) for one in run.left_out] == [("train", 4, "p7"), ("held", 1, "p8")]
    lines = [json.loads(line) for line in (tmp_path / "left_out.jsonl").read_text().splitlines()]
    assert [line["prompt_id"] for line in lines] == ["p7", "p8"]
    left_out = {"overlong": {"open": {"process": 1}}}
    assert run.summary["pairs"]["train"] == {"usable": 4, "left_out": left_out, "of_weight_0": 0}
    assert "1 of 5 train pairs are left out" in caplog.text
    assert "eval_held_accuracy" in run.evaluate()


def test_rows_may_be_a_dataset_and_new_rows_may_be_evaluated(tmp_path: Path):
    rows = Dataset.from_list(pairs(4), features=features(Pair))
    run = trainer(tmp_path, rows)
    assert run.evaluate([pair(1, source="new")])["eval_accuracy_source_new"] in (0.0, 1.0)
    rewards = run.predict(pairs(3)).predictions
    assert rewards.shape == (3, 2)
    row = pair(2)
    expected = plain_reward(run, row["question"], row["context"] + row["chosen"]).item()
    assert rewards[2, 0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("mixed_weight", "weight"), [(None, 0.5), (0.25, 0.25), (0.0, None)])
def test_pairs_of_a_whole_answer_and_a_beginning_are_weighed(tmp_path: Path, mixed_weight, weight):
    rows = [{**pair(0), "level": level} for level in ("process", "mixed", "outcome")]
    run = trainer(tmp_path, rows, process_weight=0.5, mixed_weight=mixed_weight)
    weights = {run.train_dataset[i][0].level: run.train_dataset[i][1] for i in range(len(run.train_dataset))}
    assert (weights["process"], weights.get("mixed"), weights["outcome"]) == (0.5, weight, 1.0)


def test_pairs_of_weight_0_are_not_trained_on(tmp_path: Path):
    run = trainer(tmp_path, pairs(9), process_weight=0.0)
    assert len(run.train_dataset) == 3
    assert run.summary["pairs"]["train"]["of_weight_0"] == 6
    with pytest.raises(ValueError, match="every training pair has weight 0"):
        trainer(tmp_path, [pair(1)], process_weight=0.0)
    with pytest.raises(ValueError, match="source_weights names sources without usable pairs: mth"):
        trainer(tmp_path, pairs(9), source_weights={"mth": 2.0})


def test_a_missing_gap_has_no_margin(tmp_path: Path):
    run: Any = trainer(tmp_path, [pair(1, gap=None), pair(3, gap=2.0)], margin=0.5)
    assert run.train_dataset.margins == [0.0, 0.5]


def test_bfloat16_computation(tmp_path: Path):
    exact = trainer(tmp_path, pairs(8), pairs(8), **OBJECTIVE)
    rough = trainer(tmp_path, pairs(8), pairs(8), bf16=True, **OBJECTIVE)
    assert rough.rewarder.packed
    assert rough.train().training_loss == pytest.approx(exact.train().training_loss, rel=2e-2)
    assert rough.evaluate()["eval_loss"] == pytest.approx(exact.evaluate()["eval_loss"], rel=2e-2)


def test_a_model_that_cannot_be_packed_takes_plain_passes(tmp_path: Path):
    model = tiny_models.model("bert", vocab_size=len(tiny_models.tokenizer()))
    run = trainer(tmp_path, pairs(6), pairs(3), model=model, batch_size=4, tokens_per_device=100)
    assert not run.rewarder.packed
    run.train()
    assert run.evaluate()["eval_loss"] > 0


def test_half_precision_weights_get_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model = tiny_models.model(vocab_size=len(tiny_models.tokenizer()), dtype=torch.bfloat16)
    trainer(tmp_path, pairs(2), model=model)
    assert "rounded away" in caplog.text


def test_a_model_that_is_not_prepared_is_refused(tmp_path: Path):
    config = OpenPRMConfig(str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match="no key 'openprm'"):
        OpenPRMTrainer(tiny_models.model(), config, pairs(2), processing_class=tiny_models.tokenizer())


def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path):
    run = trainer(tmp_path, pairs(8), logging_steps=1)
    run.model.score.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the training loss is nan at step 1; start again with a lower learning rate"):
        run.train()


def test_no_side_is_longer_than_the_models_positions(tmp_path: Path):
    run = trainer(tmp_path, [*pairs(8), pair(9, chosen=" seven" * 300)])  # of 256 positions; the default is 2048
    assert [(one.row, one.reason) for one in run.left_out] == [(8, "overlong")]


def test_rows_that_are_trained_on_are_measured_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = trainer(tmp_path, pairs(4), pairs(2, start=100))
    assert "trained on" not in caplog.text
    run.evaluate(pairs(6))
    assert "4 of 6 questions of the eval pairs are trained on" in caplog.text
