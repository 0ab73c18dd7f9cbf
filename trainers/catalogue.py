"""Plug-ins by kind and id: bundled ones, loaded when they are first asked for, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from agentrl.errors import UserError, unknown


class Made(Protocol):
    """A plug-in; its function says whose an id is."""

    @property
    def function(self) -> Callable[..., Any]: ...


K = TypeVar("K", bound=str)
P = TypeVar("P", bound=Made)


def homes(package: str, ids: str) -> dict[str, str]:
    """Where the function or class of each id lives: one of the same name in a file of that name, or else as told.

    ``"gae gae-token@gae trace:TRACE"`` ->
    ``{"gae": "PACKAGE.gae:gae", "gae-token": "PACKAGE.gae:gae_token", "trace": "PACKAGE.trace:TRACE"}``
    """
    found = {}
    for word in ids.split():
        place, _, name = word.partition(":")
        id, _, file = place.partition("@")
        found[id] = ":".join((f"{package}.{file or id}", name or id)).replace("-", "_")
    return found


class Catalogue(Generic[K, P]):
    """``builtin``: kind -> id -> ``module:function``; ``nouns``: what a kind is called in messages.

    ``aliases``: ids that stand for others, of which nobody's plug-in takes one.
    """

    def __init__(
        self,
        builtin: Mapping[K, Mapping[str, str]],
        nouns: Mapping[K, str],
        aliases: Collection[tuple[K, str]],
    ) -> None:
        self.builtin, self.nouns, self.aliases = builtin, nouns, aliases
        self.registered: dict[tuple[K, str], P] = {}

    def names(self, kind: K) -> list[str]:
        """Every id of a kind, bundled, aliased and the user's."""
        return sorted({*self.builtin[kind], *(id for k, id in (*self.aliases, *self.registered) if k == kind)})

    def get(self, kind: K, id: str) -> P:
        """A plug-in, imported if need be. Raises UserError with the nearest name where there is none."""
        if (kind, id) not in self.registered:
            if id not in self.builtin[kind]:
                raise unknown(self.nouns[kind], id, self.names(kind))
            import_module(self.builtin[kind][id].partition(":")[0])
        return self.registered[kind, id]

    def add(self, kind: K, id: str, made: P) -> None:
        """Raises UserError where the id is taken. Registering the same function again is no mistake."""
        before, place = self.registered.get((kind, id)), home(made.function)
        taken = home(before.function) if before else self.builtin[kind].get(id, place).replace(":", ".")
        if any(id == alias for _, alias in self.aliases):
            taken = "an alias of agentrl"
        if taken != place:
            raise UserError(f"the {self.nouns[kind]} id {id!r} of {place} is taken by {taken}: choose another")
        self.registered[kind, id] = made


def home(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
