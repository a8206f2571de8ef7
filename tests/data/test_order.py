"""Which samples make which batch, in which process; checked against plain dealing of a list."""

from itertools import chain

import numpy as np
import pytest

from fcnseg.data.order import (
    augmentation_seed,
    batches_in_epoch,
    epoch_batches,
    epoch_order,
    evaluation_share,
)
from fcnseg.errors import UsageError


def test_order_is_a_function_of_seed_and_epoch() -> None:
    assert sorted(epoch_order(50, 1, 2)) == list(range(50))
    assert epoch_order(50, 1, 2) == epoch_order(50, 1, 2)
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_augmentation_seeds_differ_and_stay() -> None:
    seeds = {augmentation_seed(s, e, i) for s in range(5) for e in range(5) for i in range(50)}
    assert len(seeds) == 5 * 5 * 50
    assert augmentation_seed(1, 2, 3) == augmentation_seed(1, 2, 3)


def test_drawing_with_replacement() -> None:
    """Each index comes Poisson(1) times; the draws differ from epoch to epoch, and stay."""
    drawn = [epoch_order(10_000, 1, epoch, "replacement") for epoch in range(2)]
    assert drawn[0] == epoch_order(10_000, 1, 0, "replacement")
    assert drawn[0] != drawn[1]
    times = np.bincount(drawn[0], minlength=10_000)
    assert times.size == 10_000
    expected = np.exp(-1) / np.array([1, 1, 2, 6])  # for 0, 1, 2 and 3 times
    found = [(times == count).mean() for count in range(4)]
    assert found == pytest.approx(expected, abs=0.02)
    with pytest.raises(UsageError, match="--sampling: expected one of once, replacement, got"):
        epoch_order(3, 1, 0, "twice")


def plain_batches(order: list[int], batch_size: int, world_size: int) -> list[list[list[int]]]:
    """Batches, of each the samples of every process."""
    batches = []
    while len(order) >= batch_size * world_size:
        batches.append([[order.pop(0) for _ in range(batch_size)] for _ in range(world_size)])
    if len(order) >= 2 * world_size or not batches:
        shares = [len(share) for share in np.array_split(order, world_size)]
        batches.append([[order.pop(0) for _ in range(share)] for share in shares])
    return batches


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_batches_are_dealt_like_cards(batch_size: int, world_size: int) -> None:
    for length in range(world_size, 40):
        expected = plain_batches(epoch_order(length, 3, 1), batch_size, world_size)
        assert batches_in_epoch(length, batch_size, world_size) == len(expected)
        for rank in range(world_size):
            own = epoch_batches(length, batch_size, 3, 1, rank, world_size)
            assert own == [batch[rank] for batch in expected]


def test_processes_together_have_the_batches_of_one() -> None:
    alone = epoch_batches(40, 8, 0, 5)
    shares = [epoch_batches(40, 2, 0, 5, rank, 4) for rank in range(4)]
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone


def test_more_processes_than_images() -> None:
    text = r"torchrun: 4 processes cannot share 3 training images; lower --nproc-per-node"
    with pytest.raises(UsageError, match=text):
        batches_in_epoch(3, 1, 4)


@pytest.mark.parametrize("world_size", [1, 2, 3, 9])
def test_evaluation_counts_no_image_twice(world_size: int) -> None:
    for length in range(1, 20):
        shares = [evaluation_share(length, 3, rank, world_size) for rank in range(world_size)]
        assert sorted(chain(*shares)) == list(range(length))
        alone = [list(range(length))[start : start + 3] for start in range(0, length, 3)]
        dealt = [share[start : start + 3] for share in shares for start in range(0, len(share), 3)]
        assert sorted(dealt) == alone
