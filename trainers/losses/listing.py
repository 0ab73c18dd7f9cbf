"""What losses there are, as rows for people and programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from agentrl.trainers.losses.registry import ALIASES, KINDS, get, names
from agentrl.trainers.losses.value import value
from agentrl.trainers.options import paragraph
from agentrl.trainers.recipe import ValueConfig


def describe() -> list[dict[str, Any]]:
    """Every loss: id, kind, needs, formula (first line of its docstring), source, parity, options with defaults."""
    rows = []
    for kind in KINDS:
        for id in names(kind):
            home, preset = ALIASES.get((kind, id), (id, {}))
            plugin = get(kind, home)
            row = _row(id, kind, plugin.function, plugin.options) | {"needs": list(plugin.needs), "whole": plugin.whole}
            if home != id:
                row |= {"formula": f"{home} with {preset}", "options": row["options"] | preset}
            rows.append(row)
    # the critic's own: chosen by the recipe's key value, not by its loss
    return [*rows, _row("value", "critic", value, ValueConfig) | {"needs": ["values", "returns"], "whole": False}]


def _row(id: str, kind: str, function: Callable[..., Any], options: type[BaseModel]) -> dict[str, Any]:
    return {
        "id": id,
        "kind": kind,
        "formula": (inspect.getdoc(function) or "").partition("\n")[0].replace("``", ""),
        "source": paragraph(function, "Source"),
        "parity": paragraph(function, "Parity"),
        "options": {name: field.default for name, field in options.model_fields.items()},
    }
