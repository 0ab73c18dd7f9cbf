"""The one boundary where what was raised becomes the typed reason why an episode ended."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agentrl.errors import UserError
from agentrl.rollout.process import EnvCrashed, EnvInvalid, EnvLost
from agentrl.types import StopReason

# What an environment error is more exactly, by the first type that fits.
_KINDS: tuple[tuple[type[Exception], StopReason], ...] = (
    (EnvInvalid, StopReason.ENV_INVALID),
    (EnvCrashed, StopReason.ENV_CRASH),
    (EnvLost, StopReason.ENV_LOST),
    (TimeoutError, StopReason.ENV_TIMEOUT),
)


@dataclass(slots=True)
class Stop(Exception):
    """Ends an episode. ``where``, ``error`` and ``trace`` are set where infrastructure failed."""

    reason: StopReason
    error: str | None = None
    where: str | None = None
    trace: str | None = None


@contextmanager
def blaming(reason: StopReason, where: str) -> Iterator[None]:
    """What goes wrong inside ends the episode for ``reason``; what the user can mend ends the run."""
    try:
        yield
    except (UserError, Stop):
        raise
    except Exception as error:
        raise classify(error, reason, where) from error


def classify(error: Exception, reason: StopReason, where: str) -> Stop:
    """``reason``, made more exact by the error's type where that says more."""
    if reason is StopReason.ENV_ERROR:
        reason = next((kind for type_, kind in _KINDS if isinstance(error, type_)), reason)
    line = f"{type(error).__name__}: {error}".splitlines()[0][:500]
    return Stop(reason, line, where, "".join(traceback.format_exception(error)))
