"""``agentrl``: the verbs are listed here and imported only when typed, so that ``agentrl --help`` is instant."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from agentrl.errors import UserError, unknown

# verb -> (home, help line); a home that is a typer app has sub-commands, one that is a function is the command
COMMANDS: dict[str, tuple[str, str]] = {
    "envs": ("agentrl.cli.envs:app", "List, show and check environments; add your own."),
    "init": ("agentrl.cli.new:init", "Make a project: environment, tool, estimator, recipe, suite, tests."),
    "new": ("agentrl.cli.new:app", "Write a small working environment, tool, estimator or loss."),
    "play": ("agentrl.cli.play:play", "Act in an environment yourself."),
    "collect": ("agentrl.cli.collect:collect", "Play episodes with any policy and store them."),
    "sft": ("agentrl.cli.sft:sft", "Train a policy to imitate stored episodes."),
    "dpo": ("agentrl.cli.dpo:dpo", "Train a policy to prefer its successes over its failures."),
    "replay": ("agentrl.cli.replay:replay", "Take stored episodes again and say where they differ."),
    "train": ("agentrl.cli.train:train", "Train a policy by reinforcement learning."),
    "eval": ("agentrl.cli.evaluate:evaluate", "Measure a policy's success, with intervals."),
    "compare": ("agentrl.cli.compare:compare", "Compare two policies on the same tasks."),
    "learn": ("agentrl.cli.learn:learn", "Update a policy by the sessions of agent programs."),
    "serve": ("agentrl.cli.serve:serve", "Serve a policy to agent programs and keep their sessions."),
    "tools": ("agentrl.cli.tools:app", "List and show the tools of agents, and try them."),
    "doctor": ("agentrl.cli.doctor:doctor", "Say what runs here, and whether a policy can be trained."),
    "export": ("agentrl.cli.export:export", "Write a policy as a transformers folder with a model card."),
    "losses": ("agentrl.cli.losses:app", "List the losses that a recipe can name."),
    "traj": ("agentrl.cli.traj:app", "List, filter, show and export stored trajectories."),
    "view": ("agentrl.cli.view:view", "Look into runs in the browser, or write one page."),
    "credit": ("agentrl.cli.credit:app", "Say which turn earned what; check methods against numbers."),
}

# modules that an extra brings, for the hint where they are missing
_EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "starlette": "serve",
    "uvicorn": "serve",
}
_MENDABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
}

EXAMPLES = """[bold]Examples[/bold]

agentrl train household-tiny\n
agentrl new env maze && agentrl envs check maze.py:Maze-v0\n
agentrl collect guess.py:Guess-v0 --policy expert --noise 0.3 -n 1000 -o demos/\n
agentrl sft demos/ --from-scratch 1m -o policies/guess\n
agentrl train guess.py:Guess-v0 --policy policies/guess -o runs/guess\n
agentrl eval household-unseen --policy runs/guess -k 4 --json\n
agentrl credit explain runs/guess --group 0 --estimators grpo,gigpo
"""


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and help lines, and imports a command only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, *rest = args
        if name in COMMANDS:
            return name, load(name), rest
        if ctx.resilient_parsing:  # shell completion
            return None, None, rest
        raise unknown("command", name, COMMANDS)


def load(name: str) -> Any:
    """Import the command ``name`` of :data:`COMMANDS`. Raises UserError where an optional dependency is missing."""
    module, attribute = COMMANDS[name][0].split(":")
    try:
        home = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise UserError(
            f"agentrl {name} needs {error.name}, which is not installed: pip install 'agentrl-toolkit[{extra}]'"
        ) from error
    if isinstance(home, typer.Typer):
        return typer.main.get_group(home)
    single = typer.Typer(add_completion=False)
    single.command()(home)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, epilog=EXAMPLES, rich_markup_mode="rich", pretty_exceptions_enable=False
)


def _version(asked: bool) -> None:
    if asked:
        from agentrl import __version__

        typer.echo(f"agentrl {__version__}")
        raise typer.Exit()


@app.callback(help="Train language agents by reinforcement learning over many turns.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(argv: list[str] | None = None) -> None:
    """Run the command line. What the user can mend ends with one line on stderr and exit code 2."""
    try:
        typer.main.get_command(app)(argv, prog_name="agentrl")
    except UserError as error:
        _fail(" ".join(str(error).split("\n")))
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        where = f": {error.filename}" if error.filename is not None else ""
        _fail(f"{os.strerror(error.errno)}{where}")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)
