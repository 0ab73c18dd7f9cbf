"""The ``calculator`` tool: arithmetic, exactly where Python's numbers are exact, and nothing else."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from agentrl.tools.tool import ToolError, tool

_BITS = 4096  # of a whole number
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("sqrt", "exp", "log", "log10", "sin", "cos", "tan", "floor", "ceil")},
    **{"abs": abs, "round": round, "min": min, "max": max, "gcd": math.gcd, "lcm": math.lcm},
}
_NAMES = {"pi": math.pi, "e": math.e}


@tool(cache=True)
def calculator(expression: str) -> str:
    """Work out arithmetic such as 3 * (17 + 4) ** 2 / 7; sqrt, log, gcd, round and the like are known."""
    try:
        if len(expression) > 1000:
            raise ToolError("the expression is too long")
        return str(_value(ast.parse(expression.strip(), mode="eval").body))
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ToolError(f"{error}"[:200]) from None
    except SyntaxError as error:
        raise ToolError(f"this is no arithmetic: {error.msg}") from None


def _value(node: ast.AST) -> int | float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _checked(number)
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _value(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b = _value(left), _value(right)
            if isinstance(op, ast.Pow) and isinstance(a, int) and isinstance(b, int) and a.bit_length() * b > _BITS:
                raise ToolError("the number is too large")
            return _checked(_BINARY[type(op)](a, b))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*[_value(arg) for arg in args]))
    raise ToolError(f"this is no arithmetic: {ast.unparse(node)[:80]}")


def _checked(number: Any) -> int | float:
    if isinstance(number, complex):
        raise ToolError("the result is no real number")
    if isinstance(number, int) and number.bit_length() > _BITS:
        raise ToolError("the number is too large")
    return number  # type: ignore[no-any-return]
