"""Task ids of many tasks: by kind and seed, or made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import isfunction
from types import ModuleType
from typing import Any, overload


def by_kind(kinds: Iterable[object], **splits: range) -> dict[str, list[str]]:
    """``KIND/SEED`` for every seed of each split, all kinds in turn: ``by_kind(KINDS, train=TRAIN, unseen=UNSEEN)``."""
    named = [str(kind) for kind in kinds]
    return {split: [f"{kind}/{seed}" for seed in seeds for kind in named] for split, seeds in splits.items()}


def functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that a module defines, by name and in order: kinds of tasks, each drawn by its function."""
    own = {name: f for name, f in vars(module).items() if isfunction(f) and f.__module__ == module.__name__}
    return {name: f for name, f in own.items() if not name.startswith("_")}


class Ids(Sequence[str]):
    """``name(0)`` to ``name(length - 1)``; ``holds`` says whether something is one of them."""

    def __init__(self, length: int, name: Callable[[int], str], holds: Callable[[object], bool]) -> None:
        self._length, self._name, self._holds = length, name, holds

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(self._length)[index]
        return [self._name(i) for i in found] if isinstance(found, range) else self._name(found)

    def __contains__(self, task: object) -> bool:
        return self._holds(task)

    def __repr__(self) -> str:
        return f"Ids({self._name(0)} ..., {self._length})"
