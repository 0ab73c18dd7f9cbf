import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.tools import ToolError
from agentrl.tools.calculator import calculator


@pytest.mark.parametrize(
    ("expression", "value"),
    [("3 * (17 + 4) ** 2 / 7", "189.0"), ("-2 ** 2", "-4"), ("gcd(12, 18) + round(2.6)", "9"), ("sqrt(2) == 1", None),
     ("2 ** 10 % 7", "2"), ("lcm(4, 6) // 5", "2"), ("pi", "3.141592653589793"), (" 1 + 1 ", "2")],
)  # fmt: skip
def test_arithmetic(expression, value):
    if value is None:
        with pytest.raises(ToolError):
            calculator(expression)
    else:
        assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["9 ** 9 ** 9", "10 ** 5000", "__import__('os')", "(1).real", "[1]", "True + 1", "x", "1 / 0", "(-8) ** 0.5", "",
     "'a' * 10", "(" * 500, "1" * 2000, "sqrt(-1)", "round(1, 2, 3)", "1 if 1 else 2", "9" * 900 + "**2**2"],
)  # fmt: skip
def test_anything_else_is_refused_in_a_line(expression):
    with pytest.raises(ToolError) as refused:
        calculator(expression)
    assert len(str(refused.value).splitlines()) == 1


@given(st.text(alphabet="0123456789.+-*/%() ,eabsqrtlogmincd", max_size=40))
def test_any_text_is_answered_or_refused(text):
    with contextlib.suppress(ToolError):
        assert calculator(text)
