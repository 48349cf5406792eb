"""The checks that the other tests lean on: each must be able to fail."""

import pytest

from load import assert_disjoint, assert_increasing, assert_unique


@pytest.mark.parametrize("ids", [[1, 2, 2], [0, 1], [5, -1], [7, 8, 7]])
def test_a_repeated_id_or_one_of_0_or_less_is_found(ids):
    with pytest.raises(AssertionError):
        assert_unique(ids)


@pytest.mark.parametrize("ids", [[2, 1], [1, 1], [1, 5, 4, 9]])
def test_an_id_below_the_one_before_is_found(ids):
    with pytest.raises(AssertionError):
        assert_increasing(ids, "test")


@pytest.mark.parametrize(
    "ranges", [[(1, 1, 10), (10, 1, 5)], [(1, 2, 10), (2, 1, 2)], [(0, 1, 1)], [(5, 1, 5), (1, 1, 5)]]
)
def test_ranges_that_overlap_are_found(ranges):
    with pytest.raises(AssertionError):
        assert_disjoint(ranges)


def test_good_ids_and_ranges_pass():
    assert_unique([3, 1, 2])
    assert_increasing([1, 2, 9], "test")
    assert_disjoint([(11, 1, 5), (1, 1, 10)])
    assert_disjoint([(1, 2, 10), (2, 2, 10)])
