"""What a scripted solver looks at and acts through."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from agentrl.tools.browser import Element
from agentrl.types import ToolCall


class Lost(Exception):
    """The page does not show what the solver looks for."""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a player has before it: what is asked, the elements and the text of the page.

    ``used``: the calls that were made, each with the element that it named, as that was then.
    """

    asked: str
    elements: list[Element]
    text: str
    used: list[tuple[ToolCall, Element | None]]

    @property
    def clicked(self) -> list[Element]:
        return [e for call, e in self.used if call.name == "click" and e is not None]

    def ask(self, pattern: str) -> tuple[str, ...]:
        found = re.search(pattern, self.asked)
        if found is None:
            raise Lost(f"{pattern} is not asked in {self.asked!r}")
        return tuple(group or "" for group in found.groups())

    def all(self, *roles: str) -> list[Element]:
        return [e for e in self.elements if e.role in roles]

    def named(self, name: str, *roles: str) -> Element:
        for e in self.elements:
            if e.name == name and (not roles or e.role in roles):
                return e
        raise Lost(f"no {name!r}")

    def next(self, among: list[Element]) -> Element:
        """The one that was clicked least often: who searches opens one after the other."""
        if not among:
            raise Lost("nothing to click")
        clicks = Counter(e.ref for e in self.clicked)
        return min(among, key=lambda e: clicks[e.ref])

    def click(self, name: str, *roles: str) -> ToolCall:
        return click(self.named(name, *roles))

    def fill(self, fields: dict[int, str], then: str) -> ToolCall:
        """Type the first field that does not hold its text yet, else click what is named ``then``."""
        boxes = self.all("textbox", "searchbox", "spinbutton", "input", "combobox")
        for index, text in fields.items():
            if index >= len(boxes):
                raise Lost(f"no field {index}")
            if boxes[index].value != text:
                return ToolCall("type", ref=boxes[index].ref, text=text)
        return self.click(then)


def click(element: Element) -> ToolCall:
    return ToolCall("click", ref=element.ref)
