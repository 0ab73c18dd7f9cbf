"""A session: the calls that one run of an agent program makes, kept as turns with the exact ids.

A call whose messages go on from a recorded reply is asked with that reply's ids and those of the new messages; nothing
that was sampled is tokenised again. Where the messages differ from what was recorded the history forks:

- they go on from an earlier reply than the newest (or begin the conversation again): a branch begins there;
- they change what was said: the prompt is rendered anew, and the branch begins after the last reply they share;
- they share nothing with what was said (a summary, another prompt): the turn follows the newest, as a new segment.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.policies.base import Policy, Request
from agentrl.seeds import derive
from agentrl.serve.wire import Ask, BadRequest, choice, fingerprint, reply_of
from agentrl.types import Message, StopReason, Task, Trajectory, Turn

ENV = "session"  # what stands for an environment in stored trajectories: the program is one


@dataclass(slots=True)
class Reply:
    turn: Turn
    parent: int | None  # the reply it goes on from
    opening: str  # of the conversation: its messages before any reply
    ended: bool  # whether the end-of-turn token was sampled
    children: int = 0


class Talker:
    """Renders conversations for one policy; an agent for each system message and set of tools."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.agent = lru_cache(maxsize=256)(self._agent)

    def _agent(self, system: str, tools: str) -> ChatAgent:
        return ChatAgent(self.policy.tokenizer, AgentConfig(format="tools"), system, json.loads(tools))

    def of(self, ask: Ask) -> tuple[ChatAgent, list[Message]]:
        """An agent, and the messages with what the system message must say of the tools."""
        first, *rest = ask.messages
        system = str(first["content"]) if first["role"] == "system" else ""
        agent = self.agent(system, json.dumps(ask.tools))
        others = rest if first["role"] == "system" else list(ask.messages)
        return agent, [*([Message(role="system", content=agent.system)] if agent.system else []), *others]


@dataclass
class Session:
    """``seed`` is that of its draws; ``temperature`` that of all of them, whatever the program asks for."""

    name: str
    talker: Talker
    seed: int
    temperature: float | None = None
    replies: list[Reply] = field(default_factory=list)
    ended: bool = False
    _known: dict[str, int] = field(default_factory=dict)  # histories that end with a reply
    _calls: dict[str, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)
    _asked: Iterator[int] = field(default_factory=itertools.count)

    async def complete(self, ask: Ask, digest: str, again: bool, number: Callable[[], str]) -> dict[str, Any]:
        """Choices and usage. A call that the client makes ``again`` is given the answer to the first one."""
        if self.ended:
            raise BadRequest(f"session {self.name} has had its reward", code="session_ended")
        call = self._calls.get(digest) if again else None
        if call is None or (call.done() and (call.cancelled() or call.exception())):
            call = self._calls[digest] = asyncio.create_task(self._complete(ask, number))
        return await asyncio.shield(call)  # a client that hangs up will come back for it

    def trajectories(self, task: str, reward: float, success: bool) -> list[Trajectory]:
        """The session as it was played: one trajectory a leaf, each a branch of the one that it shares most with.

        The reward is earned by the last turn of each.
        """
        made: list[Trajectory] = []
        paths: list[list[int]] = []
        for leaf in (i for i, reply in enumerate(self.replies) if not reply.children):
            path = self._path(leaf)
            t = Trajectory(f"{self.name}/{len(made)}", Task(ENV, task), self.seed, group=task)
            t.turns = [self.replies[i].turn for i in path]
            shared = [sum(a == b for a, b in zip(path, other, strict=False)) for other in paths]
            most = max(shared, default=0)
            if most:
                t.parent, t.branch_turn = made[shared.index(most)].id, most
            t.stop, t.success = StopReason.TERMINATED, success
            made.append(t)
            paths.append(path)
        for t in made:
            t.turns[-1].rewards = {"reward": reward}
        return made

    async def _complete(self, ask: Ask, number: Callable[[], str]) -> dict[str, Any]:
        agent, messages = self.talker.of(ask)
        prompt, parent = self._prompt(ask, agent, messages)
        window = self.talker.policy.window
        if len(prompt) >= window:
            raise BadRequest(
                f"the messages are {len(prompt)} tokens, and the model's window is {window}",
                "messages",
                "context_length_exceeded",
            )
        asked = [next(self._asked) for _ in range(ask.n)]
        seeds = [derive(self.seed if ask.seed is None else ask.seed, "reply", i) for i in asked]
        stop = (*agent.stop, *ask.stop)
        temperature = ask.temperature if self.temperature is None else self.temperature
        limit = min(ask.max_tokens or window, window - len(prompt))
        requests = [
            Request(prompt, limit, seed=s, temperature=temperature, stop=stop, key=(self.name, i))
            for i, s in zip(asked, seeds, strict=True)
        ]
        completions = await asyncio.gather(*(self.talker.policy.generate(request) for request in requests))
        if self.ended:
            raise BadRequest(f"session {self.name} has had its reward", code="session_ended")
        choices = []
        for index, completion in enumerate(completions):
            text = agent.decode(completion.ids)
            message, action = reply_of(text, ask.stop, bool(ask.tools))
            turn = Turn(
                list(_new(ask.messages)),
                state_key=fingerprint(_new(ask.messages), ())[:16],
                prompt_ids=prompt,
                completion_ids=completion.ids,
                logprobs=completion.logprobs,
                entropies=completion.entropies,
                text=text,
                action=action,
                versions=completion.versions,
                policy=self.talker.policy.name,
                seconds={"policy": completion.seconds},
                info={"temperature": temperature} | ({"cut": True} if completion.finish == "length" else {}),
            )
            ended = bool(len(completion.ids)) and int(completion.ids[-1]) == agent.end_id
            if parent is not None:
                self.replies[parent].children += 1
            self._known.setdefault(fingerprint([*ask.messages, message], ask.tools), len(self.replies))
            self.replies.append(Reply(turn, parent, self._opening(ask), ended))
            choices.append(choice(index, number(), message, completion.finish == "length"))
        sampled = sum(len(completion.ids) for completion in completions)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": sampled, "total_tokens": len(prompt) + sampled}
        return {"choices": choices, "usage": usage}

    def _prompt(self, ask: Ask, agent: ChatAgent, messages: list[Message]) -> tuple[np.ndarray, int | None]:
        """The ids to go on from, and the reply they follow."""
        after = [i + 1 for i, message in enumerate(ask.messages) if message["role"] == "assistant"]
        for end in reversed(after):
            found = self._known.get(fingerprint(ask.messages[:end], ask.tools))
            if found is None:
                continue
            if end == after[-1] and end < len(ask.messages):
                reply = self.replies[found]
                new = agent.suffix(reply.ended, list(ask.messages[end:]))
                return np.concatenate(
                    [reply.turn.prompt_ids, reply.turn.completion_ids, np.asarray(new, np.int32)]
                ), found
            return self._rendered(agent, messages), found
        same = any(reply.opening == self._opening(ask) for reply in self.replies)
        newest = len(self.replies) - 1 if self.replies and not same else None
        return self._rendered(agent, messages), newest

    def _rendered(self, agent: ChatAgent, messages: list[Message]) -> np.ndarray:
        return np.asarray(agent.encode(agent.render(messages)), np.int32)

    def _opening(self, ask: Ask) -> str:
        replies = [i for i, message in enumerate(ask.messages) if message["role"] == "assistant"]
        return fingerprint(ask.messages[: replies[0] if replies else None], ask.tools)

    def _path(self, leaf: int) -> list[int]:
        path = [leaf]
        while (parent := self.replies[path[-1]].parent) is not None:
            path.append(parent)
        return path[::-1]


def _new(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """What came after the last reply."""
    last = max((i + 1 for i, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    return messages[last:]
