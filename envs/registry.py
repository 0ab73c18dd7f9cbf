"""The registry: ids, how to build an environment, its splits and its turn limit.

Nothing is imported before it is needed: an entry point may be a ``"module:Class"`` string, splits a
``"module:function"`` string that is called with the environment's arguments. Everything is registered with
gymnasium too, so that ``gymnasium.make(id)`` works; inside, :func:`make` builds the bare environment.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import gymnasium

from agentrl.envs import plugins
from agentrl.envs.core import Env
from agentrl.errors import UserError, unknown

E = TypeVar("E", bound=Env)
Splits = Mapping[str, Sequence[Any]]

_ID = re.compile(r"(?:[\w-]+/)?[\w.-]+-v\d+")
_NAME = re.compile(r"(?:(?P<file>.+\.py):)?(?P<id>[^:]+)(?::(?P<split>[^:]+))?")


@dataclass(frozen=True)
class EnvSpec:
    """One registered environment. ``random_success`` is declared where random play succeeds often."""

    id: str
    entry_point: str | type[Env]
    splits: Splits | str
    max_turns: int
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    random_success: float | None = None
    extra: str | None = None  # the extra of the package that brings its dependencies
    source: str | None = None  # the file that registered it

    @property
    def target(self) -> str:
        """The entry point as ``module:Class``."""
        at = self.entry_point
        return at if isinstance(at, str) else f"{at.__module__}:{at.__qualname__}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What ``[FILE.py:]ID[:SPLIT]`` names."""

    spec: EnvSpec
    split: str | None = None


_specs: dict[str, EnvSpec] = {}


@overload
def register(
    id: str,
    *,
    splits: Splits | str,
    max_turns: int,
    kwargs: Mapping[str, Any] | None = None,
    random_success: float | None = None,
    extra: str | None = None,
) -> Callable[[type[E]], type[E]]: ...
@overload
def register(
    id: str,
    *,
    entry_point: str | type[Env],
    splits: Splits | str,
    max_turns: int,
    kwargs: Mapping[str, Any] | None = None,
    random_success: float | None = None,
    extra: str | None = None,
) -> None: ...
def register(
    id: str,
    *,
    entry_point: str | type[Env] | None = None,
    splits: Splits | str,
    max_turns: int,
    kwargs: Mapping[str, Any] | None = None,
    random_success: float | None = None,
    extra: str | None = None,
) -> Callable[[type[E]], type[E]] | None:
    """Register an environment: as a decorator of its class, or with a lazy ``entry_point="module:Class"``.

    Registering the same class of the same file again changes nothing; the same id from another file is an error.
    """
    caller = sys._getframe(1).f_globals
    source = str(Path(caller["__file__"]).resolve()) if caller.get("__file__") else None

    def add(at: str | type[Env]) -> None:
        _add(EnvSpec(id, at, splits, max_turns, dict(kwargs or {}), random_success, extra, source))
        plugins.note(caller["__name__"])

    def decorate(cls: type[E]) -> type[E]:
        add(cls)
        cls.task_source = staticmethod(lambda: split(_specs[id], "train"))
        return cls

    if entry_point is None:
        return decorate
    add(entry_point)
    return None


def spec(id: str) -> EnvSpec:
    """The registered environment, after a look at what the project and installed packages offer."""
    if id not in _specs:
        plugins.discover()
    if id not in _specs:
        raise unknown("environment", id, _specs)
    return _specs[id]


def listed() -> list[EnvSpec]:
    """Everything registered, whether or not its dependencies are installed."""
    plugins.discover()
    return [_specs[id] for id in sorted(_specs)]


def resolve(name: str) -> Resolved:
    """Parse ``[FILE.py:]ID[:SPLIT]``, from the right, importing the file once."""
    if name.endswith(".py"):
        source = plugins.load(name).__file__
        ids = ", ".join(f"{name}:{s.id}" for s in _specs.values() if s.source == source) or "it registers none"
        raise UserError(f"{name} is a file; name an environment in it: {ids}")
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"{name!r} is not an environment; names look like [FILE.py:]ID[:SPLIT], as guess.py:Guess-v0:unseen"
        )
    if match["file"]:
        plugins.load(match["file"])
    found = Resolved(spec(match["id"]), match["split"])
    if found.split is not None:  # a typing error shows here, before anything is loaded
        split(found.spec, found.split)
    return found


def make(name: str, /, **kwargs: Any) -> Env:
    """Build the bare environment, without gymnasium's wrappers. A split in the name is the one seeds pick from."""
    at = resolve(name)
    merged = {**at.spec.kwargs, **kwargs}
    with _dependencies(at.spec):
        cls = _class(at.spec)
        _check_arguments(at.spec, cls, merged)
        env = cls(**merged)
    if env.max_turns is None:
        env.max_turns = at.spec.max_turns
    if at.split is not None or "task_source" not in vars(env):
        env.task_source = functools.partial(split, at.spec, at.split or "train", kwargs)
    return env


def at_once(id: str) -> int | None:
    """How many episodes of an environment a machine can hold side by side; None: many. Raises UserError."""
    found = spec(id)
    with _dependencies(found):
        return _class(found).at_once


def split(spec: EnvSpec, name: str, kwargs: Mapping[str, Any] | None = None) -> Sequence[Any]:
    """The task ids of one split."""
    found = splits(spec, kwargs)
    if name not in found:
        raise unknown(f"split of {spec.id}", name, found)
    if not len(found[name]):
        raise UserError(f"split {name!r} of {spec.id} is empty")
    return found[name]


def splits(spec: EnvSpec, kwargs: Mapping[str, Any] | None = None) -> Splits:
    """All splits of an environment built with these arguments."""
    if not isinstance(spec.splits, str):
        return spec.splits
    with _dependencies(spec):
        function = _import(spec.splits)
        if kwargs:
            _check_arguments(spec, _class(spec), kwargs)
    merged = {**spec.kwargs, **(kwargs or {})}
    parameters = inspect.signature(function).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):  # few arguments say which tasks there are
        merged = {p.name: merged[p.name] for p in parameters if p.name in merged}
    found: Splits = function(**merged)
    return found


def spec_of(cls: type[Env]) -> EnvSpec | None:
    """The registration of a class, where it has one."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    return next((s for s in _specs.values() if s.entry_point is cls or s.target == target), None)


def in_main(spec: EnvSpec) -> bool:
    """Whether only this very process knows the class: it was defined in a script or a notebook cell."""
    return spec.target.startswith("__main__:")


def _add(new: EnvSpec) -> None:
    if not _ID.fullmatch(new.id):
        raise UserError(f"environment id {new.id!r} must look like Name-v0 or group/Name-v0")
    if new.max_turns < 1:
        raise UserError(f"environment {new.id}: max_turns must be at least 1, not {new.max_turns}")
    if not new.splits:
        raise UserError(
            f'environment {new.id} needs splits, for example {{"train": range(100), "unseen": range(100, 120)}}'
        )
    old = _specs.get(new.id)
    notebook = old is not None and old.source is new.source is None
    if old is not None and old.target != new.target and not notebook:
        if (old.source, old.target.partition(":")[2]) == (new.source, new.target.partition(":")[2]):
            return  # one file under two module names: a plugin, and a plain import of the user's
        first, second = (spec.target if old.source == new.source else spec.source or spec.target for spec in (old, new))
        raise UserError(f"environment {new.id} is registered twice: in {first} and in {second}")
    _specs[new.id] = new  # the newest definition of a class counts: a reload, a notebook cell run again
    gymnasium.registry.pop(new.id, None)
    gymnasium.register(new.id, functools.partial(make, new.id), order_enforce=False, disable_env_checker=True)


def _class(spec: EnvSpec) -> type[Env]:
    cls = _import(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    if not (isinstance(cls, type) and issubclass(cls, Env)):
        raise UserError(f"environment {spec.id}: {spec.target} is not a subclass of agentrl.Env")
    return cls


def _import(target: str) -> Any:
    module, _, name = target.partition(":")
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _check_arguments(spec: EnvSpec, cls: type[Env], kwargs: Mapping[str, Any]) -> None:
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for name in kwargs:
        if name not in known:
            raise unknown(f"argument of {spec.id}", name, known)


@contextlib.contextmanager
def _dependencies(spec: EnvSpec) -> Iterator[None]:
    """Turn the ImportError of a missing optional dependency into the command that mends it."""
    try:
        yield
    except ImportError as error:
        cure = f"; to mend it: pip install 'agentrl-toolkit[{spec.extra}]'" if spec.extra else ""
        raise UserError(f"environment {spec.id} cannot be imported: {error}{cure}") from error
