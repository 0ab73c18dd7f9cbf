"""Who answers the agent's questions: a script, or a language model that is told the same."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence

from agentrl.errors import UserError

Hidden = Sequence[tuple[tuple[str, ...], str]]  # words that a question may hold, and what is then said
SHRUG = "I have said what I want. Ask me about one thing, and I will tell you if I know."


def scripted(question: str, hidden: Hidden) -> str:
    """Tells everything that the question has a word for."""
    asked = set(re.findall(r"\w+", question.casefold()))
    return " ".join(reply for words, reply in hidden if asked & set(words)) or SHRUG


class ModelUser:
    """A model behind any server that speaks the chat completions of OpenAI. ``address``: ``http://host/v1#model``.

    A key is read from ``OPENAI_API_KEY``. What the server says is text for the agent and nothing else.
    """

    def __init__(self, address: str, seconds: float = 60.0) -> None:
        self.base, _, self.model = address.partition("#")
        self.seconds = seconds
        if not (self.base.startswith(("http://", "https://")) and self.model):
            raise UserError(f"a user is an address such as http://localhost:8000/v1#model, not {address!r}")

    def answer(self, question: str, request: str, hidden: Hidden, talk: Sequence[tuple[str, str]]) -> str:
        """``talk``: what was asked and answered before. Raises RuntimeError where the server gives no answer."""
        facts = "\n".join(f"- {reply}" for _, reply in hidden) or "- nothing more than you have said"
        system = (
            f"You play a person who gave an assistant this order:\n{request}\n\nWhat you know besides:\n{facts}\n\n"
            "Answer the assistant's question in one short sentence, from this knowledge alone. Tell only what is "
            "asked for. If you do not know, say so."
        )
        messages = [{"role": "system", "content": system}]
        for asked, answered in talk:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        messages.append({"role": "user", "content": question})
        body = {"model": self.model, "messages": messages, "temperature": 0.0, "max_tokens": 100}
        order = urllib.request.Request(f"{self.base.rstrip('/')}/chat/completions", json.dumps(body).encode())
        order.add_header("Content-Type", "application/json")
        if key := os.environ.get("OPENAI_API_KEY"):
            order.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(order, timeout=self.seconds) as reply:
                said = json.load(reply)["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:  # the body tells why
            why = error.read(500).decode(errors="replace")
            raise RuntimeError(f"the user at {self.base} refused with {error.code}: {why}") from None
        except OSError as error:
            raise RuntimeError(f"the user at {self.base} does not answer: {error}") from None
        except (ValueError, LookupError, TypeError):
            raise RuntimeError(f"the user at {self.base} said what is no chat completion") from None
        return str(said or "").strip() or SHRUG
