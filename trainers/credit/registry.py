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
from importlib import import_module
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.table import COLUMNS
from agentrl.trainers.options import Spec, check, home, model_of, read, weight_of

Kind = Literal["transform", "estimator", "modulator"]
F = TypeVar("F", bound=Callable[..., Any])
_NONE: Mapping[str, str] = {}

# id -> where its function lives
BUILTIN: dict[Kind, dict[str, str]] = {
    "transform": {
        "agentprm": "agentrl.trainers.credit.agentprm:agentprm",
        "alp": "agentrl.trainers.credit.alp:alp",
        "arena": "agentrl.trainers.credit.arena:arena",
        "brier": "agentrl.trainers.credit.brier:brier",
        "carr": "agentrl.trainers.credit.carr:carr",
        "invalid-penalty": "agentrl.trainers.credit.invalid_penalty:invalid_penalty",
        "otc": "agentrl.trainers.credit.otc:otc",
        "otc-cosine": "agentrl.trainers.credit.otc_cosine:otc_cosine",
        "overlong": "agentrl.trainers.credit.overlong:overlong",
        "potential-shaping": "agentrl.trainers.credit.potential_shaping:potential_shaping",
        "pow3r": "agentrl.trainers.credit.pow3r:pow3r",
        "tool-price": "agentrl.trainers.credit.tool_price:tool_price",
        "toolrl": "agentrl.trainers.credit.toolrl:toolrl",
    },
    "estimator": {
        "appo": "agentrl.trainers.credit.appo:appo",
        "dcpo-sas": "agentrl.trainers.credit.dcpo_sas:dcpo_sas",
        "gae": "agentrl.trainers.credit.gae:gae",
        "gae-token": "agentrl.trainers.credit.gae:gae_token",
        "gdpo": "agentrl.trainers.credit.gdpo:gdpo",
        "gigpo-step": "agentrl.trainers.credit.gigpo:gigpo_step",
        "graft": "agentrl.trainers.credit.graft:graft",
        "graphgpo-step": "agentrl.trainers.credit.graphgpo:graphgpo_step",
        "grpo": "agentrl.trainers.credit.grpo:grpo",
        "hgpo": "agentrl.trainers.credit.hgpo:hgpo",
        "iterresearch": "agentrl.trainers.credit.iterresearch:iterresearch",
        "mc-grpo": "agentrl.trainers.credit.mc_grpo:mc_grpo",
        "mc-value": "agentrl.trainers.credit.mc_value:mc_value",
        "memact": "agentrl.trainers.credit.memact:memact",
        "opob": "agentrl.trainers.credit.opob:opob",
        "prime": "agentrl.trainers.credit.prime:prime",
        "reinforce-pp": "agentrl.trainers.credit.reinforce_pp:reinforce_pp",
        "reinforce-pp-baseline": "agentrl.trainers.credit.reinforce_pp_baseline:reinforce_pp_baseline",
        "riskpo": "agentrl.trainers.credit.riskpo:riskpo",
        "rloo": "agentrl.trainers.credit.rloo:rloo",
        "salt": "agentrl.trainers.credit.salt:salt",
        "spo": "agentrl.trainers.credit.spo:spo",
        "step-grpo": "agentrl.trainers.credit.step_grpo:step_grpo",
        "tree-hard": "agentrl.trainers.credit.tree_hard:tree_hard",
        "tree-soft": "agentrl.trainers.credit.tree_soft:tree_soft",
        "treepo": "agentrl.trainers.credit.treepo:treepo",
    },
    "modulator": {
        "aepo": "agentrl.trainers.credit.aepo:aepo",
        "aspo": "agentrl.trainers.credit.aspo:aspo",
        "clip": "agentrl.trainers.credit.clip:clip",
        "empg": "agentrl.trainers.credit.empg:empg",
        "whiten": "agentrl.trainers.credit.whiten:whiten",
        "xrpo-novelty": "agentrl.trainers.credit.xrpo_novelty:xrpo_novelty",
    },
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


_registered: dict[tuple[Kind, str], Plugin] = {}


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


def names(kind: Kind) -> list[str]:
    """Every id of a kind, bundled, aliased and the user's."""
    aliases = ALIASES if kind == "estimator" else {}
    return sorted({*BUILTIN[kind], *aliases, *(id for k, id in _registered if k == kind)})


def get(kind: Kind, id: str) -> Plugin:
    """The method ``id``, imported if need be. Raises UserError with the nearest name where there is none."""
    if (kind, id) not in _registered:
        if id not in BUILTIN[kind]:
            raise unknown("reward transform" if kind == "transform" else f"credit {kind}", id, names(kind))
        import_module(BUILTIN[kind][id].partition(":")[0])
    return _registered[kind, id]


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
        before = _registered.get((kind, id))
        place, taken = home(function), None
        if before is not None:
            taken = home(before.function)
        elif id in ALIASES or (id in BUILTIN[kind] and BUILTIN[kind][id].replace(":", ".") != place):
            taken = BUILTIN[kind].get(id, "an alias of agentrl")
        if taken is not None and taken != place:
            raise UserError(f"the {kind} id {id!r} of {place} is taken by {taken}: choose another")
        options = model_of(id, function)
        _registered[kind, id] = Plugin(id, kind, function, tuple(needs), dict(needs_if), options, per_token, targets)
        return function

    return decorate
