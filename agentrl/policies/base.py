"""What a policy is: token ids in, token ids out. Batching is the policy's business."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from agentrl.types import Action, FloatArray, IntArray, Message, Observation


@dataclass(slots=True)
class Request:
    """One completion to sample. ``key`` orders requests in deterministic mode; ``seed`` fixes its draws alone.

    The last ``begun`` ids of the prompt are the beginning of the reply, sampled before.
    """

    prompt_ids: IntArray
    max_tokens: int
    seed: int
    temperature: float = 1.0
    stop: tuple[str, ...] = ()
    key: tuple[Any, ...] = ()
    begun: int = 0
    images: tuple[str, ...] = ()  # what the prompt's placeholders stand for, as :class:`agentrl.types.Turn` has it


@dataclass(slots=True)
class Completion:
    """Sampled ids [C] with the natural-log probability [C] each had at the sampling temperature, and entropies [C].

    ``versions``: (first token, policy version) pairs; more than one where weights changed in mid-reply.
    """

    ids: IntArray
    logprobs: FloatArray
    entropies: FloatArray
    finish: Literal["stop", "length"]
    versions: list[tuple[int, int]]
    seconds: float = 0.0


@dataclass(slots=True)
class Counters:
    """What the policy has done since they were last taken; they end in the metrics."""

    prefill_tokens: int = 0  # prompt tokens computed
    new_tokens: int = 0  # prompt tokens that no earlier request of the episode had computed
    sampled_tokens: int = 0
    used_positions: int = 0
    computed_positions: int = 0  # padding included
    forwards: int = 0
    seconds: float = 0.0

    @property
    def padding_share(self) -> float:
        return 1.0 - self.used_positions / self.computed_positions if self.computed_positions else 0.0


@runtime_checkable
class Policy(Protocol):
    """A policy of tokens."""

    name: str
    tokenizer: Any
    window: int  # longest prompt plus completion, in tokens
    counters: Counters

    async def generate(self, request: Request) -> Completion: ...
    def expect(self, live: Callable[[], int] | None) -> None:
        """Deterministic mode: before each step, wait until ``live()`` requests are in; None: never wait."""


class Learning(Policy, Protocol):
    """A policy whose weights change while it is used."""

    version: int  # of the weights, which every sampled token is stamped with

    def update(self, state: dict[str, Any], version: int) -> None:
        """Take new weights, from the thread that requests are awaited in. What was computed by the old is dropped."""

    def rest(self) -> None:
        """Nothing is asked for until the next update: memory that others want may go back."""

    def close(self) -> None:
        """Free what it holds beyond memory of this process."""


@dataclass(slots=True)
class Said:
    """A reply of a policy of messages: the message as it came, its calls as (name, JSON of arguments), and the bill."""

    message: Message
    calls: list[tuple[str, str]]
    cut: bool  # by the token limit
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # dollars


@runtime_checkable
class MessagePolicy(Protocol):
    """A policy of messages: it shows neither tokens nor weights, so it plays and is not trained."""

    name: str

    async def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        stop: Sequence[str],
        seed: int,
    ) -> Said: ...


@dataclass(slots=True)
class ScriptedTurn:
    """What a scripted policy may look at when it acts."""

    env: Any
    observation: Observation
    rng: random.Random
    task_key: str
    turn: int
    seed: int = 0  # the episode's
    info: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class ScriptedPolicy(Protocol):
    """A policy of actions, without tokens: expert, random, idle, replay, a person."""

    name: str

    async def act(self, turn: ScriptedTurn) -> Action: ...


AnyPolicy = Policy | MessagePolicy | ScriptedPolicy
