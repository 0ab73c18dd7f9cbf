"""Whether two formulas mean the same, by math-verify where it is installed.

What an agent wrote goes through a grammar of numbers, single letters and a few functions before sympy sees it (which
evaluates what it parses), and then only in a process of its own that is held to seconds and memory.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys

_GRAMMAR = re.compile(r"(?:\d+(?:\.\d+)?|(?:sin|cos|tan|exp|log|sqrt)(?=\()|[a-zA-Z](?![a-zA-Z_])|[-+*/^() ,=])+")
_LONGEST = 200
_SECONDS = 300.0  # the limit that counts is of processor time, so that a busy machine judges as an idle one does
_PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from math_verify import parse, verify
left, right = (parse(text, parsing_timeout=None) for text in sys.argv[1:])
print(bool(left and right and verify(right, left, timeout_seconds=None)))
"""


def available() -> bool:
    return importlib.util.find_spec("math_verify") is not None


@functools.lru_cache(maxsize=4096)
def equal(given: str, right: str) -> bool:
    """False for what is no formula, takes too long, or cannot be compared; also without math-verify."""
    if not available() or len(given) > _LONGEST or not _GRAMMAR.fullmatch(given):
        return False
    written = [f"${text.replace('**', '^')}$" for text in (given, right)]
    try:
        run = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *written], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return run.stdout.strip() == "True"
