"""Which test sequences are kept, by hand."""

import numpy as np

from framecast.evaluation.kept import kept, worst_first


def test_what_is_not_a_number_is_the_worst_and_equal_ones_stand_by_number() -> None:
    assert worst_first(np.array([1.0, np.nan, 3.0, 1.0, np.nan]), "lower") == [1, 4, 2, 0, 3]
    assert worst_first(np.array([20.0, np.inf, 30.0]), "higher") == [0, 2, 1]


def test_each_sequence_is_kept_once_with_every_reason() -> None:
    own, copied = np.array([5.0, 1.0, 2.0, 3.0, 4.0]), np.array([9.0, 5.0, 6.0, 7.0, 8.0])
    found = {one.sequence: one.why for one in kept(own, copied, 1, "lower")}
    assert found == {
        1: ("first", "copy_last worst", "worst"),
        4: ("copy_last median", "median"),
        2: ("copy_last best", "best"),
    }
    assert [one.sequence for one in kept(np.zeros(1), np.zeros(1), 4, "lower")] == [1]
