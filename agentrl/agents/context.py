"""What of a conversation a prompt shows: context rules, functions of the messages after the first observation.

Whatever a rule does, a turn's prompt is stored as it was, and the turns whose ids continue each other are one training
sample: a rule that rewrites history costs samples, and nothing else has to know about it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from functools import partial

from agentrl.envs import plugins
from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.types import Message

# messages after the first observation, in order, the newest observation last -> those that the prompt shows
Rule = Callable[[list[Message]], list[Message]]
Context = str | int

TOLD = "Between <memory> and </memory> keep notes: of what was said before you will see your latest notes only."
_DRAWN = re.compile(r"history\((\d+)(?:, *(-?\d+(?:\.\d+)?))?\)")
_NAMED = re.compile(r".+:[A-Za-z_]\w*")
_NOTES = re.compile(r"<memory>(.*?)</memory>", re.DOTALL)


def check(context: Context) -> Context:
    """Raises ValueError for what names no rule."""
    if isinstance(context, int):
        if context < 0:
            raise ValueError("the number of past turns that a prompt keeps must not be negative")
    elif context not in ("full", "summary") and not _DRAWN.fullmatch(context) and not _NAMED.fullmatch(context):
        raise ValueError("full, summary, a number of past turns, history(MOST), or a function as FILE.py:NAME")
    return context


def rule_of(context: Context, seed: int = 0) -> Rule | None:
    """The rule that ``full`` (None: nothing is left out), a number of turns, ``summary``, ``history(MOST)`` or
    ``FILE.py:NAME`` means. ``seed``: of the episode, for what is drawn.

    A function of one's own is trusted code. Raises UserError where there is none of that name.
    """
    if context == "full":
        return None
    if context == "summary":
        return summary
    if isinstance(context, int):
        return partial(window, context)
    if drawn := _DRAWN.fullmatch(context):
        return partial(window, history(int(drawn[1]), float(drawn[2] or 0), seed))
    return partial(_checked, context, plugins.function(context, "context rule"))


def window(k: int, messages: list[Message]) -> list[Message]:
    """The last ``k`` turns and what is new."""
    replies = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if not replies:
        return messages
    starts = [*replies, replies[-1] + 1]  # of each turn that has passed, and of what is new
    return messages[starts[max(0, len(replies) - k)] :]


def history(most: int, lean: float, seed: int) -> int:
    """How many past turns an episode's prompts keep: h of 0 to ``most`` with a probability as ``exp(lean h)``.

    Each episode draws once, so that those of a group differ in what they see, and a policy learns to do with less.

    Source: the context sampler of HiconAgent (HCPO), published code, where ``lean`` rises from 0 to 2 over a third of
    the run and the loss reads the full history. Here ``lean`` is fixed, and tokens are trained on after what they were
    sampled after.
    """
    draw = derive(seed, "history") / 2.0**62
    weights = [math.exp(lean * (h - most)) for h in range(most + 1)]
    reached = itertools.accumulate(weights)
    return next((h for h, upto in enumerate(reached) if draw * math.fsum(weights) < upto), most)


def summary(messages: list[Message]) -> list[Message]:
    """The notes that the agent wrote last, and what is new: a workspace that it keeps itself.

    Notes are what stands between <memory> tags of a reply; an agent that writes none keeps its earlier ones.

    Source: MemAct (arXiv 2510.12635) and IterResearch (arXiv 2511.07327), as a block of text in place of a tool.
    """
    replies = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if not replies:
        return messages
    written = (_NOTES.findall(str(messages[i]["content"])) for i in reversed(replies))
    notes = next((found[-1].strip() for found in written if found), "")
    kept: list[Message] = [{"role": "user", "content": f"Your notes:\n{notes}"}] if notes else []
    return [*kept, *messages[replies[-1] + 1 :]]


def _checked(name: str, rule: Rule, messages: list[Message]) -> list[Message]:
    found = rule([{**m} for m in messages])  # a copy: what was said stays said
    if not (isinstance(found, list) and all(isinstance(m, dict) and {"role", "content"} <= m.keys() for m in found)):
        raise UserError(f"agent.context: {name} must return a list of messages, not {found!r:.80}")
    return found
