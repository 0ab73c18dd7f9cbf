"""The agent of a policy of messages: the endpoint renders and parses, so there are no token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from agentrl.agents.chat import AgentConfig, format_for
from agentrl.agents.formats import Format
from agentrl.errors import UserError
from agentrl.policies.base import Said
from agentrl.types import Action, IntArray, Message, Observation, Part, Turn, text_of


class RemoteAgent:
    """Turns observations into messages and replies into actions, for one kind of environment."""

    def __init__(
        self, config: AgentConfig, instructions: str, tools: list[dict[str, Any]], images: bool = False
    ) -> None:
        if not config.appends:
            raise UserError("a policy behind an endpoint sees the whole history: agent.context full, thinking keep")
        self.config, self.images = config, images
        self.format: Format = format_for(config, tools)
        native = config.format in ("auto", "tools")
        self.tools = tools if native else []
        self.stop = self.format.stop
        said = [instructions.strip(), self.format.instructions]
        if tools and not native:
            said.append("Tools:\n" + "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools))
        self.system = config.system if config.system is not None else "\n".join(part for part in said if part)

    def start(self, seed: int) -> RemoteConversation:
        """``seed``: of what a context rule draws, of which there is none here."""
        return RemoteConversation(self)

    def parse(self, text: str) -> Action:
        return self.format.parse(text)

    def written(self, action: Action) -> tuple[list[int], str]:
        return [], self.format.render(action)


class RemoteConversation:
    """One episode's exchange. ``prompt`` then ``reply`` (or ``heard``), in turns."""

    def __init__(self, agent: RemoteAgent) -> None:
        self.agent = agent
        self.messages: list[Message] = [{"role": "system", "content": agent.system}] if agent.system else []
        self._open: list[str] = []  # ids of calls that have had no answer

    def prompt(self, observation: Observation) -> list[Message]:
        """Record an observation; the messages that the policy answers. Every call is answered, as endpoints insist."""
        new: list[Message] = [{"role": "user", "content": observation}] if isinstance(observation, str) else observation
        for message in new:
            content = message["content"]
            shown = _parts(content) if self.agent.images and not isinstance(content, str) else text_of(content)
            plain: dict[str, Any] = {"role": message["role"], "content": shown}
            if self._open:
                plain |= {"role": "tool", "tool_call_id": self._open.pop(0)}
            elif message["role"] == "tool":
                plain["role"] = "user"
            self.messages.append(plain)  # type: ignore[arg-type]
        unanswered, self._open = self._open, []
        for id in unanswered:
            self.messages.append({"role": "tool", "tool_call_id": id, "content": ""})  # type: ignore[typeddict-unknown-key]
        return self.messages

    def heard(self, said: Said) -> str:
        """Record a reply; its text, with calls as the format writes them."""
        self.messages.append(said.message)
        self._open = [str(call.get("id")) for call in said.message.get("tool_calls", ())]
        calls = [
            f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {arguments}}}</tool_call>'
            for name, arguments in said.calls
        ]
        text = text_of(said.message["content"])
        if self.agent.stop and not text.rstrip().endswith(self.agent.stop) and not said.cut:
            text += self.agent.stop[0]  # endpoints leave out the string that they stopped at
        return "\n".join(part for part in (text, *calls) if part)

    def reply(self, ids: IntArray, text: str) -> None:
        """Record what somebody else said in the policy's place."""
        self.messages.append({"role": "assistant", "content": text})

    def resume(self, turns: Sequence[Turn]) -> None:
        if turns:
            raise UserError("a policy behind an endpoint plays whole episodes: it cannot go on from a stored turn")


def _parts(content: list[Part]) -> list[dict[str, Any]]:
    """Content parts as endpoints take them."""
    return [
        {"type": "image_url", "image_url": {"url": part["image"]}} if part["type"] == "image" else dict(part)
        for part in content
    ]
