"""``agentrl tools``: what agents can be given, and how a call answers."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agentrl.cli.options import AsJson
from agentrl.envs import plugins
from agentrl.errors import UserError, unknown
from agentrl.tools import registry
from agentrl.tools.call import Called, call
from agentrl.tools.sandboxes import SANDBOXES, Limits
from agentrl.tools.tool import BadCall, Tool, Toolset, tool_of, tools_of
from agentrl.types import text_of

app = typer.Typer(no_args_is_help=True, help="List and show the tools that agents can be given, and try them.")

Name = Annotated[str, typer.Argument(metavar="TOOL", help="[FILE.py:]NAME, as python or my_tools.py:lookup.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the bundled tools.

    agentrl tools list
    """
    rows = [_find(name)[1] for name in registry.TOOLS]
    if as_json:
        return typer.echo(json.dumps([tool.schema["function"] for tool in rows], indent=2))
    table = Table("tool", "arguments", "", box=None)
    for tool in rows:
        table.add_row(tool.name, ", ".join(tool.arguments), tool.description.split("\n\n")[0])
    Console().print(table)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show the schema that an agent is given, on what terms the tool is called, and what code of its may use.

    agentrl tools show python
    """
    home, tool = _find(name)
    shown = {"schema": tool.schema, "terms": asdict(tool.terms)}
    limits = getattr(home() if isinstance(home, type) else home, "limits", None)
    if isinstance(limits, Limits):
        shown["limits"] = asdict(limits)
    if as_json:
        return typer.echo(json.dumps(shown, indent=2))
    console = Console()
    console.print(f"[bold]{tool.name}[/]: {tool.description}\n", highlight=False)
    console.print_json(json.dumps(shown))


@app.command("call")
def call_(
    name: Name,
    args: Annotated[str, typer.Option("--args", metavar="JSON", help="The arguments, as a JSON object.")] = "{}",
    sandbox: Annotated[
        str | None, typer.Option(help=f"Where code runs: {', '.join(SANDBOXES)}. Only for tools that run code.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Call a tool once and print what an agent would read. Exit code 1 where that is an error.

    A tool that keeps a state begins afresh with every call.

    agentrl tools call python --args '{"code": "print(6*7)"}'
    """
    home, tool = _find(name)
    arguments = _arguments(tool, args)
    kwargs = {} if sandbox is None else {"sandbox": sandbox}
    if kwargs and not (isinstance(home, type) and "sandbox" in inspect.signature(home).parameters):
        raise UserError(f"{tool.name} runs no code, so --sandbox says nothing to it")
    called = asyncio.run(_call(home, tool, arguments, kwargs))
    if as_json:
        typer.echo(json.dumps({"content": called.content, **asdict(called.record)}, indent=2))
    else:
        typer.echo(text_of(called.content))
    raise typer.Exit(0 if called.record.error is None else 1)


async def _call(home: Any, tool: Tool, arguments: dict[str, Any], kwargs: dict[str, Any]) -> Called:
    async def in_thread(function: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(function)

    if not isinstance(home, type | Toolset):
        return await call(tool, home, arguments, in_thread)
    toolset: Toolset = home(**kwargs) if isinstance(home, type) else copy.copy(home)
    attribute = next(attribute for attribute, found in tools_of(home).items() if found is tool)
    try:
        toolset.reset()
        return await call(tool, getattr(toolset, attribute), arguments, in_thread)
    finally:
        toolset.close()


def _find(name: str) -> tuple[Any, Tool]:
    """The function, the Toolset or the class of one, and the tool of it that is meant."""
    file, _, wanted = name.rpartition(":")
    if not file:
        home = registry.home_of(wanted)
        found = {wanted: home}
    else:
        if not Path(file).is_file():
            raise UserError(f"{file} is no file; tools are named NAME or FILE.py:NAME")
        found = _tools_in(vars(plugins.load(file)))
    if wanted not in found:
        raise unknown(f"tool of {file}", wanted, found)
    home = found[wanted]
    tools = list(tools_of(home).values()) if isinstance(home, type | Toolset) else [tool_of(home)]
    return home, next(tool for tool in tools if tool is not None and tool.name == wanted)


def _tools_in(names: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in names.values():
        if isinstance(value, Toolset) or (isinstance(value, type) and issubclass(value, Toolset)):
            found |= {tool.name: value for tool in tools_of(value).values()}
        elif (tool := tool_of(value)) is not None:
            found[tool.name] = value
    return found


def _arguments(tool: Tool, text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise UserError(f"--args is no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise UserError(f'--args must be a JSON object, as {{"{next(iter(tool.arguments), "name")}": ...}}')
    for name in arguments:
        if name not in tool.arguments:
            raise unknown(f"argument of {tool.name}", name, tool.arguments)
    try:
        tool.parse(arguments)
    except BadCall as error:
        raise UserError(f"{tool.name}: {error}") from None
    return arguments
