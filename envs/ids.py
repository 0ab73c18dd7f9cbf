"""Task ids of many tasks: by kind and seed, or made when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from inspect import isfunction
from types import ModuleType
from typing import Any, overload

_NUMBER = re.compile("[0-9]{5}")


def by_kind(kinds: Iterable[object], **splits: range) -> dict[str, list[str]]:
    """``KIND/SEED`` for every seed of each split, all kinds in turn: ``by_kind(KINDS, train=TRAIN, unseen=UNSEEN)``."""
    named = [str(kind) for kind in kinds]
    return {split: [f"{kind}/{seed}" for seed in seeds for kind in named] for split, seeds in splits.items()}


def functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that a module defines, by name and in order: kinds of tasks, each drawn by its function."""
    own = {name: f for name, f in vars(module).items() if isfunction(f) and f.__module__ == module.__name__}
    return {name: f for name, f in own.items() if not name.startswith("_")}


class Ids(Sequence[str]):
    """``PREFIX-00000``, ``PREFIX-00001`` and so on, ``each`` of every prefix; the prefixes take turns."""

    def __init__(self, prefixes: Sequence[str], each: int) -> None:
        self._prefixes, self._each = prefixes, each

    def __len__(self) -> int:
        return len(self._prefixes) * self._each

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(len(self))[index]
        return [self._name(i) for i in found] if isinstance(found, range) else self._name(found)

    def __contains__(self, task: object) -> bool:
        prefix, _, number = task.rpartition("-") if isinstance(task, str) else ("", "", "")
        return prefix in self._prefixes and _NUMBER.fullmatch(number) is not None and int(number) < self._each

    def __repr__(self) -> str:
        return f"Ids({self._name(0)} ..., {len(self)})"

    def _name(self, index: int) -> str:
        number, prefix = divmod(index, len(self._prefixes))
        return f"{self._prefixes[prefix]}-{number:05d}"
