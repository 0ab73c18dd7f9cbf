"""Random play: the floor every environment is measured against."""

from __future__ import annotations

import random
from typing import Any

from agentrl.envs.core import Admissible, Env
from agentrl.types import Action, ToolCall

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def random_action(env: Env, rng: random.Random) -> Action:
    """Uniform over the admissible actions; else a random tool with arguments its schema allows; else a word."""
    if isinstance(env, Admissible):
        actions = env.admissible_actions()
        if actions:
            return rng.choice(actions)
    if env.tools:
        function = rng.choice(env.tools)["function"]
        return ToolCall(
            function["name"], **_value(function["parameters"], rng, function["parameters"].get("$defs", {}))
        )
    return _word(rng)


def _value(schema: dict[str, Any], rng: random.Random, defs: dict[str, Any], depth: int = 0) -> Any:
    """A value that a JSON schema allows, for the part of JSON schema that signatures give."""
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], rng, defs, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return _value(rng.choice(options) if depth < 8 else options[-1], rng, defs, depth + 1)
    match schema.get("type", "string"):
        case "integer":
            low, high = _bounds(schema, step=1)
            return rng.randint(int(low), int(high))
        case "number":
            return rng.uniform(*_bounds(schema, step=1e-6))
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case "array":
            least = schema.get("minItems", 0)
            n = rng.randint(least, min(schema.get("maxItems", least + 3), least + 3)) if depth < 8 else least
            parts = schema.get("prefixItems", [])  # of a tuple
            rest = [schema.get("items", {})] * (n - len(parts))
            return [_value(part, rng, defs, depth + 1) for part in [*parts, *rest]]
        case "object":
            required = schema.get("required", [])
            fields = schema.get("properties", {}).items()
            chosen = [(k, part) for k, part in fields if k in required or rng.random() < 0.5]
            return {k: _value(part, rng, defs, depth + 1) for k, part in chosen}
        case _:
            return _word(rng)[: schema.get("maxLength")].ljust(schema.get("minLength", 0), "a")


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    low = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    return low, low + 100 if high is None else high


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, k=rng.randint(1, 8)))


def slip(env: Env, rng: random.Random) -> str | None:
    """A command with the last words (a name and its number) of another: what a careless player types.

    None where the environment lists no text commands, or where every try would mean something.
    """
    if not hasattr(env, "admissible_actions"):
        return None
    commands = [c for c in env.admissible_actions() if isinstance(c, str)]
    known = set(commands)
    for _ in range(8 if commands else 0):
        verb, name = rng.choice(commands).split(), rng.choice(commands).split()
        made = " ".join(verb[:-2] + name[-2:])
        if len(verb) > 2 and len(name) > 2 and made not in known:
            return made
    return None
