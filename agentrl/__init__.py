"""agentrl: reinforcement learning for multi-turn language agents.

``import agentrl as ar`` imports nothing heavy: each public name is loaded when it is first used, so that an
environment needs neither torch nor any other environment's dependencies.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> the module it lives in
_EXPORTS = {
    name: f"agentrl.{module}"
    for module, names in {
        "api": "collect compare credit evaluate sft train",
        "envs.check": "check",
        "envs.core": "Env",
        "envs.registry": "make register",
        "envs.tool_env": "ToolEnv",
        "errors": "UserError",
        "tools": "ToolError tool",
        "trainers.credit": "TurnTable assign estimator group_centred modulator transform",
        "types": "Action Group Message Observation Segment StopReason Task ToolCall Trajectory Turn",
    }.items()
    for name in names.split()
}

__all__ = [
    "Action",
    "Env",
    "Group",
    "Message",
    "Observation",
    "Segment",
    "StopReason",
    "Task",
    "ToolCall",
    "ToolEnv",
    "ToolError",
    "Trajectory",
    "Turn",
    "TurnTable",
    "UserError",
    "__version__",
    "assign",
    "check",
    "collect",
    "compare",
    "credit",
    "estimator",
    "evaluate",
    "group_centred",
    "make",
    "modulator",
    "register",
    "sft",
    "tool",
    "train",
    "transform",
]

if TYPE_CHECKING:
    from agentrl.api import collect, compare, credit, evaluate, sft, train
    from agentrl.envs.check import check
    from agentrl.envs.core import Env
    from agentrl.envs.registry import make, register
    from agentrl.envs.tool_env import ToolEnv
    from agentrl.errors import UserError
    from agentrl.tools import ToolError, tool
    from agentrl.trainers.credit import TurnTable, assign, estimator, group_centred, modulator, transform
    from agentrl.types import (
        Action,
        Group,
        Message,
        Observation,
        Segment,
        StopReason,
        Task,
        ToolCall,
        Trajectory,
        Turn,
    )

for _link in ("envs", "tools", "trainers"):
    if not (Path(__file__).parent / _link).is_dir():
        raise ImportError(
            f"agentrl/{_link} must be a link to ../{_link}, but this checkout lost its links (a zip download, or git "
            "without core.symlinks): install the wheel, or clone again with `git clone -c core.symlinks=true`"
        )


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'agentrl' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
