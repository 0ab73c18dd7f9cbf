"""The map of the system: plain data that flows from environments to trainers.

    env.reset/step -> Observation -> agent renders prompt ids -> policy samples completion ids
      -> agent parses an Action -> env.step -> Turn -> Trajectory -> Group -> credit -> batch -> weights

Nothing here has behaviour beyond checking itself and deriving what follows from what is stored. A token id that
was sampled is stored once, as it was sampled, and is never made from text again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Required, TypedDict, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Part(TypedDict, total=False):
    """A piece of a message: ``text``, or an ``image`` (a data URL)."""

    type: Required[Literal["text", "image"]]
    text: str
    image: str


Content = str | list[Part]


class Message(TypedDict, total=False):
    """One chat message, in the shape every chat template understands."""

    role: str
    content: Content
    tool_calls: list[dict[str, Any]]
    name: str


def is_part(value: object) -> TypeGuard[Part]:
    """Whether a value is a content part: its kind, and of that kind the text."""
    return isinstance(value, dict) and value.get("type") in _PARTS and isinstance(value.get(value["type"]), str)


_PARTS = ("text", "image")


def images_of(observation: Observation) -> list[str]:
    """The images that an observation shows, as data URLs in order."""
    if isinstance(observation, str):
        return []
    contents = [m["content"] for m in observation if not isinstance(m["content"], str)]
    return [part["image"] for content in contents for part in content if "image" in part]


def text_of(content: Content) -> str:
    """What there is to read; an image is named only."""
    return content if isinstance(content, str) else "\n".join(part.get("text", "[image]") for part in content)


def words_of(observation: Observation) -> str:
    """What there is to read in an observation."""
    return observation if isinstance(observation, str) else "\n".join(text_of(m["content"]) for m in observation)


class ToolCall:
    """A call of a tool by name: ``ToolCall("submit", number=3)``."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, /, **arguments: Any) -> None:
        self.name = name
        self.arguments = arguments

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolCall) and (self.name, self.arguments) == (other.name, other.arguments)

    def __hash__(self) -> int:
        return hash((self.name, repr(sorted(self.arguments.items()))))

    def __repr__(self) -> str:
        return f"ToolCall({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.arguments.items())])})"


# What an environment shows: a sentence, or messages (a tool environment answers with role "tool").
Observation = str | list[Message]
# What an environment is given: a sentence (or a command), one tool call, or several in one turn.
Action = str | ToolCall | list[ToolCall]


def calls_of(action: Action | None) -> list[ToolCall]:
    """The tool calls of an action; none of a text."""
    return [action] if isinstance(action, ToolCall) else action if isinstance(action, list) else []


class StopReason(StrEnum):
    """Why an episode ended. Only the ``FAILED`` ones say nothing about the policy."""

    TERMINATED = "terminated"  # the environment reached an end of its own
    TRUNCATED = "truncated"  # the environment cut the episode
    MAX_TURNS = "max_turns"  # the turn limit of the runner
    MAX_TOKENS = "max_tokens"  # the token limit of the episode
    WINDOW = "window"  # the next prompt does not fit the model's window
    ENV_TIMEOUT = "env_timeout"  # the environment did not answer by its deadline
    ENV_ERROR = "env_error"  # the environment raised
    ENV_INVALID = "env_invalid"  # its answer is not what the protocol says: garbage, NaN, far too large
    ENV_CRASH = "env_crash"  # its worker process ended by itself
    ENV_LOST = "env_lost"  # its worker process was killed for the sake of another environment
    POLICY_ERROR = "policy_error"  # the policy raised
    REPLAY_DIVERGED = "replay_diverged"  # a branch's stem, played again, showed something else

    @property
    def failed(self) -> bool:
        """True where infrastructure, not the policy, ended the episode: it then leaves its group."""
        return self in _FAILED


_FAILED = frozenset(
    {
        StopReason.ENV_TIMEOUT,
        StopReason.ENV_ERROR,
        StopReason.ENV_INVALID,
        StopReason.ENV_CRASH,
        StopReason.ENV_LOST,
        StopReason.POLICY_ERROR,
        StopReason.REPLAY_DIVERGED,
    }
)


@dataclass(slots=True)
class ToolRecord:
    """What one tool call cost and gave."""

    name: str
    arguments: dict[str, Any]
    result_chars: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    error: str | None = None


@dataclass(slots=True)
class Turn:
    """One prompt, one completion, one environment step.

    ``prompt_ids`` [P] is everything the policy saw; ``completion_ids`` [C], ``logprobs`` [C] (natural log, at the
    sampling temperature) and ``entropies`` [C] (nats) belong to the sampled tokens only. A turn made by a scripted
    policy has no ids at all. ``images``: data URLs of what the placeholders among the prompt ids stand for, in their
    order. ``versions`` holds (first token, policy version) pairs, in order.
    """

    observation: Observation
    state_key: str = ""
    prompt_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))
    completion_ids: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))
    logprobs: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    entropies: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    text: str = ""
    action: Action | None = None
    error: str | None = None  # why the text was not an action
    valid: bool = True  # False: unparsable, or an action without meaning where it was taken
    rewards: dict[str, float] = field(default_factory=dict)
    tool_calls: list[ToolRecord] = field(default_factory=list)
    versions: list[tuple[int, int]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # "policy", "env", "agent"
    agent: str = "agent"
    policy: str = "policy"
    trainable: bool = True
    images: tuple[str, ...] = ()
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prompt_ids = np.asarray(self.prompt_ids, np.int32)
        self.completion_ids = np.asarray(self.completion_ids, np.int32)
        self.logprobs = np.asarray(self.logprobs, np.float32)
        self.entropies = np.asarray(self.entropies, np.float32)
        c = len(self.completion_ids)
        if not c == len(self.logprobs) == len(self.entropies):
            raise ValueError(
                f"a turn needs one logprob and one entropy per sampled token: {c} ids, "
                f"{len(self.logprobs)} logprobs, {len(self.entropies)} entropies"
            )
        if c and not len(self.prompt_ids):
            raise ValueError("a turn with sampled tokens needs the prompt ids they were sampled after")
        if c and not np.isfinite(self.logprobs).all():
            raise ValueError(f"logprobs must be finite, token {int(np.argmin(np.isfinite(self.logprobs)))} is not")
        starts = [first for first, _ in self.versions]
        if c and (not starts or starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= c):
            raise ValueError(f"version spans must start at 0, rise and lie within {c} tokens: {self.versions}")

    @property
    def reward(self) -> float:
        return float(sum(self.rewards.values()))


@dataclass(slots=True)
class Segment:
    """Turns whose ids continue each other: one training sample. ``ids`` [L]; ``sampled`` [L] marks what is trained."""

    ids: IntArray
    sampled: npt.NDArray[np.bool_]
    logprobs: FloatArray  # [L], 0 where not sampled
    turn: IntArray  # [L], index of the turn a token was sampled in, -1 elsewhere
    version: IntArray  # [L], of the policy that sampled it, -1 elsewhere
    images: tuple[str, ...] = ()  # of its prompt ids, in order


@dataclass(frozen=True, slots=True)
class Task:
    """What to do: an environment, its arguments, and a task id that fixes start and goal."""

    env: str
    id: str | int
    kwargs: tuple[tuple[str, Any], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.env}#{self.id}"


@dataclass(slots=True, repr=False)
class Trajectory:
    """One agent's side of one episode.

    A branch holds its parent's first ``branch_turn`` turns as its own (the same records), and where ``branch_token``
    is set, as many tokens of the reply after them.
    """

    id: str
    task: Task
    seed: int
    turns: list[Turn] = field(default_factory=list)
    stop: StopReason = StopReason.TERMINATED
    success: bool = False
    error: str | None = None  # the failure, where stop.failed
    group: str = ""
    parent: str | None = None  # the trajectory this one was branched from
    branch_turn: int | None = None
    branch_token: int | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        how = ("success" if self.success else "no success") if self.trusted else f"failed: {self.error}"
        return f"Trajectory({self.id!r}, {self.task.key}, {len(self.turns)} turns, reward {self.reward:g}, {how})"

    @property
    def trusted(self) -> bool:
        """Whether the reward says something about the policy."""
        return not self.stop.failed

    @property
    def whole(self) -> bool:
        """Whether all of it was played as one episode: neither a branch nor grown from a stored stem."""
        return self.parent is None and "stem" not in self.info

    @property
    def shared(self) -> int:
        """Turns, from the first, that were played in the episode it grew from."""
        return int(self.branch_turn or self.info.get("stem_turn", 0))

    @property
    def world_seed(self) -> int:
        """The seed of its environment: its own, or for a branch that of the episode it grew from."""
        return int(self.info.get("world_seed", self.seed))

    @property
    def reward(self) -> float:
        return float(sum(turn.reward for turn in self.turns))

    @property
    def sampled_tokens(self) -> int:
        return sum(len(turn.completion_ids) for turn in self.turns)

    def segments(self) -> list[Segment]:
        """Join turn t+1 to turn t where its prompt begins, id for id, with t's prompt and completion."""
        return [_segment(self.turns, span) for span in spans(self.turns)]


@dataclass(slots=True, repr=False)
class Group:
    """All trajectories of one task (and agent) in one iteration: the unit of group-relative credit."""

    task: Task
    id: str
    trajectories: list[Trajectory] = field(default_factory=list)

    def __repr__(self) -> str:
        won = sum(t.success for t in self.trajectories)
        return f"Group({self.id!r}, {self.task.key}, {won} of {len(self.trajectories)} successful)"

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self.trajectories)

    def __len__(self) -> int:
        return len(self.trajectories)


def grouped(values: Iterable[V], by: Callable[[V], K]) -> dict[K, list[V]]:
    """The values by what ``by`` says of them, in the order in which they come."""
    found: dict[K, list[V]] = {}
    for value in values:
        found.setdefault(by(value), []).append(value)
    return found


def continues(before: Turn, after: Turn) -> bool:
    """Whether ``after``'s prompt begins, id for id and image for image, with ``before``'s prompt and completion."""
    p, c = len(before.prompt_ids), len(before.completion_ids)
    ids = after.prompt_ids
    return (
        len(ids) >= p + c
        and after.images[: len(before.images)] == before.images
        and bool((ids[:p] == before.prompt_ids).all())
        and bool((ids[p : p + c] == before.completion_ids).all())
    )


def spans(turns: Sequence[Turn]) -> Iterator[range]:
    """The turns of each segment; turns without tokens at either end belong to none."""
    with_ids = [i for i, turn in enumerate(turns) if len(turn.completion_ids)]
    start = 0
    for k in range(1, len(with_ids) + 1):
        if k == len(with_ids) or not continues(turns[with_ids[k - 1]], turns[with_ids[k]]):
            if k > start:
                yield range(with_ids[start], with_ids[k - 1] + 1)
            start = k


def _segment(turns: Sequence[Turn], span: range) -> Segment:
    last = turns[span[-1]]
    ids = np.concatenate([last.prompt_ids, last.completion_ids])
    sampled = np.zeros(len(ids), bool)
    logprobs = np.zeros(len(ids), np.float32)
    turn_of = np.full(len(ids), -1, np.int32)
    version_of = np.full(len(ids), -1, np.int32)
    for i in span:
        turn = turns[i]
        if not len(turn.completion_ids):
            continue
        where = slice(len(turn.prompt_ids), len(turn.prompt_ids) + len(turn.completion_ids))
        sampled[where] = turn.trainable
        logprobs[where] = turn.logprobs
        turn_of[where] = i
        for first, version in turn.versions:
            version_of[where.start + first : where.stop] = version
    return Segment(ids, sampled, logprobs, turn_of, version_of, last.images)
