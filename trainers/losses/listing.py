"""What losses there are, as rows for people and programs."""

from __future__ import annotations

import inspect
from typing import Any

from agentrl.trainers.losses.registry import ALIASES, KINDS, get, names
from agentrl.trainers.options import paragraph


def describe() -> list[dict[str, Any]]:
    """Every loss: id, kind, needs, formula (first line of its docstring), source, parity, options with defaults."""
    rows = []
    for kind in KINDS:
        for id in names(kind):
            home, preset = ALIASES.get((kind, id), (id, {}))
            plugin = get(kind, home)
            defaults = {name: field.default for name, field in plugin.options.model_fields.items()} | preset
            first = (inspect.getdoc(plugin.function) or "").partition("\n")[0].replace("``", "")
            rows.append(
                {
                    "id": id,
                    "kind": kind,
                    "formula": first if home == id else f"{home} with {preset}",
                    "source": paragraph(plugin.function, "Source"),
                    "parity": paragraph(plugin.function, "Parity"),
                    "needs": list(plugin.needs),
                    "whole": plugin.whole,
                    "options": defaults,
                }
            )
    return rows
