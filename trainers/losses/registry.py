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
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel

from agentrl.trainers.catalogue import Catalogue, homes
from agentrl.trainers.options import Spec, check, model_of, read, weight_of

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

BUILTIN: dict[Kind, dict[str, str]] = {
    "policy": homes(
        "agentrl.trainers.losses",
        "aepo bapo chord cispo dcpo disco dpo dppo gmpo gspo gspo-token@gspo minpro ppo sapo",
    ),
    "correction": homes("agentrl.trainers.losses", "mis@staleness opsm@staleness tis@staleness veto@staleness"),
    "term": homes("agentrl.trainers.losses", "ce@imitation consistency distil@imitation entropy epo@entropy kl"),
}
# id -> the loss it stands for, and the options that make it so
ALIASES: dict[tuple[Kind, str], tuple[str, dict[str, Any]]] = {
    ("policy", "dapo"): ("ppo", {"high": 0.28}),
    ("correction", "icepop"): ("mis", {"level": "token"}),
}

_NOUN: dict[Kind, str] = {"policy": "policy loss", "correction": "correction", "term": "loss term"}


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


LOSSES: Catalogue[Kind, Plugin] = Catalogue(BUILTIN, _NOUN, ALIASES)
names, get = LOSSES.names, LOSSES.get


def policy(id: str, *, needs: Sequence[str] = (), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> loss [n] or []`` under ``id``."""
    return _register("policy", id, needs, whole)


def correction(id: str, *, needs: Sequence[str] = ("sampler",), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> factor [n]`` of the policy loss."""
    return _register("correction", id, needs, whole)


def term(id: str, *, needs: Sequence[str] = (), whole: bool = False) -> Callable[[F], F]:
    """Register ``(rows, *, options) -> loss [n] or []``, which is added with the recipe's ``weight``."""
    return _register("term", id, needs, whole)


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
        LOSSES.add(kind, id, Plugin(id, kind, function, tuple(needs), whole, model_of(id, function)))
        return function

    return decorate
