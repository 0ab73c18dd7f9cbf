"""Suites: fixed lists of tasks, bundled as YAML or named by an environment and a split."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentrl.envs import registry
from agentrl.errors import UserError, unknown
from agentrl.types import Task

REFERENCES = ("random", "idle", "expert", "small")
DEFAULT_TASKS = 256  # of a split that is longer


class Part(BaseModel):
    """``first`` tasks of a split of one environment (``[FILE.py:]ID``), of those that ``ids`` match (``tell_phone/*``).

    ``level`` says how hard they are, in the suite's own words; success is reported by level where there are several.
    """

    model_config = ConfigDict(extra="forbid")

    env: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    split: str = "unseen"
    ids: list[str] | None = Field(None, min_length=1)
    first: int | None = Field(None, ge=1)
    level: str = ""


class Suite(BaseModel):
    """What is played: the tasks of all parts, ``attempts`` times each, with replies of at most ``turn_tokens``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    description: str = ""
    parts: list[Part]
    attempts: int = Field(1, ge=1)
    temperature: float = Field(1.0, ge=0)
    turn_tokens: int = Field(256, ge=1)
    reference: dict[str, float] = Field(default_factory=dict)  # success of the policies of REFERENCES

    def tasks(self) -> list[Task]:
        return [task for task, _ in self.placed()]

    def placed(self) -> list[tuple[Task, Part]]:
        """Every task, with the part that it is of."""
        return [(task, part) for part in self.parts for task in _tasks(part)]


def bundled() -> dict[str, Path]:
    folder = Path(str(resources.files("agentrl") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def file_of(name: str) -> Path | None:
    """The file of a bundled suite or of one's own; None where the name is an environment's."""
    path = bundled().get(name) or Path(name)
    return path if path.suffix == ".yaml" and path.is_file() else None


def load(
    name: str, *, allow_train: bool = False, kwargs: dict[str, Any] | None = None, first: int | None = None
) -> Suite:
    """A bundled suite, a YAML file, or ``[FILE.py:]ENV[:SPLIT]`` (unseen by default) with these ``kwargs``.

    The suite of an environment has at least ``first`` tasks, where its split does.
    Raises UserError for an unknown name, for the split train unless ``allow_train``, and for ``kwargs`` of a suite,
    which has its own.
    """
    if path := file_of(name):
        if kwargs:
            raise UserError(
                f"the suite {name} has its own arguments; {next(iter(kwargs))} can be set for an environment"
            )
        suite = read(path)
    else:
        suite = _of_environment(name, kwargs or {}, max(DEFAULT_TASKS, first or 0))
    for part in suite.parts:
        if part.split == "train" and not allow_train:
            raise UserError(f"{suite.name} evaluates on the training ids of {part.env}; --allow-train permits it")
    return suite


def read(path: Path) -> Suite:
    """The suite of a YAML file. Raises UserError where it is none."""
    try:
        return Suite.model_validate({"name": path.stem, **yaml.safe_load(path.read_text())})
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path} is no suite: {' '.join(str(error).split())[:300]}") from None


def joined(found: Sequence[Suite]) -> Suite:
    """One suite of the parts of several, played as the first is."""
    name, parts = " + ".join(suite.name for suite in found), [part for suite in found for part in suite.parts]
    return found[0].model_copy(update={"name": name, "parts": parts})


def _of_environment(name: str, kwargs: dict[str, Any], most: int) -> Suite:
    try:
        found = registry.resolve(name)
    except UserError:
        if "-v" in name:
            raise
        raise unknown("suite", name, [*bundled(), *(spec.id for spec in registry.listed())]) from None
    split = found.split or "unseen"
    ids = registry.split(found.spec, split, kwargs)
    part = Part(env=found.spec.id, kwargs=kwargs, split=split, first=min(most, len(ids)))
    return Suite(name=f"{found.spec.id}:{split}", parts=[part])


def _tasks(part: Part) -> list[Task]:
    found = registry.resolve(part.env)  # with its file, as on the command line
    if found.split is not None:
        raise UserError(f"{part.env} in a suite: its split is a key of its own, split: {found.split}")
    spec = found.spec
    ids = registry.split(spec, part.split, part.kwargs)
    if part.ids is not None:
        ids = [id for id in ids if any(fnmatchcase(str(id), wanted) for wanted in part.ids)]
        if not ids:
            raise UserError(f"no task of {part.env}:{part.split} is called {' or '.join(part.ids)}")
    if part.first is not None and part.first > len(ids):
        raise UserError(f"{part.env}:{part.split} has {len(ids)} tasks, the suite wants {part.first}")
    return [Task(spec.id, id, tuple(sorted(part.kwargs.items()))) for id in ids[: part.first]]
