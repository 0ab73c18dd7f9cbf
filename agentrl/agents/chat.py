"""The chat agent: one conversation an episode, rendered by the tokenizer's own chat template.

In context ``full`` the next prompt is the previous ids followed by the ids of the new messages only; sampled text is
never tokenised again. A window, or thinking that is stripped, rewrites history: the prompt is then rendered anew
each turn and every turn becomes a segment (a training sample) of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentrl.agents.formats import Format, format_named, without_thinking
from agentrl.types import Action, IntArray, Message, Observation

_MARK = "ASSISTANTREPLYMARK"  # plain letters: no template trims or escapes them


class AgentConfig(BaseModel):
    """How an agent talks. Saved beside a trained policy, because it must be used as it was trained."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["auto", "action", "tools", "text"] = Field(
        "auto", description="how a reply holds its action; auto: tools where the environment has tools, else action"
    )
    context: Literal["full"] | int = Field("full", description="full, or how many past turns a prompt keeps")
    thinking: Literal["keep", "strip"] = Field("keep", description="strip: past <think> blocks leave the prompt")
    system: str | None = Field(None, description="system message; none: the environment's instructions")
    admissible: bool = Field(False, description="list the admissible actions under every observation")

    @property
    def appends(self) -> bool:
        return self.context == "full" and self.thinking == "keep"


class ChatAgent:
    """Turns observations into prompt ids and sampled ids into actions, for one tokenizer and one environment kind."""

    def __init__(self, tokenizer: Any, config: AgentConfig, instructions: str, tools: list[dict[str, Any]]) -> None:
        if not getattr(tokenizer, "chat_template", None):
            from agentrl.errors import UserError

            raise UserError(f"tokenizer {getattr(tokenizer, 'name_or_path', '')!r} has no chat template")
        self.tokenizer = tokenizer
        self.config = config
        name = config.format if config.format != "auto" else ("tools" if tools else "action")
        self.format: Format = format_named(name)
        self.tools = tools
        self.system = self._system(instructions)
        self._suffix = lru_cache(maxsize=1 << 16)(self._encode_suffix)
        self._around = self._wrapper("user")

    def start(self) -> Conversation:
        return Conversation(self)

    def decode(self, ids: IntArray) -> str:
        """Text of sampled ids, without the end-of-turn token."""
        keep = [i for i in ids.tolist() if i not in self._ends]
        return str(self.tokenizer.decode(keep, skip_special_tokens=False))

    def parse(self, text: str) -> Action:
        return self.format.parse(text)

    def render(self, messages: list[Message], generate: bool = True) -> str:
        """The text of a whole conversation, as the template writes it."""
        return str(
            self.tokenizer.apply_chat_template(
                messages, tools=self.tools or None, tokenize=False, add_generation_prompt=generate
            )
        )

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def suffix(self, ended: bool, messages: list[Message]) -> list[int]:
        """Ids of what comes after a reply: the end of the reply (unless sampled), new messages, generation prompt."""
        return self._suffix(ended, tuple((m["role"], m["content"]) for m in messages))

    @property
    def _ends(self) -> set[int]:
        return {self.tokenizer.eos_token_id}

    def _system(self, instructions: str) -> str:
        if self.config.system is not None:
            return self.config.system
        text = "\n".join(part for part in (instructions.strip(), self.format.instructions) if part)
        if self.tools and not self._template_shows_tools():
            listed = "\n".join(str(tool["function"]) for tool in self.tools)
            text += (
                f"\nTools:\n{listed}\nCall one with "
                '<tool_call>{"name": ..., "arguments": {...}}</tool_call>.'
            )
        return text

    def _template_shows_tools(self) -> bool:
        talk = [{"role": "user", "content": "x"}]
        plain = self.tokenizer.apply_chat_template(talk, tokenize=False)
        with_tools = self.tokenizer.apply_chat_template(talk, tools=self.tools, tokenize=False)
        return bool(plain != with_tools)

    def _encode_suffix(self, ended: bool, messages: tuple[tuple[str, str], ...]) -> list[int]:
        (role, content) = messages[0]
        if len(messages) == 1 and role == "user" and content == content.strip() and _MARK not in content:
            before, after = self._around
            text = before + content + after
        else:
            text = self._after_reply([{"role": r, "content": c} for r, c in messages])
        if ended:  # the sampled end-of-turn token is there already
            end = str(self.tokenizer.decode([self.tokenizer.eos_token_id]))
            text = text[len(end) :] if text.startswith(end) else text
        return self.encode(text)

    def _after_reply(self, messages: list[Message]) -> str:
        stem: list[Message] = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
        rendered = self.render([*stem, *messages])
        return rendered[rendered.rindex(_MARK) + len(_MARK) :]

    def _wrapper(self, role: str) -> tuple[str, str]:
        """What the template puts before and after the content of a message that follows a reply."""
        inner = "INNER" + _MARK[::-1]
        before, _, after = self._after_reply([{"role": role, "content": inner}]).partition(inner)
        return before, after


class Conversation:
    """One episode's exchange. ``prompt`` then ``reply``, in turns."""

    def __init__(self, agent: ChatAgent) -> None:
        self.agent = agent
        self.messages: list[Message] = [{"role": "system", "content": agent.system}] if agent.system else []
        self._ids: list[int] = []
        self._ended = False
        self._first = 0  # messages that always stay: the system message and the first observation

    def prompt(self, observation: Observation) -> IntArray:
        """Record an observation; the ids [P] that the policy continues."""
        new: list[Message] = [{"role": "user", "content": observation}] if isinstance(observation, str) else observation
        agent = self.agent
        if not self._first:
            self.messages += new
            self._first = len(self.messages)
            self._ids = agent.encode(agent.render(self.messages))
        elif agent.config.appends:
            self.messages += new
            self._ids = self._ids + agent.suffix(self._ended, new)
        else:
            self.messages += new
            self._ids = agent.encode(agent.render(self._visible()))
        return np.asarray(self._ids, np.int32)

    def reply(self, completion_ids: IntArray, text: str) -> None:
        """Record what was sampled after the last prompt."""
        self.messages.append({"role": "assistant", "content": text})
        if self.agent.config.appends:
            self._ids = self._ids + completion_ids.tolist()
            self._ended = bool(len(completion_ids)) and int(completion_ids[-1]) in self.agent._ends

    def _visible(self) -> list[Message]:
        config = self.agent.config
        head, tail = self.messages[: self._first], self.messages[self._first :]
        if isinstance(config.context, int):
            replies = [i for i, m in enumerate(tail) if m["role"] == "assistant"]
            cut = replies[-config.context] if config.context and len(replies) > config.context else 0
            tail = tail[cut:] if config.context else tail[-1:]
        if config.thinking == "strip":
            tail = [
                {**m, "content": without_thinking(m["content"]).strip()} if m["role"] == "assistant" else m for m in tail
            ]
        return merge_users([*head, *tail])


def merge_users(messages: list[Message]) -> list[Message]:
    """Join neighbouring user messages: many templates insist on alternation."""
    merged: list[Message] = []
    for message in messages:
        if merged and message["role"] == merged[-1]["role"] == "user":
            merged[-1] = {**merged[-1], "content": merged[-1]["content"] + "\n" + message["content"]}
        else:
            merged.append(message)
    return merged


def probe_template(tokenizer: Any) -> list[str]:
    """Three messages through the template: what it rewrites, in sentences; an empty list means append-only."""
    first: list[Message] = [{"role": "user", "content": "one"}]
    reply: Message = {"role": "assistant", "content": "<think>why</think>two"}
    second: Message = {"role": "user", "content": "three"}

    def render(messages: list[Message], generate: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))

    found = []
    whole = render([*first, reply, second], True)
    if "why" not in whole:
        found.append(
            "the chat template strips earlier <think> blocks; agentrl keeps them (agent.thinking: keep), "
            "with strip every turn is a training sample of its own"
        )
    start = render(first, True)
    if not whole.startswith(start):
        found.append("the chat template rewrites what follows the generation prompt once a reply is complete")
    plain: Message = {"role": "assistant", "content": "two"}
    if not render([*first, plain, second], False).startswith(render([*first, plain], False)):
        found.append(
            "the chat template is not append-only; in context full agentrl appends new messages to the sampled ids, "
            "so the model sees more history than its template would show"
        )
    return [re.sub(r"\s+", " ", line) for line in found]
