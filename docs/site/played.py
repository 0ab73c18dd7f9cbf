"""Transcripts of docs/gallery.md: ``<!-- played: ID TASK TURNS -->`` becomes what environment and expert say."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import agentrl as ar
from agentrl.types import Action, text_of

MARK = re.compile(r"<!-- played: (\S+) (\S+) (\d+) -->")
LINES, COLUMNS = 12, 110  # of one message


def on_page_markdown(markdown: str, **_: Any) -> str:
    return MARK.sub(lambda found: f"```text\n{transcript(found[1], found[2], int(found[3]))}\n```", markdown)


def transcript(id: str, task: str, turns: int) -> str:
    """The first ``turns`` turns of the expert; the whole episode where it is shorter."""
    env: Any = ar.make(id)
    try:
        observation, _ = env.reset(seed=0, options={"task": int(task) if task.isdigit() else task})
        said = [_message(observation)]
        for _ in range(turns):
            action = env.expert()
            observation, reward, terminated, truncated, _ = env.step(action)
            said.append(_action(action))
            if terminated or truncated:
                return "\n".join([*said, f"reward {reward:g}"])
            said.append(_message(observation))
    finally:
        env.close()
    return "\n".join([*said, "..."])


def _message(observation: Any) -> str:
    parts = [observation] if isinstance(observation, str) else [text_of(m["content"]) for m in observation]
    lines = [part for line in "\n".join(parts).splitlines() for part in textwrap.wrap(line, COLUMNS) or [""]]
    return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."])


def _action(action: Action) -> str:
    if isinstance(action, str):
        return f"> {action}"
    given = (f"{name}={_value(value)}" for name, value in action.arguments.items())
    return f"> {action.name}({', '.join(given)})"


def _value(value: Any) -> str:
    """Code on lines of its own."""
    several = isinstance(value, str) and "\n" in value.strip("\n")
    return "\n" + textwrap.indent(value.strip("\n"), "    ") if several else repr(value)
