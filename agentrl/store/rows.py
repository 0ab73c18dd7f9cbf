"""Trajectories as the rows that other tools train on.

What a model was shown is told as the environment said it: messages, not token ids. Instructions that an agent puts
before the first message are the agent's and are not in the store's messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentrl.types import Group, Trajectory, Turn, calls_of, words_of

Row = dict[str, Any]


def chat(groups: Iterable[Group]) -> Iterator[Row]:
    """A row a trajectory: ``messages`` as every chat template reads them, beside how it went."""
    for group in groups:
        for t in group:
            yield {
                "id": t.id,
                "group": group.id,
                "task": t.task.key,
                "success": t.success,
                "reward": t.reward,
                "stop_reason": t.stop.value,
                "messages": _messages(t.turns),
            }


def sft(groups: Iterable[Group]) -> Iterator[Row]:
    """A row a turn that was an action: ``prompt`` (messages so far) and ``completion`` (one message)."""
    for group in groups:
        for t in group:
            for i, turn in enumerate(t.turns):
                if turn.valid and turn.action is not None:
                    *before, said = _messages(t.turns[: i + 1])
                    yield {"prompt": before, "completion": [said]}


def pairs(groups: Iterable[Group]) -> Iterator[Row]:
    """A row a pair of one group: ``prompt``, the ``chosen`` success and the ``rejected`` failure, up to its end.

    The i-th success meets the i-th failure. What both have in common at the start is the prompt.
    """
    for group in groups:
        won = [t for t in group if t.trusted and t.success]
        lost = [t for t in group if t.trusted and not t.success]
        for good, bad in zip(won, lost, strict=False):
            a, b = _messages(good.turns), _messages(bad.turns)
            shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            if shared and a[shared:] and b[shared:]:
                yield {"prompt": a[:shared], "chosen": a[shared:], "rejected": b[shared:]}


KINDS: dict[str, Callable[[Iterable[Group]], Iterator[Row]]] = {"chat": chat, "sft": sft, "pairs": pairs}


def _messages(turns: list[Turn]) -> list[Row]:
    found: list[Row] = []
    for turn in turns:
        saw = turn.observation
        found += [{"role": "user", "content": saw}] if isinstance(saw, str) else [dict(message) for message in saw]
        found.append(_said(turn))
    return found


def _said(turn: Turn) -> Row:
    calls = calls_of(turn.action)
    row: Row = {"role": "assistant", "content": turn.text or (turn.action if isinstance(turn.action, str) else "")}
    if calls and not turn.text:  # of a policy without tokens; else the text holds the call as it was written
        row["tool_calls"] = [
            {"type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in calls
        ]
    return row


def transcript(t: Trajectory) -> str:
    """A trajectory as people read it."""
    lines = [f"{t.id}  {t.task.key}  {'success' if t.success else 'no success'}  reward {t.reward:g}  {t.stop.value}"]
    for i, turn in enumerate(t.turns):
        lines += [
            f"\n[{i}] {words_of(turn.observation)}",
            f"  > {turn.text or turn.action}" + ("" if turn.valid else "   (invalid)"),
        ]
        for call in turn.tool_calls:
            lines.append(
                f"    {call.name}: {call.seconds:.3f} s, cost {call.cost:g}" + (f", {call.error}" * bool(call.error))
            )
    return "\n".join(lines)
