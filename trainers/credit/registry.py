"""Names for credit methods: one function a file, loaded when it is first asked for.

    @estimator("first-half", needs=["outcome"])
    def first_half(table, state, *, gamma: float = 1.0):
        return advantages, state

A transform is ``(table, state) -> (table, state)``, an estimator ``(table, state) -> (advantages [N], state)``, a
modulator ``(table, advantages, state) -> (advantages, state)``. ``state`` is what the function returned last time,
None at first; plain data, since it is saved with checkpoints. Keyword-only parameters are the options.

An estimator that is ``per_token`` gives [T], an advantage for each sampled token. The sum is then by token, and only
modulators that are ``per_token`` (they take either) may change it. ``targets`` is what an estimator that is given
``values`` says they should have been: ``(table, *, options) -> [N] or [T]``; a value head learns from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from agentrl.errors import unknown
from agentrl.trainers.catalogue import Catalogue, homes
from agentrl.trainers.credit.table import COLUMNS
from agentrl.trainers.options import Spec, check, model_of, read, weight_of

Kind = Literal["transform", "estimator", "modulator"]
F = TypeVar("F", bound=Callable[..., Any])
_NONE: Mapping[str, str] = {}

BUILTIN: dict[Kind, dict[str, str]] = {
    "transform": homes(
        "agentrl.trainers.credit",
        "agentprm alp arena brier carr invalid-penalty otc otc-cosine overlong potential-shaping pow3r tool-price "
        "toolrl",
    ),
    "estimator": homes(
        "agentrl.trainers.credit",
        "appo dcpo-sas gae gae-token@gae gdpo gigpo-step@gigpo graft graphgpo-step@graphgpo grpo hgpo iterresearch "
        "mc-grpo mc-value memact opob prime reinforce-pp reinforce-pp-baseline riskpo rloo salt spo step-grpo "
        "tree-hard tree-soft treepo",
    ),
    "modulator": homes("agentrl.trainers.credit", "aepo aspo clip empg whiten xrpo-novelty"),
}
# id -> the estimators it stands for; an option goes to each of them that has it
ALIASES: dict[str, tuple[str, ...]] = {
    "gigpo": ("grpo", "gigpo-step"),
    "graphgpo": ("grpo", "graphgpo-step"),
}


@dataclass(frozen=True)
class Plugin:
    """A registered credit method."""

    id: str
    kind: Kind
    function: Callable[..., Any]
    needs: tuple[str, ...]
    needs_if: Mapping[str, str]  # option -> the column that is needed too where it is set, and not 0
    options: type[BaseModel]
    per_token: bool = False
    targets: Callable[..., Any] | None = None

    @property
    def option_names(self) -> list[str]:
        return list(self.options.model_fields)


@dataclass(frozen=True)
class Bound:
    """A credit method with its options chosen."""

    plugin: Plugin
    options: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that the method needs with these options."""
        return (*self.plugin.needs, *(c for option, c in self.plugin.needs_if.items() if self.options[option]))

    @property
    def reward_names(self) -> list[str]:
        """The rewards that its options ``weights`` and ``rubric`` name."""
        rubric = [self.options["rubric"]] if "rubric" in self.options else []
        return [*(self.options.get("weights") or ()), *rubric]

    def __call__(self, *arguments: Any) -> tuple[Any, Any]:
        result: tuple[Any, Any] = self.plugin.function(*arguments, **self.options)
        return result


METHODS: Catalogue[Kind, Plugin] = Catalogue(
    BUILTIN,
    {"transform": "reward transform", "estimator": "credit estimator", "modulator": "credit modulator"},
    [("estimator", id) for id in ALIASES],
)
names, get = METHODS.names, METHODS.get


def estimator(
    id: str,
    *,
    needs: Sequence[str] = (),
    needs_if: Mapping[str, str] = _NONE,
    per_token: bool = False,
    targets: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Register ``(table, state, *, options) -> (advantages [N] float64, state)`` under ``id``.

    ``needs``: columns of the turn table that must be filled, ``score:NAME`` for a score; ``needs_if``: option ->
    column that must be filled where that option is set.
    """
    return _register("estimator", id, needs, needs_if, per_token, targets)


def transform(id: str, *, needs: Sequence[str] = (), needs_if: Mapping[str, str] = _NONE) -> Callable[[F], F]:
    """Register ``(table, state, *, options) -> (table, state)``, which changes rewards or penalties."""
    return _register("transform", id, needs, needs_if)


def modulator(
    id: str, *, needs: Sequence[str] = (), needs_if: Mapping[str, str] = _NONE, per_token: bool = False
) -> Callable[[F], F]:
    """Register ``(table, advantages, state, *, options) -> (advantages, state)``."""
    return _register("modulator", id, needs, needs_if, per_token)


def bind(spec: Spec, kinds: Sequence[Kind]) -> list[Bound]:
    """Read ``"id"`` or ``{id: {option: value}}``; an alias gives several.

    ``weight`` is an option of every estimator. Raises UserError for an unknown id or option, or a value of the wrong
    type or out of range.
    """
    id, options = read(spec, "credit method")
    if id in ALIASES and "estimator" in kinds:
        return _bind_alias(id, options)
    kind = next((kind for kind in kinds if id in names(kind)), None)
    if kind is None:
        what = "reward transform" if "transform" in kinds else "credit method"
        raise unknown(what, id, [name for kind in kinds for name in names(kind)])
    return [_bind(get(kind, id), options)]


def _bind_alias(id: str, options: dict[str, Any]) -> list[Bound]:
    plugins = [get("estimator", part) for part in ALIASES[id]]
    known = {"weight", *(name for plugin in plugins for name in plugin.option_names)}
    for name in options:
        if name not in known:
            raise unknown(f"option of {id}", name, known)
    return [
        _bind(plugin, {k: v for k, v in options.items() if k == "weight" or k in plugin.option_names})
        for plugin in plugins
    ]


def _bind(plugin: Plugin, options: dict[str, Any]) -> Bound:
    options = dict(options)
    weighted = plugin.kind == "estimator"
    weight = weight_of(plugin.id, options) if weighted else 1.0
    return Bound(plugin, check(plugin.id, plugin.options, options, ["weight"] if weighted else []), weight)


def _register(
    kind: Kind,
    id: str,
    needs: Sequence[str],
    needs_if: Mapping[str, str],
    per_token: bool = False,
    targets: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    for column in (*needs, *needs_if.values()):
        if column not in COLUMNS and not column.startswith("score:"):
            raise unknown(f"column that {id} needs:", column, COLUMNS)

    def decorate(function: F) -> F:
        options = model_of(id, function)
        made = Plugin(id, kind, function, tuple(needs), dict(needs_if), options, per_token, targets)
        METHODS.add(kind, id, made)
        return function

    return decorate
