"""What two formulas have in common, and what is no formula."""

import pytest

from agentrl.envs.code import symbolic
from agentrl.envs.code.symbolic import equal


@pytest.mark.parametrize(
    ("given", "right", "same"),
    [
        ("C + X**2/2", "X**2/2 + C", True),
        ("X^2/2 + C", "X**2/2 + C", True),
        ("X**3/2 + C", "X**2/2 + C", False),
        ("__import__('os').getcwd()", "1", False),
        ("().__class__", "1", False),
        ("9**9**9**9**9**9", "1", False),
        ("x" * 300, "1", False),
        ("", "1", False),
    ],
)
def test_formulas_are_compared_by_what_they_mean(given, right, same):
    assert equal(given, right) is same


def test_without_the_package_nothing_is_equal(monkeypatch):
    monkeypatch.setattr(symbolic, "available", lambda: False)
    assert equal("Y + 1", "1 + Y") is False
