"""``agentrl view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or stored trajectories.")],
    export: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file instead.")] = None,
    groups: Annotated[int | None, typer.Option(min=1, help="Groups that the file holds, spread over the run.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0: any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Look into runs: curves, episodes, every token's advantage; live while a run trains. Two runs stand side by side.

    The page is served on this machine alone and its address holds a secret. Ctrl-C ends it.

    Examples:

        agentrl view runs/last

        agentrl view runs/a runs/b --export both.html
    """
    from agentrl.store.files import files_of
    from agentrl.viewer import page, server

    for run in runs:
        files_of(run)  # says what is missing before anything starts
    if export is not None:
        held = page.export(runs, export, groups or page.GROUPS)
        return typer.echo(f"{export}: {held} groups, {export.stat().st_size / 2**20:.1f} MiB")
    viewer = server.Viewer(runs, port)
    typer.echo(f"{viewer.url}\nCtrl-C ends it.")
    if browser:
        import webbrowser

        webbrowser.open(viewer.url)
    try:
        viewer.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        viewer.server_close()
