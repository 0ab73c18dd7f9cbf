"""``agentrl play``: a person is the policy."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from agentrl.envs import plugins, registry
from agentrl.envs.core import Admissible, Env
from agentrl.errors import UserError
from agentrl.types import Action, ToolCall, words_of


def play(
    name: Annotated[str, typer.Argument(metavar="ENV", help="[FILE.py:]ID[:SPLIT], as guess.py:Guess-v0.")],
    task: Annotated[str | None, typer.Option(help="Task id; without it the seed picks one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the episode.")] = None,
    plugin: Annotated[list[str] | None, typer.Option("--plugin", metavar="PATH", help="Import this first.")] = None,
) -> None:
    """Act in an environment yourself: one line is one turn, ? lists what you can do, Ctrl-D ends.

    A tool is called as `compare guess=32`, as `compare 32`, or as {"name": "compare", "arguments": {"guess": 32}}.

    agentrl play guess.py:Guess-v0 --task 3
    """
    for path in plugin or []:
        plugins.load(path)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    at = registry.resolve(name)
    env = registry.make(name)
    options = None if task is None else {"task": task_id(at.spec, task)}
    try:
        _episode(env, console, seed, options)
    finally:
        env.close()


def task_id(spec: registry.EnvSpec, text: str) -> str | int:
    """A task id as its split holds it; whole numbers are numbers where nothing says otherwise."""
    number = int(text) if text.lstrip("-").isdigit() else None
    if number is None or any(text in tasks for tasks in registry.splits(spec).values() if not isinstance(tasks, range)):
        return text
    return number


def parse_line(line: str, env: Env) -> Action:
    """What a person typed, as an action: JSON, ``tool argument=value ...``, or plain text."""
    parameters = {t["function"]["name"]: list(t["function"]["parameters"].get("properties", {})) for t in env.tools}
    if not parameters:
        return line
    if line.startswith(("{", "[")):
        try:
            calls = json.loads(line)
            made = [
                ToolCall(call["name"], **call.get("arguments", {})) for call in ([calls] if line[0] == "{" else calls)
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError('JSON here is {"name": TOOL, "arguments": {...}}, or a list of such') from None
        return made[0] if line[0] == "{" else made
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not words or words[0] not in parameters:
        return line
    arguments: dict[str, Any] = {}
    free = iter(parameters[words[0]])
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if equals and key.isidentifier():
            arguments[key] = _value(value)
        else:
            arguments[next(free, f"argument_{len(arguments) + 1}")] = _value(word)
    return ToolCall(words[0], **arguments)


def _episode(env: Env, console: Console, seed: int | None, options: dict[str, Any] | None) -> None:
    observation, info = env.reset(seed=seed, options=options)
    console.print("\n".join(filter(None, [env.instructions, _tools(env)])), style="dim")
    total, turn, over, success, cost = 0.0, 0, False, False, 0.0
    limit = env.max_turns or sys.maxsize
    while not over and turn < limit:
        console.print(f"\n{words_of(observation)}")
        action = _ask(env, console, f"[{turn + 1}/{limit}] > ")
        if action is None:
            console.print("\nleft")
            return
        observation, reward, terminated, truncated, info = env.step(action)
        turn, total, over = turn + 1, total + reward, terminated or truncated
        success = bool(info.get("success", False))
        cost += sum(record.cost for record in info.get("tool_calls", []))
    if text := words_of(observation):
        console.print(f"\n{text}")
    ending = "success" if success else "over" if over else "turn limit reached"
    console.print(
        f"\n{ending}: reward {total:g} in {turn} turns" + (f", tool cost {cost:g}" if cost else ""), style="bold"
    )


def _ask(env: Env, console: Console, prompt: str) -> Action | None:
    while True:
        console.print(prompt, end="")
        line = sys.stdin.readline()
        if not line:
            return None
        line = line.rstrip("\n")
        if line.strip() == "?":
            console.print(_tools(env) or _admissible(env) or "any text")
            continue
        try:
            return parse_line(line, env)
        except UserError as error:
            console.print(str(error))


def _tools(env: Env) -> str:
    lines = []
    for function in (tool["function"] for tool in env.tools):
        arguments = " ".join(f"{k}={_kind(v)}" for k, v in function["parameters"].get("properties", {}).items())
        lines.append(f"  {function['name']} {arguments}  {function['description']}")
    return "\n".join(lines)


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(map(str, schema["enum"]))
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']}..{schema['maximum']}"
    return str(schema.get("type", "VALUE")).upper()


def _admissible(env: Env) -> str:
    return "\n".join(f"  {action}" for action in env.admissible_actions()) if isinstance(env, Admissible) else ""


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
