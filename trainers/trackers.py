"""Where a run's metrics go besides its own ``metrics.jsonl``: TensorBoard, Weights & Biases, trackio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from agentrl.errors import UserError

Name = Literal["tensorboard", "wandb", "trackio"]


class Tracker(Protocol):
    def log(self, metrics: Mapping[str, float], step: int) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class Service:
    """A package that speaks as wandb does; a resumed run goes on under its name. Keys are its own affair."""

    def __init__(self, name: Name, folder: Path, config: Mapping[str, Any]) -> None:
        options: dict[str, Any] = {"dir": str(folder), "id": folder.name} if name == "wandb" else {}
        module: Any = import_module(name)
        self._run = module.init(project="agentrl", name=folder.name, config=dict(config), resume="allow", **options)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


def check(names: Sequence[Name]) -> None:
    """Raises UserError for a tracker that is not installed."""
    for name in names:
        if find_spec(name) is None:
            extra = "train" if name == "tensorboard" else name
            raise UserError(f"tracker {name} is not installed: pip install 'agentrl-toolkit[{extra}]'")


def started(names: Sequence[Name], folder: Path, config: Mapping[str, Any]) -> list[Tracker]:
    return [TensorBoard(folder, config) if n == "tensorboard" else Service(n, folder.resolve(), config) for n in names]
