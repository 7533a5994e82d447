from __future__ import annotations

import pytest
from bench.performance.results import Measurement, Results
from bench.performance.summary import first_reaching, jain_index, median_of, ratio_of

RUN = Results(
    {},
    [
        *(Measurement(number, "ours", "tcp-1", {"gbit": gbit}) for number, gbit in enumerate((5.0, 1.0, 6.0), 1)),
        *(Measurement(number, "bare", "tcp-1", {"gbit": gbit}) for number, gbit in enumerate((20.0, 40.0, 10.0), 1)),
        Measurement(1, "idle", "tcp-1", {"gbit": 0.0}),
    ],
)


def test_a_ratio_is_one_of_medians() -> None:
    assert median_of(RUN, "ours", "tcp-1", "gbit") == 5.0
    assert ratio_of(RUN, "ours", "bare", "tcp-1", "gbit") == pytest.approx(0.25)


def test_what_was_not_measured_has_no_ratio() -> None:
    assert median_of(RUN, "ours", "tcp-4", "gbit") is None
    assert ratio_of(RUN, "ours", "bare", "tcp-4", "gbit") is None
    assert ratio_of(RUN, "ours", "idle", "tcp-1", "gbit") is None


def test_equal_shares_are_fair_and_one_for_all_is_not() -> None:
    assert jain_index([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain_index([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_index([1.0, 2.0, 3.0]) == pytest.approx(36 / 42)
    assert jain_index([0.0, 0.0]) == 0.0
    with pytest.raises(ValueError, match="no shares"):
        jain_index([])


def test_the_first_interval_that_reaches_the_level_counts() -> None:
    series = [(0.2, 1.0), (0.4, 3.0), (0.6, 2.0), (0.8, 3.5)]
    assert first_reaching(series, 3.0) == 0.4
    assert first_reaching(series, 4.0) is None
