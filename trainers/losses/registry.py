"""Names for losses: one function a file, loaded when it is first asked for.

    @policy("ppo")
    def ppo(rows, *, low: float = 0.2, high: float = 0.2):
        return -torch.minimum(...)

All see the flat rows of trained tokens (:class:`~agentrl.trainers.batching.Rows`, [n]) and nothing of layouts. A
policy loss and a term give one value a row, which the row's weight multiplies, or a single number, which is added as
it is; a correction gives a factor a row, through which no gradient flows. Keyword-only parameters are the options.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel

from agentrl.errors import UserError, unknown
from agentrl.trainers.options import Spec, check, home, model_of, read, weight_of

if TYPE_CHECKING:
    import torch

Kind = Literal["policy", "correction", "term"]
F = TypeVar("F", bound=Callable[..., Any])
KINDS: tuple[Kind, ...] = ("policy", "correction", "term")
# what the trainer can put into rows; a loss that needs something else needs a scorer that gives it
GIVEN = (
    "entropies",
    "reference",
    "sampler",
    "lag",
    "success",
    "group",
    "episode_turn",
    "demonstration",
    "teacher",
    "full",
)

# id -> where its function lives
BUILTIN: dict[Kind, dict[str, str]] = {
    "policy": {
        "aepo": "agentrl.trainers.losses.aepo:aepo",
        "bapo": "agentrl.trainers.losses.bapo:bapo",
        "chord": "agentrl.trainers.losses.chord:chord",
        "cispo": "agentrl.trainers.losses.cispo:cispo",
        "dcpo": "agentrl.trainers.losses.dcpo:dcpo",
        "disco": "agentrl.trainers.losses.disco:disco",
        "dpo": "agentrl.trainers.losses.dpo:dpo",
        "dppo": "agentrl.trainers.losses.dppo:dppo",
        "gmpo": "agentrl.trainers.losses.gmpo:gmpo",
        "gspo": "agentrl.trainers.losses.gspo:gspo",
        "gspo-token": "agentrl.trainers.losses.gspo:gspo_token",
        "minpro": "agentrl.trainers.losses.minpro:minpro",
        "ppo": "agentrl.trainers.losses.ppo:ppo",
        "sapo": "agentrl.trainers.losses.sapo:sapo",
    },
    "correction": {
        "mis": "agentrl.trainers.losses.staleness:mis",
        "opsm": "agentrl.trainers.losses.staleness:opsm",
        "tis": "agentrl.trainers.losses.staleness:tis",
        "veto": "agentrl.trainers.losses.staleness:veto",
    },
    "term": {
        "ce": "agentrl.trainers.losses.imitation:ce",
        "consistency": "agentrl.trainers.losses.consistency:consistency",
        "distil": "agentrl.trainers.losses.imitation:distil",
        "entropy": "agentrl.trainers.losses.entropy:entropy",
        "epo": "agentrl.trainers.losses.entropy:epo",
        "kl": "agentrl.trainers.losses.kl:kl",
    },
}
# id -> the loss it stands for, and the options that make it so
ALIASES: dict[tuple[Kind, str], tuple[str, dict[str, Any]]] = {
    ("policy", "dapo"): ("ppo", {"high": 0.28}),
    ("correction", "icepop"): ("mis", {"level": "token"}),
}

_NOUN = {"policy": "policy loss", "correction": "correction", "term": "loss term"}


@dataclass(frozen=True)
class Plugin:
    """A registered loss. ``whole``: it must see all rows of the optimiser step at once."""

    id: str
    kind: Kind
    function: Callable[..., Any]
    needs: tuple[str, ...]
    whole: bool
    options: type[BaseModel]


@dataclass(frozen=True)
class Bound:
    """A loss with its options chosen."""

    plugin: Plugin
    options: dict[str, Any]
    weight: float = 1.0

    def __call__(self, rows: Any) -> torch.Tensor:
        result: torch.Tensor = self.plugin.function(rows, **self.options)
        return result


_registered: dict[tuple[Kind, str], Plugin] = {}


def policy(id: str, *, needs: Sequence[str] = (), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> loss [n] or []`` under ``id``."""
    return _register("policy", id, needs, whole)


def correction(id: str, *, needs: Sequence[str] = ("sampler",), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> factor [n]`` of the policy loss."""
    return _register("correction", id, needs, whole)


def term(id: str, *, needs: Sequence[str] = (), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> loss [n] or []``, which is added with the recipe's ``weight``."""
    return _register("term", id, needs, whole)


def names(kind: Kind) -> list[str]:
    """Every id of a kind, bundled, aliased and the user's."""
    aliases = (id for k, id in ALIASES if k == kind)
    return sorted({*BUILTIN[kind], *aliases, *(id for k, id in _registered if k == kind)})


def get(kind: Kind, id: str) -> Plugin:
    """The loss ``id``, imported if need be. Raises UserError with the nearest name where there is none."""
    if (kind, id) not in _registered:
        if id not in BUILTIN[kind]:
            raise unknown(_NOUN[kind], id, names(kind))
        import_module(BUILTIN[kind][id].partition(":")[0])
    return _registered[kind, id]


def bind(spec: Spec, kind: Kind) -> Bound:
    """Read ``"id"`` or ``{id: {option: value}}``. A term takes a ``weight`` as well."""
    id, options = read(spec, _NOUN[kind])
    if (kind, id) in ALIASES:
        id, preset = ALIASES[kind, id]
        options = {**preset, **options}
    plugin = get(kind, id)
    weight = weight_of(id, options) if kind == "term" else 1.0
    return Bound(plugin, check(id, plugin.options, options, ["weight"] if kind == "term" else []), weight)


def _register(kind: Kind, id: str, needs: Sequence[str], whole: bool) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        before, place = _registered.get((kind, id)), home(function)
        taken = home(before.function) if before else BUILTIN[kind].get(id, place).replace(":", ".")
        if (kind, id) in ALIASES:
            taken = "an alias of agentrl"
        if taken != place:
            raise UserError(f"the {_NOUN[kind]} id {id!r} of {place} is taken by {taken}: choose another")
        _registered[kind, id] = Plugin(id, kind, function, tuple(needs), whole, model_of(id, function))
        return function

    return decorate
