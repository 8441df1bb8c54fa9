from __future__ import annotations

import itertools

import pytest
import torch

from adversaria.data.stream import EpochStream, StepIndices

LENGTH = 23


def test_every_epoch_holds_every_index_once_and_nothing_is_dropped_between():
    stream = EpochStream(LENGTH, seed=3)
    batches = torch.cat([stream.indices(start, 5) for start in range(0, 4 * LENGTH - 5, 5)])
    for epoch in batches[: 3 * LENGTH].split(LENGTH):
        assert sorted(epoch.tolist()) == list(range(LENGTH))


def test_epochs_and_seeds_have_different_orders():
    orders = [EpochStream(LENGTH, seed).indices(epoch * LENGTH, LENGTH).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(first != second for first, second in itertools.combinations(orders, 2))


def test_positions_do_not_depend_on_what_was_asked_before():
    whole = EpochStream(LENGTH, seed=1).indices(0, 10 * LENGTH)
    wandering = EpochStream(LENGTH, seed=1)
    for start, count in ((200, 7), (0, 3), (90, 80), (22, 2), (5, LENGTH)):
        assert torch.equal(wandering.indices(start, count), whole[start : start + count])


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    EpochStream(LENGTH, seed=1).indices(0, 100)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_partition_the_global_batch(world: int):
    whole = EpochStream(LENGTH, seed=1).indices(0, 400)
    for step in range(8):
        ranks = [StepIndices(EpochStream(LENGTH, seed=1), 0, rank, world, 4).at(step) for rank in range(world)]
        assert torch.equal(torch.cat(ranks), whole[step * world * 4 : (step + 1) * world * 4])


def test_a_resumed_stream_is_the_tail_of_an_uninterrupted_one():
    uninterrupted = list(itertools.islice(StepIndices(EpochStream(LENGTH, 1), 0, 1, 2, 4), 12))
    resumed = list(itertools.islice(StepIndices(EpochStream(LENGTH, 1), 7, 1, 2, 4), 5))
    assert torch.equal(torch.stack(uninterrupted[7:]), torch.stack(resumed))
