import asyncio
import inspect
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentrl.tools import BadCall, Tool, tool, tool_of
from agentrl.tools.tool import as_content


def made(function: object) -> Tool:
    found = tool_of(function)
    assert found is not None
    return found


def call(function: object, **arguments: Any) -> Any:
    return made(function).function(**made(function).parse(arguments))


@tool(cost=0.5)
def search(query: Annotated[str, Field(min_length=2, description="what to look for")], limit: int = 3) -> list[str]:
    """Find pages.

    Best first.
    """
    return [query] * limit


def test_schema_comes_from_signature_and_docstring() -> None:
    schema = made(search).schema
    assert schema == {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Find pages.\n\nBest first.",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "query": {"type": "string", "minLength": 2, "description": "what to look for"},
                    "limit": {"type": "integer", "default": 3},
                },
                "required": ["query"],
            },
        },
    }


def test_a_tool_stays_the_function_it_was() -> None:
    assert search("abc", limit=1) == ["abc"]
    assert inspect.isfunction(search)
    assert tool_of(len) is None


def test_options() -> None:
    @tool(final=True, name="finish")
    def done() -> float:
        """End."""
        return 1.0

    assert (made(done).name, made(done).final, made(done).terms.price.call) == ("finish", True, 0.0)
    assert made(search).terms.price.call == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "missing argument 'query'"),
        ({"query": "ab", "limt": 2}, "unknown argument 'limt'"),
        ({"query": "a"}, "argument 'query': String should have at least 2 characters"),
        ({"query": None}, "argument 'query': Input should be a valid string"),
        ({"query": "ab", "limit": "many"}, "argument 'limit': Input should be a valid integer"),
        ({"query": "ab", "limit": [[]]}, "argument 'limit': Input should be a valid integer"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(BadCall) as error:
        call(search, **arguments)
    assert message in str(error.value)
    assert len(str(error.value)) < 200


def test_huge_nonsense_gives_a_short_message() -> None:
    with pytest.raises(BadCall) as error:
        call(search, **{"x" * 100_000: 1, "query": "a"})
    assert len(str(error.value)) < 1000


def test_arguments_become_the_types_of_the_signature() -> None:
    class Colour(Enum):
        RED = "red"

    class Point(BaseModel):
        x: int

    seen = []

    @tool
    def draw(at: Point, colour: Colour, kind: Literal["dot", "line"] = "dot", width: int | None = None) -> None:
        """Draw."""
        seen.append((at, colour, kind, width))

    call(draw, at={"x": "3"}, colour="red")
    call(draw, at={"x": 1}, colour="red", width=2)
    assert seen == [(Point(x=3), Colour.RED, "dot", None), (Point(x=1), Colour.RED, "dot", 2)]
    assert "$ref" in str(made(draw).schema)


def test_argument_names_that_a_model_could_not_have() -> None:
    @tool
    def odd(schema: int, copy: int, json: int, model_fields: int, title: str, name: str) -> list[object]:
        """Odd names."""
        return [schema, copy, json, model_fields, title, name]

    assert call(odd, schema=1, copy=2, json=3, model_fields=4, title="t", name="n") == [1, 2, 3, 4, "t", "n"]
    properties = made(odd).schema["function"]["parameters"]["properties"]
    assert list(properties) == ["schema", "copy", "json", "model_fields", "title", "name"]
    assert properties["title"] == {"type": "string"}


def test_what_an_agent_could_not_call_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"untyped.*argument 'a' needs a type"):

        @tool
        def untyped(a) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="cannot be named by an agent"):

        @tool
        def many(*numbers: int) -> None: ...

    with pytest.raises(TypeError, match="define the type before the tool"):

        @tool
        def later(a: "Later") -> None: ...  # noqa: F821


def test_coroutines() -> None:
    @tool
    async def fetch(n: int) -> int:
        """Wait."""
        await asyncio.sleep(0)
        return n

    assert asyncio.run(call(fetch, n=2)) == 2


def test_results_as_content() -> None:
    @dataclass
    class Point:
        x: int

    assert as_content("plain") == "plain"
    assert as_content({"a": [1, None]}) == '{"a":[1,null]}'
    assert as_content(Point(3)) == '{"x":3}'
    assert as_content(None) == "null"
    assert as_content(object).startswith('"<class')
