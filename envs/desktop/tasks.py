"""The tasks of the desktop by id: ``note-new/0`` is a template and a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from agentrl.envs.desktop import templates as drawn
from agentrl.envs.desktop.templates import Goal
from agentrl.envs.ids import by_kind, functions_of
from agentrl.errors import UserError, unknown
from agentrl.seeds import derive

TRAIN, UNSEEN = range(100), range(100, 112)  # seeds of every template
TEMPLATES: dict[str, Callable[[random.Random], Goal]] = {
    name.replace("_", "-"): draw for name, draw in functions_of(drawn).items()
}


def splits(templates: str = "") -> dict[str, list[str]]:
    """Task ids, template and seed, of all templates or of some (``note-new+calc-sum``). Raises UserError."""
    chosen = templates.split("+") if templates else list(TEMPLATES)
    for template in chosen:
        if template not in TEMPLATES:
            raise unknown("template of Desktop", template, TEMPLATES)
    return by_kind(chosen, train=TRAIN, unseen=UNSEEN)


@lru_cache(maxsize=4096)
def goal_of(task: str) -> Goal:
    """The goal of a task. Raises UserError for an unknown one."""
    template, _, seed = str(task).partition("/")
    if template not in TEMPLATES:
        raise unknown("template of Desktop", template, TEMPLATES)
    if not (seed.isascii() and seed.isdecimal() and int(seed) < UNSEEN.stop):
        raise UserError(f"unknown task {task!r} of Desktop; a task is TEMPLATE/SEED, as note-new/0")
    return TEMPLATES[template](random.Random(derive("desktop task", task)))
