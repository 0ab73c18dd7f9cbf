"""``@tool``: a typed Python function as something an agent can call.

The JSON schema comes from the signature (``Annotated[int, Field(ge=1, description="...")]``) and the docstring, and
the same signature validates what the agent sends.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints, overload

import pydantic
import pydantic_core

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__agentrl_tool__"


class ToolError(Exception):
    """Raised by a tool: the agent reads the message and the episode goes on. Any other exception is a failure."""


class BadCall(ToolError):
    """The call itself meant nothing: no such tool, or arguments that do not fit."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What is known about a tool. ``cost`` is its price in the books; a ``final`` tool returns the reward."""

    name: str
    description: str
    function: Callable[..., Any]
    model: type[pydantic.BaseModel]
    cost: float = 0.0
    final: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The schema in the shape chat templates and servers expect."""
        parameters = _without_titles(self.model.model_json_schema())
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def parse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function's types, or a :class:`BadCall` that names those that do not fit."""
        try:
            parsed = self.model.model_validate(arguments)
        except pydantic.ValidationError as error:
            raise BadCall(
                "; ".join(_complaint(e) for e in error.errors(include_url=False, include_input=False)[:3])
            ) from None
        fields = type(parsed).model_fields
        return {str(fields[field].alias): getattr(parsed, field) for field in sorted(parsed.model_fields_set)}


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, cost: float = 0.0, final: bool = False, name: str | None = None) -> Callable[[F], F]: ...
def tool(
    function: F | None = None, /, *, cost: float = 0.0, final: bool = False, name: str | None = None
) -> F | Callable[[F], F]:
    """Mark a typed function, or a method of a ToolEnv, as a tool. It stays the function it was."""

    def mark(f: F) -> F:
        made = Tool(name or f.__name__, inspect.getdoc(f) or "", f, _arguments(f), cost, final)
        setattr(f, _MARK, made)
        return f

    return mark if function is None else mark(function)


def tool_of(function: object) -> Tool | None:
    """The tool a function or method was marked as."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Tool) else None


def as_text(result: object) -> str:
    """A tool's result as the agent reads it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else pydantic_core.to_json(result, fallback=str).decode()


def _arguments(function: Callable[..., Any]) -> type[pydantic.BaseModel]:
    label = getattr(function, "__qualname__", repr(function))
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"tool {label}: {error}; define the type before the tool, at the top of the module") from None
    fields: dict[str, Any] = {}
    for i, parameter in enumerate(inspect.signature(function).parameters.values()):
        if i == 0 and parameter.name == "self":
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"tool {label}: {parameter} cannot be named by an agent; use ordinary arguments")
        if parameter.name not in hints:
            raise TypeError(f"tool {label}: argument {parameter.name!r} needs a type")
        default = ... if parameter.default is parameter.empty else parameter.default
        # Numbered fields behind aliases: an argument may be called `schema` or `copy`, a model's field may not.
        fields[f"a{i:03}"] = (hints[parameter.name], pydantic.Field(default, alias=parameter.name))
    return pydantic.create_model(label, __config__=pydantic.ConfigDict(extra="forbid"), **fields)


def _complaint(error: Any) -> str:
    where = ".".join(str(part)[:80] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown argument {where!r}"
    if error["type"] == "missing":
        return f"missing argument {where!r}"
    return f"argument {where!r}: {error['msg'][:200]}"


def _without_titles(schema: Any, names: bool = False) -> Any:
    """Drop the titles pydantic makes up: tokens without meaning. ``names``: the keys are names, not keywords."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    data = () if names else ("default", "const", "enum", "examples")  # values, not schemas
    return {
        key: part if key in data else _without_titles(part, names=not names and key in ("properties", "$defs"))
        for key, part in schema.items()
        if names or key != "title"
    }
