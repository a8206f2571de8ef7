"""Splitting a source into a training and a validation part."""

import pickle

import numpy as np
import pytest

from fcnseg.data.sample import Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.subset import split
from fcnseg.errors import DataError


def test_parts_are_disjoint_complete_and_a_function_of_the_seed() -> None:
    source = Shapes("train", 20, size=(48, 48))
    rest, part = split(source, 0.1, seed=3)
    ids = [[half.id(i) for i in range(len(half))] for half in (rest, part)]
    assert [len(rest), len(part)] == [18, 2]
    assert sorted(ids[0] + ids[1]) == [source.id(i) for i in range(20)]
    again = split(source, 0.1, seed=3)[1]
    assert [again.id(i) for i in range(2)] == ids[1]
    assert isinstance(part, Source)
    assert part.classes == source.classes

    whole = {source.id(i): i for i in range(20)}
    copy = pickle.loads(pickle.dumps(part))
    assert np.array_equal(copy[0].image, source[whole[ids[1][0]]].image)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_part_is_empty(fraction: float) -> None:
    assert all(len(half) for half in split(Shapes("train", 2, size=(48, 48)), fraction, 0))


def test_one_sample_cannot_be_split() -> None:
    with pytest.raises(DataError, match="has 1 pair, too few"):
        split(Shapes("train", 1, size=(48, 48)), 0.5, 0)
