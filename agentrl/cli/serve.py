"""``agentrl serve``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from agentrl.cli.options import Engine, Seed
from agentrl.errors import UserError
from agentrl.policies.base import Policy
from agentrl.policies.load import load_policy
from agentrl.serve.server import Server


def serve(
    policy: Annotated[str, typer.Option(help="Bundled name, folder, run folder or hub name.")] = "small",
    engine: Engine = "transformers",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for ended sessions.")] = Path("sessions"),
    host: Annotated[str, typer.Option(help="Address to listen on; anybody who reaches it may use it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="Of all draws; none: as programs ask.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Serve a policy to agent programs (OpenAI's chat completions) and keep what they did with it.

    A program needs no change but its address: base_url is http://HOST:PORT/sessions/NAME/v1, a NAME a session.
    POST {"reward": 1.0, "task": "..."} to .../v1/reward ends the session.

    Examples:

        agentrl serve --policy runs/last -o sessions/

        agentrl credit explain sessions/ --group 0 --estimators grpo
    """
    with contextlib.closing(load_policy(policy, engine=engine)) as loaded:
        if not isinstance(loaded.policy, Policy):
            raise UserError(f"serve needs a policy of tokens, and {policy} is none")
        app = Server(loaded.policy, out, seed=seed, temperature=temperature).app()
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        with contextlib.closing(config.bind_socket()) as socket:
            socket.listen(1024)  # who reads the line may connect at once
            at, number = socket.getsockname()[:2]
            typer.echo(f"serving {policy} at http://{at}:{number}/sessions/NAME/v1; sessions go to {out}")
            server.run(sockets=[socket])
