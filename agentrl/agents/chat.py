"""The chat agent: one conversation an episode, rendered by the tokenizer's own chat template.

In context ``full`` the next prompt is the previous ids followed by the ids of the new messages only; sampled text is
never tokenised again. A window, or thinking that is stripped, rewrites history: the prompt is then rendered anew
each turn and every turn becomes a segment (a training sample) of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentrl.agents.calls import ReAct, Tags
from agentrl.agents.context import TOLD, Context, check, rule_of
from agentrl.agents.formats import ActionTags, Format, Text, Tools, without_thinking
from agentrl.errors import UserError
from agentrl.types import Action, Content, IntArray, Message, Observation, Turn, images_of, text_of

_MARK = "ASSISTANTREPLYMARK"  # plain letters: no template trims or escapes them
_ANY: Message = {"role": "user", "content": "x"}
FORMATS: dict[str, type[Format]] = {"action": ActionTags, "text": Text, "tools": Tools, "tags": Tags, "react": ReAct}


class AgentConfig(BaseModel):
    """How an agent talks. Saved beside a trained policy, because it must be used as it was trained."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["auto", "action", "tools", "text", "tags", "react"] = Field(
        "auto", description="how a reply holds its action; auto: tools where the environment has tools, else action"
    )
    context: Annotated[Context, AfterValidator(check)] = Field(
        "full",
        description="full, how many past turns a prompt keeps, history(MOST), summary (own notes), or FILE.py:NAME",
    )
    thinking: Literal["keep", "strip"] = Field("keep", description="strip: past <think> blocks leave the prompt")
    system: str | None = Field(None, description="system message; none: the environment's instructions")
    admissible: bool = Field(False, description="list the admissible actions under every observation")

    @property
    def appends(self) -> bool:
        return self.context == "full" and self.thinking == "keep"


def format_for(config: AgentConfig, tools: list[dict[str, Any]]) -> Format:
    """The format an agent writes in, where the environment offers these tools."""
    name = config.format if config.format != "auto" else ("tools" if tools else "action")
    return FORMATS[name](tools)


class ChatAgent:
    """Turns observations into prompt ids and sampled ids into actions, for one tokenizer and one environment kind."""

    def __init__(self, tokenizer: Any, config: AgentConfig, instructions: str, tools: list[dict[str, Any]]) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise UserError(f"tokenizer {getattr(tokenizer, 'name_or_path', '')!r} has no chat template")
        self.tokenizer = tokenizer
        self.vision: Any = getattr(tokenizer, "vision", None)  # of policies that take images
        self.config = config
        self.format: Format = format_for(config, tools)
        self.tools = tools
        self._shown = tools if self.format.native else []  # else the template would tell of calls of its own
        rule_of(config.context)  # what it names must be there
        self._refused: frozenset[str] = frozenset()
        self._refused = frozenset(role for role in ("system", "tool") if not self._takes(role))
        self.end, self.end_id = self._end_of_turn()
        self.stop = self.format.stop if self.end_id in (None, tokenizer.eos_token_id) else (*self.format.stop, self.end)
        self._ends = {i for i in (tokenizer.eos_token_id, self.end_id) if i is not None}
        self._opens_thinking = "<think>" in self.render([_ANY]).rpartition("</think>")[2]
        self.system = self._system(instructions)
        self._suffix = lru_cache(maxsize=1 << 16)(self._encode_suffix)
        inner = "INNER" + _MARK[::-1]
        self._before, _, self._after = self._after_reply([{"role": "user", "content": inner}]).partition(inner)

    def start(self, seed: int = 0) -> Conversation:
        """One episode's conversation; ``seed`` is of its world, which branches share."""
        return Conversation(self, seed)

    def decode(self, ids: IntArray) -> str:
        """Text of sampled ids, without the end-of-turn token."""
        keep = [i for i in ids.tolist() if i not in self._ends]
        return str(self.tokenizer.decode(keep, skip_special_tokens=False))

    def parse(self, text: str) -> Action:
        return self.format.parse(self.whole(text))

    def written(self, action: Action) -> tuple[list[int], str]:
        """Ids and text of the reply that says ``action`` and nothing else."""
        text = self.format.render(action)
        ids = self.encode(text)
        return ids if self.format.stop or self.end_id is None else [*ids, self.end_id], text

    def whole(self, text: str) -> str:
        """A reply with the ``<think>`` that some templates write for it, at the end of the prompt."""
        return "<think>" + text if self._opens_thinking else text

    def render(self, messages: list[Message], generate: bool = True) -> str:
        """The text of a whole conversation, as the template writes it.

        What is said in a role that the template refuses or drops is said by the user; neighbouring user messages are
        joined, because many templates insist on alternation. Content parts are shown as their text, images by a
        placeholder, or where the policy takes none by a word.
        """
        return self._fitted([{**m, "content": self.read(m["content"])} for m in messages], generate)

    def _fitted(self, read: list[Message], generate: bool = True) -> str:
        fitted = [message_as_user(m) if m["role"] in self._refused else m for m in read]
        return str(
            self.tokenizer.apply_chat_template(
                merge_users(fitted), tools=self._shown or None, tokenize=False, add_generation_prompt=generate
            )
        )

    def read(self, content: Content) -> str:
        return text_of(content) if self.vision is None else str(self.vision.text(content))

    def seen(self, observation: Observation) -> list[str]:
        """The images of an observation that the policy takes."""
        return [] if self.vision is None else images_of(observation)

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def expanded(self, ids: list[int], images: Sequence[str]) -> list[int]:
        """Ids with as many placeholders an image as the model makes of it."""
        return ids if self.vision is None else list(self.vision.expanded(ids, images))

    def suffix(self, ended: bool, messages: list[Message]) -> list[int]:
        """Ids of what comes after a reply: the end of the reply (unless sampled), new messages, generation prompt."""
        ids = self._suffix(ended, tuple((m["role"], self.read(m["content"]), m.get("name")) for m in messages))
        return self.expanded(ids, self.seen(messages))

    def _system(self, instructions: str) -> str:
        if self.config.system is not None:
            return self.config.system
        notes = TOLD if self.config.context == "summary" else ""
        text = "\n".join(part for part in (instructions.strip(), self.format.instructions, notes) if part)
        if not self.tools:
            return text
        if not self._shown or not self._template_shows_tools():
            text += "\nTools:\n" + "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in self.tools)
        if self._shown and not self._template_calls_tools():
            text += '\nCall one with <tool_call>{"name": ..., "arguments": {...}}</tool_call>.'
        return text

    def _template_shows_tools(self) -> bool:
        plain = self.tokenizer.apply_chat_template([_ANY], tokenize=False)
        with_tools = self.tokenizer.apply_chat_template([_ANY], tools=self.tools, tokenize=False)
        return bool(plain != with_tools)

    def _template_calls_tools(self) -> bool:
        """Whether the template writes a call the way the format reads it."""
        call = {"type": "function", "id": "call00001", "function": {"name": "x", "arguments": {}}}
        reply: Message = {"role": "assistant", "content": "", "tool_calls": [call]}
        try:
            return "<tool_call>" in self.render([_ANY, reply], False)
        except Exception:  # a template raises what it likes
            return False

    def _takes(self, role: str) -> bool:
        """Whether the template shows what is said in a role."""
        said: Message = {"role": role, "content": _MARK}
        talk: list[Message] = [said, _ANY] if role == "system" else [_ANY, {"role": "assistant", "content": "y"}, said]
        try:
            return _MARK in self.render(talk)
        except Exception:  # a template raises what it likes
            return False

    def _end_of_turn(self) -> tuple[str, int | None]:
        """The special token that the template writes after a reply; a tokenizer's eos_token may be another one."""
        text = self._after_reply([_ANY]).lstrip()
        first = self.encode(text)[0] if text else None
        token = str(self.tokenizer.decode([first])) if first is not None else ""
        special = first in self.tokenizer.all_special_ids or first in self.tokenizer.get_added_vocab().values()
        return (token, first) if special and token and text.startswith(token) else ("", None)

    def _encode_suffix(self, ended: bool, messages: tuple[tuple[str, str, str | None], ...]) -> list[int]:
        role, content, _ = messages[0]
        if len(messages) == 1 and role == "user" and content and content == content.strip():
            text = self._before + content + self._after
        else:
            said: list[dict[str, str]] = [
                {"role": r, "content": c} | ({} if name is None else {"name": name}) for r, c, name in messages
            ]
            text = self._after_reply(cast("list[Message]", said))
        if ended:  # the sampled end-of-turn token is there already
            text = text.partition(self.end)[2]
        return self.encode(text)

    def _after_reply(self, messages: list[Message]) -> str:
        rendered = self._fitted([_ANY, {"role": "assistant", "content": _MARK}, *messages])
        return rendered.partition(_MARK)[2]


class Conversation:
    """One episode's exchange. ``prompt`` then ``reply``, in turns."""

    def __init__(self, agent: ChatAgent, seed: int = 0) -> None:
        self.agent = agent
        self._rule = rule_of(agent.config.context, seed)
        self.messages: list[Message] = [{"role": "system", "content": agent.system}] if agent.system else []
        self.images: tuple[str, ...] = ()  # of the last prompt, in order
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
            self._render(self.messages)
        elif agent.config.appends:
            self.messages += new
            self._ids = self._ids + agent.suffix(self._ended, new)
            self.images += tuple(agent.seen(new))
        else:
            self.messages += new
            self._render(self._visible())
        return np.asarray(self._ids, np.int32)

    def reply(self, completion_ids: IntArray, text: str) -> None:
        """Record what was sampled after the last prompt."""
        self.messages.append({"role": "assistant", "content": self.agent.whole(text)})
        if self.agent.config.appends:
            self._ids = self._ids + completion_ids.tolist()
            self._ended = bool(len(completion_ids)) and int(completion_ids[-1]) == self.agent.end_id

    def resume(self, turns: Sequence[Turn]) -> None:
        """Take turns that were played before as this episode's own.

        Raises UserError where an agent that talks otherwise played them.
        """
        for index, turn in enumerate(turns):
            ids = self.prompt(turn.info.get("shown", turn.observation))
            if len(turn.completion_ids):
                if not np.array_equal(ids, turn.prompt_ids):
                    raise UserError(f"turn {index} was played by an agent that talks otherwise: its prompt differs")
                self.reply(turn.completion_ids, turn.text)
            elif turn.action is not None:
                written, text = self.agent.written(turn.action)
                self.reply(np.asarray(written, np.int32), text)

    def _render(self, messages: list[Message]) -> None:
        self.images = tuple(self.agent.seen(messages))
        self._ids = self.agent.expanded(self.agent.encode(self.agent.render(messages)), self.images)

    def _visible(self) -> list[Message]:
        config = self.agent.config
        head, tail = self.messages[: self._first], self.messages[self._first :]
        if self._rule is not None:
            tail = self._rule(tail)
        if config.thinking == "strip":
            tail = [
                {**m, "content": without_thinking(text_of(m["content"])).strip()} if m["role"] == "assistant" else m
                for m in tail
            ]
        return [*head, *tail]


def message_as_user(message: Message) -> Message:
    return {"role": "user", "content": message["content"]}


def merge_users(messages: list[Message]) -> list[Message]:
    """Join neighbouring user messages: many templates insist on alternation."""
    merged: list[Message] = []
    for message in messages:
        if merged and message["role"] == merged[-1]["role"] == "user":
            merged[-1] = {**merged[-1], "content": f"{merged[-1]['content']}\n{message['content']}"}
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
