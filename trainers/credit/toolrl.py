"""ToolRL: a turn is paid for its form, and for how near its tool calls are to those that were wanted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers.credit.prices import charged
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable
from agentrl.types import ToolCall


@transform("toolrl")
def toolrl(table: TurnTable, state: Any) -> tuple[TurnTable, Any]:
    """``r'_t = r_t + format_t + match_t``, format in {0, 1} and match in [-3, 3].

    ``match`` is a score that the environment gives with each step, :func:`match` of the calls made and wanted.
    ``format`` is a score too (:func:`well_formed`), or, where nobody gives it, whether the turn was valid. A turn
    that was no valid action has format 0 and match -3 where it has no score.

    Source: ToolRL (qiancheng0/ToolRL, rlla.py). Confidence high in the formula; its schedules are left out.
    """
    nobody = np.full(len(table), np.nan)
    form, near = (table.scores.get(name, nobody) for name in ("format", "match"))
    lacks = np.isnan(near) & table.valid
    if lacks.any():
        raise UserError(f"toolrl needs the score 'match' of each turn, and {table.where(int(lacks.argmax()))} has none")
    form = np.where(np.isnan(form), table.valid, form)
    return charged(table, -(form + np.where(np.isnan(near), -3.0, near))), state


def match(made: Sequence[ToolCall], wanted: Sequence[ToolCall]) -> float:
    """``6 S / S_max - 3``, in [-3, 3]; 0 where no call is wanted.

    ``S``: the Jaccard index of the tools' names (as multisets), and for each wanted call the best unused call of its
    name: Jaccard index of the parameters' names, and one for each parameter with the wanted value. ``S_max = 1 + sum
    (1 + parameters)`` is what equal calls get. A wanted call takes its best from those left, in order.
    """
    if not wanted:
        return 0.0
    score = _jaccard([call.name for call in made], [call.name for call in wanted])
    left = list(made)
    for call in wanted:
        same = [other for other in left if other.name == call.name]
        if same:
            best = max(same, key=lambda other: _alike(other.arguments, call.arguments))
            left.remove(best)
            score += _alike(best.arguments, call.arguments)
    return 6 * score / (1 + sum(1 + len(call.arguments) for call in wanted)) - 3


def well_formed(text: str, call: bool, response: bool) -> bool:
    """Whether ``text`` is ``<think>``, then ``<tool_call>`` if ``call``, then ``<response>`` if ``response``.

    Each once, closed, in this order, none that is not wanted, and nothing between them but space.
    """
    tags = ["think", *(["tool_call"] if call else []), *(["response"] if response else [])]
    found = re.findall(r"</?(?:think|tool_call|response)>", text)
    if found != [tag for name in tags for tag in (f"<{name}>", f"</{name}>")]:
        return False
    pieces = re.split(r"</?(?:think|tool_call|response)>", text)
    return not any(outside.strip() for outside in pieces[::2])


def _alike(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    equal = sum(name in mine and bool(mine[name] == value) for name, value in theirs.items())
    return _jaccard(list(mine), list(theirs)) + equal


def _jaccard(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Of multisets; 1 where both are empty."""
    one, two = Counter(a), Counter(b)
    union = (one | two).total()
    return (one & two).total() / union if union else 1.0
