"""The step shrinks with the effective number of trajectories."""

import math

import pytest

from agentrl.trainers import vcpo


def test_equal_weights_leave_the_rate_and_one_that_rules_divides_it_by_their_number() -> None:
    one = [60.0] + [0.0] * 9
    assert vcpo.rate([0.3] * 8, 1.0, "sqrt") == pytest.approx(1.0)
    assert vcpo.rate(one, 1.0, "linear") == pytest.approx(0.1)
    assert vcpo.rate(one, 1.0, "sqrt") == pytest.approx(math.sqrt(0.1))
    assert vcpo.rate(one, 0.05, "linear") == 1.0


def test_huge_weights_do_not_overflow_and_none_change_nothing() -> None:
    assert vcpo.rate([1000.0, 1000.0], 1.0, "linear") == pytest.approx(1.0)
    assert vcpo.rate([-1000.0, -1000.0], 1.0, "linear") == pytest.approx(1.0)
    assert vcpo.rate([], 1.0, "sqrt") == 1.0
