"""From what a person types, ``grpo,invalid-penalty`` and ``gamma=0.9``, to transforms and credit with their options."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.registry import ALIASES, Kind, Plugin, get, names
from agentrl.trainers.options import Spec, paragraph

KINDS: tuple[Kind, ...] = ("transform", "estimator", "modulator")
_GROUP = {"singleton": "raw", "zero_tol": 0.0}

# The settings of the published code, where that differs from ours; each is named in its method's docstring.
PARITY: dict[str, dict[str, Any]] = {
    "clip": {},
    "gdpo": {"per": "token", "singleton": "raw"},
    "gigpo": {"std": False, "statistics": "rows", **_GROUP},
    "gigpo-step": {"std": False, "zero_tol": 0.0},
    "graphgpo-step": {"zero_tol": 0.0},
    "grpo": {"statistics": "rows", **_GROUP},
    "hgpo": {"singleton": "raw"},
    "invalid-penalty": {"when": "after"},
    "mc-grpo": {"limit": None},
    "reinforce-pp": {},
    "reinforce-pp-baseline": dict(_GROUP),
    "rloo": dict(_GROUP),
    "tree-hard": dict(_GROUP),
    "tree-soft": dict(_GROUP),
    "treepo": {"strategy": "group_size", "singleton": "raw"},
    "whiten": {"per": "token"},
}
PRESETS = ("parity",)


@dataclass(frozen=True)
class Chosen:
    """``rewards`` and ``credit`` as :func:`assign` takes them."""

    rewards: tuple[Spec, ...]
    credit: tuple[Spec, ...]

    @property
    def each(self) -> list[tuple[str, Chosen]]:
        """One for each estimator: it alone, with all transforms and modulators."""
        estimators = [spec for spec in self.credit if _kind(_id(spec)) == "estimator"]
        others = tuple(spec for spec in self.credit if spec not in estimators)
        return [(_id(spec), Chosen(self.rewards, (spec, *others))) for spec in estimators]


def choose(ids: Sequence[str], changes: Mapping[str, Any] | None = None, preset: str | None = None) -> Chosen:
    """Sort ``ids`` by kind and give them ``changes``: ``{option: value}``, or ``{"id.option": value}`` for one of them.

    An option goes to each method that has it. Raises UserError for an unknown id, one named twice, an option that
    none of them has, and a preset that does not know one of them.
    """
    if not ids:
        raise UserError("name at least one estimator, such as grpo")
    kinds = {id: _kind(id) for id in ids}
    if len(kinds) < len(ids):
        twice = next(id for k, id in enumerate(ids) if id in ids[:k])
        raise UserError(f"{twice} is named twice")
    options = {id: _preset(preset, id) for id in ids}
    known = {id: _options(id) for id in ids}
    for name, value in (changes or {}).items():
        one, dot, option = name.partition(".")
        if dot and one not in kinds:
            raise unknown("method before the dot in --set", one, ids)
        takers = [one] if dot else [id for id in ids if name in known[id]]
        option = option if dot else name
        if not takers or option not in known[takers[0]]:
            pool = takers or ids
            raise unknown(f"option of {', '.join(pool)}", option, {o for id in pool for o in known[id]})
        for id in takers:
            options[id][option] = value
    specs = {id: {id: options[id]} for id in ids}
    return Chosen(
        tuple(specs[id] for id in ids if kinds[id] == "transform"),
        tuple(specs[id] for id in ids if kinds[id] != "transform"),
    )


def describe() -> list[dict[str, Any]]:
    """Every method: id, kind, needs, formula (the first line of its docstring), source, options with defaults.

    ``parity``: whether ``preset parity`` knows the settings of published code.
    """
    rows = []
    for kind in KINDS:
        for id in names(kind):
            plugins = _plugins(kind, id)
            first = plugins[0]
            alias = len(plugins) > 1
            rows.append(
                {
                    "id": id,
                    "kind": kind,
                    "needs": sorted({need for plugin in plugins for need in _needs(plugin)}),
                    "formula": " + ".join(p.id for p in plugins) if alias else _doc(first)[0].replace("``", ""),
                    "source": paragraph(plugins[-1].function, "Source"),
                    "parity": "preset parity" if id in PARITY else "none",
                    "options": {name: _default(p, name) for p in plugins for name in p.option_names},
                }
            )
    return rows


def _needs(plugin: Plugin) -> list[str]:
    return [*plugin.needs, *(f"{column} if {option}" for option, column in plugin.needs_if.items())]


def _plugins(kind: Kind, id: str) -> list[Plugin]:
    return [get("estimator", part) for part in ALIASES[id]] if id in ALIASES else [get(kind, id)]


def _kind(id: str) -> Kind:
    for kind in KINDS:
        if id in names(kind):
            return kind
    raise unknown("credit method", id, {name for kind in KINDS for name in names(kind)})


def _id(spec: Spec) -> str:
    return spec if isinstance(spec, str) else next(iter(spec))


def _options(id: str) -> list[str]:
    kind = _kind(id)
    found = [name for plugin in _plugins(kind, id) for name in plugin.option_names]
    return [*dict.fromkeys(found), *(["weight"] if kind == "estimator" else [])]


def _preset(preset: str | None, id: str) -> dict[str, Any]:
    if preset is None:
        return {}
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if id not in PARITY:
        raise UserError(f"preset parity knows no published code's settings of {id}; it knows {', '.join(PARITY)}")
    return dict(PARITY[id])


def _doc(plugin: Plugin) -> list[str]:
    return (inspect.getdoc(plugin.function) or "(no docstring)").splitlines()


def _default(plugin: Plugin, name: str) -> Any:
    field = plugin.options.model_fields[name]
    return "required" if field.is_required() else field.default


def split(text: str | Iterable[str]) -> list[str]:
    """``"a,b"`` -> ``["a", "b"]``."""
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]
