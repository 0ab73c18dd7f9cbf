"""Errors that are the user's to mend: one line, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. The message names the culprit and, where there is one, the cure."""


def unknown(kind: str, name: object, known: Iterable[object]) -> UserError:
    """``unknown environment 'Gues-v0'; did you mean 'Guess-v0'? Known: ...``"""
    names = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    listed = ", ".join(names[:30]) + (" ..." if len(names) > 30 else "")
    return UserError(f"unknown {kind} {str(name)!r}{hint} Known: {listed or 'none'}")
