"""``@tool``: a typed Python function as something an agent can call.

The JSON schema comes from the signature (``Annotated[int, Field(ge=1, description="...")]``) and the docstring, and
the same signature validates what the agent sends.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_type_hints, overload

import pydantic
import pydantic_core

from agentrl.types import Content, Part, is_part

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__agentrl_tool__"


class ToolError(Exception):
    """Raised by a tool: the agent reads it and the episode goes on. Any other exception is a failure.

    ``content`` is what the agent reads where that is more than the message.
    """

    def __init__(self, message: str, content: str | None = None) -> None:
        super().__init__(message)
        self.content = f"error: {message}" if content is None else content


class BadCall(ToolError):
    """The call itself meant nothing: no such tool, or arguments that do not fit."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs: per call, per second that it takes, per 1,000 tokens of result (four characters each)."""

    call: float = 0.0
    second: float = 0.0
    tokens: float = 0.0

    def of(self, seconds: float, characters: int) -> float:
        return self.call + self.second * seconds + self.tokens * characters / 4000


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a tool is called.

    ``seconds`` is its time limit. A coroutine is cancelled then; a plain function cannot be, and is left behind in its
    thread. ``max_chars`` cuts the result. ``rate`` is how many calls a second this process makes at most; more wait.
    ``cache`` keeps the results of a plain function that always gives the same for the same arguments; a kept result
    costs what the call would, so that luck is no reward.
    """

    price: Price = Price()
    final: bool = False
    seconds: float | None = None
    max_chars: int = 65_536
    rate: float | None = None
    cache: bool = False


@dataclass(frozen=True, slots=True)
class Tool:
    """What is known about a tool. A ``final`` tool returns the reward."""

    name: str
    description: str
    function: Callable[..., Any]
    model: type[pydantic.BaseModel]
    terms: Terms = Terms()

    @property
    def final(self) -> bool:
        return self.terms.final

    @property
    def schema(self) -> dict[str, Any]:
        """The schema in the shape chat templates and servers expect."""
        parameters = _without_titles(self.model.model_json_schema())
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    @property
    def arguments(self) -> list[str]:
        """Their names."""
        return [str(field.alias) for field in self.model.model_fields.values()]

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
def tool(
    *,
    cost: float | Price = 0.0,
    final: bool = False,
    name: str | None = None,
    seconds: float | None = None,
    max_chars: int = 65_536,
    rate: float | None = None,
    cache: bool = False,
) -> Callable[[F], F]: ...
def tool(
    function: F | None = None, /, *, cost: float | Price = 0.0, name: str | None = None, **terms: Any
) -> F | Callable[[F], F]:
    """Mark a typed function, or a method of a ToolEnv or Toolset, as a tool. It stays the function it was.

    ``cost`` is a price per call, or a :class:`Price`; the rest are :class:`Terms`.
    """
    made = Terms(price=cost if isinstance(cost, Price) else Price(call=cost), **terms)

    def mark(f: F) -> F:
        if made.cache and "self" in inspect.signature(f).parameters:
            raise TypeError(f"tool {f.__qualname__}: only a plain function can be cached, a method has a state")
        setattr(f, MARK, Tool(name or f.__name__, inspect.getdoc(f) or "", f, _arguments(f), made))
        return f

    return mark if function is None else mark(function)


class Toolset:
    """Tools that share a state: a session, a connection. Methods marked with ``@tool`` are its tools.

    A ToolEnv takes one as a class attribute (``python = Python()``) and every instance works on a copy of its own, so
    the constructor only notes what ``reset`` later opens. ``snapshot_level`` says what of the state an environment can
    save (exact), bring back by repeating the calls (replay), or neither (none). ``at_once`` is how many a machine can
    hold side by side, where it is not many.
    """

    snapshot_level: ClassVar[str] = "none"
    blocking: ClassVar[bool] = True  # its tools take their time, so they run in the environment's thread
    at_once: ClassVar[int | None] = None

    def reset(self) -> None:
        """Begin afresh."""

    def close(self) -> None:
        """Give back what is held; may be called twice, and before any reset."""


def tools_of(home: object) -> dict[str, Tool]:
    """The tools among the attributes of a class or an object, by attribute, in the order they were defined."""
    cls = home if isinstance(home, type) else type(home)
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    return {name: tool for name in names if (tool := tool_of(getattr(cls, name, None))) is not None}


def tool_of(function: object) -> Tool | None:
    """The tool a function or method was marked as."""
    found = getattr(function, MARK, None)
    return found if isinstance(found, Tool) else None


def as_content(result: object) -> Content:
    """A tool's result as the agent reads it: text and content parts as they are, anything else as JSON."""
    if isinstance(result, list) and result and all(is_part(part) for part in result):
        return result
    return result if isinstance(result, str) else pydantic_core.to_json(result, fallback=str).decode()


def cut(content: Content, limit: int) -> Content:
    """At most ``limit`` characters of text, and a note of what is missing."""
    if isinstance(content, str):
        over = len(content) - limit
        return content if over <= 0 else f"{content[:limit]}\n... {over} characters cut"
    parts: list[Part] = []
    for part in content:
        text = part.get("text", "")
        parts.append({**part, "text": str(cut(text, limit))} if len(text) > limit else part)
        limit = max(0, limit - len(text))
    return parts


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
