"""Tries of sequences, the prefixes they share, and the inputs of a pass."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openprm.scoring.packing import Pack, batches, collate, pack, share
from tests import tiny_models

sequences = st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=9), min_size=1, max_size=8)
#: Sequences with a common prefix, so that there is something to share.
related = st.builds(
    lambda start, rests: [start + rest for rest in rests], st.lists(st.integers(3, 6), max_size=5), sequences
)


def walk(packed: Pack, end: int) -> list[int]:
    tokens = []
    while end >= 0:
        tokens.append(packed.tokens[end])
        end = packed.parents[end]
    return tokens[::-1]


@given(sequences)
def test_walking_back_from_an_end_gives_the_sequence_and_prefixes_are_kept_once(rows):
    packed = pack(rows)
    assert [walk(packed, end) for end in packed.ends] == rows
    assert len(packed.tokens) == len({tuple(row[:size]) for row in rows for size in range(1, len(row) + 1)})
    for index, parent in enumerate(packed.parents):
        assert parent < index
        assert packed.depths[index] == (packed.depths[parent] + 1 if parent >= 0 else 0)


def test_an_empty_sequence_is_an_error_and_no_sequences_are_an_empty_pack():
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        pack([[1], []])
    assert pack([]) == Pack([], [], [], [])


@given(related)
def test_what_is_left_without_the_prefix_follows_it(rows):
    packed = pack(rows)
    prefix = packed.prefix()
    size = len(prefix)
    assert all(row[:size] == prefix and len(row) > size for row in rows)
    assert size == min(len(row) for row in rows) - 1 or len({row[size] for row in rows}) > 1
    rest = packed.without_prefix(size)
    assert [prefix + walk(rest, end) for end in rest.ends] == rows
    assert rest.depths == packed.depths[size:]


# --- what is shared ---


def saved(clusters) -> int:
    return sum(len(cluster.tokens) * (len(cluster.items) - 1) for cluster in clusters)


def most_saved(rows, shortest) -> int:
    """What is saved if the prefix of all rows is computed once, or those of the parts with the same next token."""
    level = len([*itertools.takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))])
    if len({tuple(row) for row in rows}) == 1:
        return level * (len(rows) - 1) if level >= shortest else 0
    parts = [[row for row in rows if row[level : level + 1] == [token]] for token in (3, 4)]
    within = sum(most_saved(part, shortest) for part in parts if part)
    return max(within, level * (len(rows) - 1) if level >= shortest else 0)


@given(st.lists(st.lists(st.integers(3, 4), max_size=6), max_size=6), st.integers(1, 3))
def test_what_is_shared_is_one_prefix_or_those_within_it_whichever_saves_more(rows, shortest):
    clusters = share(rows, shortest)
    assert sorted(index for cluster in clusters for index in cluster.items) == list(range(len(rows)))
    for cluster in clusters:
        assert all(rows[index][: len(cluster.tokens)] == cluster.tokens for index in cluster.items)
        assert len(cluster.tokens) >= shortest or (not cluster.tokens and len(cluster.items) == 1)
    assert saved(clusters) == (most_saved(rows, shortest) if rows else 0)


def test_many_rows_each_within_the_next_are_no_trouble():
    clusters = share([[7] * size for size in range(1, 3000)], 1)
    assert sum(len(cluster.items) for cluster in clusters) == 2999
    assert share([], 1) == []


# --- the inputs of a pass ---


class Config:
    _attn_implementation = "sdpa"

    def __init__(self, window=None):
        self.sliding_window = window

    def get_text_config(self):
        return self


@given(related, related, st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=60)
def test_a_token_sees_its_ancestors_within_the_window_and_nothing_else(rows, others, window):
    whole = [pack(rows), pack(others)]
    cuts = [len(packed.prefix()) for packed in whole]
    packs = [packed.without_prefix(cut) for packed, cut in zip(whole, cuts, strict=True)]
    inputs = collate(packs, 0, Config(window), torch.float32, "cpu")
    mask = inputs["attention_mask"]
    length = max(len(packed.tokens) for packed in packs)
    assert mask.shape == (2, 1, length, max(cuts) + length)
    for row, (packed, cut) in enumerate(zip(whole, cuts, strict=True)):
        assert inputs["position_ids"][row, : len(packed.tokens) - cut].tolist() == packed.depths[cut:]
        for query in range(cut, len(packed.tokens)):
            seen, node = set(), query
            while node >= 0 and (window is None or len(seen) < window):
                seen.add(node if node < cut else max(cuts) + node - cut)
                node = packed.parents[node]
            assert set((mask[row, 0, query - cut] == 0).nonzero().flatten().tolist()) == seen
    assert set(mask.unique().tolist()) <= {0.0, torch.finfo(torch.float32).min}
    assert (mask.max(-1).values == 0).all(), "padding must see something too, or a softmax is NaN"


def test_a_layer_type_that_no_mask_can_express_is_an_error():
    config = tiny_models.model("qwen3").config
    config.layer_types = ["full_attention", "chunked_attention"]
    with pytest.raises(ValueError, match="chunked_attention"):
        collate([pack([[1]])], 0, config, torch.float32, "cpu")


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(0, 60))
def test_batches_hold_everything_once_within_the_budget(lengths, max_tokens):
    made = batches(lengths, max_tokens)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= max_tokens
    assert all(
        len(batch) == 1 or all(lengths[index] <= 9 for index in batch) for batch in batches(lengths, max_tokens, 9)
    )


def test_after_the_longest_batch_the_others_come_in_a_mixed_order():
    lengths = list(range(1, 101))
    sizes = [max(lengths[index] for index in batch) for batch in batches(lengths, 100)]
    assert sizes[0] == 100
    assert sizes[1:] not in (sorted(sizes[1:]), sorted(sizes[1:], reverse=True))
    assert batches(lengths, 100) == batches(lengths, 100)
    assert batches([], 100) == []
