"""``agentrl play``: a person is the policy."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agentrl.cli.options import Plugins, load_plugins
from agentrl.envs import plugins, registry
from agentrl.envs.core import Admissible, Env, key_of
from agentrl.errors import UserError
from agentrl.types import Action, Group, StopReason, Task, ToolCall, Trajectory, Turn, words_of


def play(
    name: Annotated[str, typer.Argument(metavar="ENV", help="[FILE.py:]ID[:SPLIT], as guess.py:Guess-v0.")],
    task: Annotated[str | None, typer.Option(help="Task id; without it the seed picks one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the episode.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to add the episode to, as for sft.")] = None,
    plugin: Plugins = None,
) -> None:
    """Act in an environment yourself: one line is one turn, ? lists what you can do, Ctrl-D ends.

    A tool is called as `compare guess=32`, as `compare 32`, or as {"name": "compare", "arguments": {"guess": 32}}.

    agentrl play guess.py:Guess-v0 --task 3

    agentrl play agentrl/Desktop-v0 -o demos/mine
    """
    load_plugins(plugin)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    at = registry.resolve(name)
    env = registry.make(name)
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    id = env.pick_task(seed, None) if task is None else task_id(at.spec, task)
    played = Trajectory("", Task(at.spec.id, id), seed)
    try:
        whole = _episode(env, console, played)
    finally:
        env.close()
    if out is not None and whole:
        console.print(f"stored in {_add(out, played)}")


def _add(folder: Path, played: Trajectory) -> Path:
    """Store a person's episode beside those that are there."""
    from agentrl import store

    number = len(list(folder.glob("person-*.parquet")))
    played.id = played.group = f"person-{number:06d}"
    path = store.write(folder, played.id, [Group(played.task, played.id, [played])])
    plugins.remember(folder)
    return path


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


def _episode(env: Env, console: Console, played: Trajectory) -> bool:
    """Let a person act; what they did is added to ``played``. False where they left before the end."""
    observation, info = env.reset(seed=played.seed, options={"task": played.task.id})
    console.print("\n".join(filter(None, [env.instructions, _tools(env)])), style="dim")
    over, cost = False, 0.0
    limit = env.max_turns or sys.maxsize
    while not over and len(played.turns) < limit:
        console.print(f"\n{words_of(observation)}")
        turn = Turn(observation, state_key=key_of(env, observation), policy="person")
        turn.action = _ask(env, console, f"[{len(played.turns) + 1}/{limit}] > ")
        if turn.action is None:
            console.print("\nleft")
            return False
        observation, reward, terminated, truncated, info = env.step(turn.action)
        turn.rewards = info.get("rewards") or ({"reward": float(reward)} if reward else {})
        turn.valid, turn.tool_calls = bool(info.get("valid", True)), list(info.get("tool_calls", ()))
        played.turns.append(turn)
        over = terminated or truncated
        cost += sum(record.cost for record in turn.tool_calls)
        played.stop = StopReason.TERMINATED if terminated else StopReason.TRUNCATED if over else StopReason.MAX_TURNS
        played.success = over and bool(info.get("success", played.reward >= 1.0))
    if text := words_of(observation):
        console.print(f"\n{text}")
    ending = "success" if played.success else "over" if over else "turn limit reached"
    told = f"\n{ending}: reward {played.reward:g} in {len(played.turns)} turns"
    console.print(told + (f", tool cost {cost:g}" if cost else ""), style="bold")
    return True


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
