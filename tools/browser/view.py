"""What an agent reads of a page: lines of text, and numbered elements with role, name, value and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentrl.tools import element


@dataclass(frozen=True, slots=True)
class Element(element.Element):
    """One thing on a page, with what the page says of it."""

    tag: str = ""
    id: str = ""
    classes: str = ""
    shape: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """A page as it was seen."""

    url: str
    title: str
    items: tuple[str | Element, ...]  # a line break is "\n" with what the line begins with
    scroll: tuple[int, int] = (0, 0)  # how far it is scrolled, and how far it can be
    more: bool = False

    @property
    def elements(self) -> list[Element]:
        return [item for item in self.items if isinstance(item, Element)]

    def lines(self, places: bool = False) -> list[str]:
        """The text with the elements in it, without empty lines; ``places``: and where they are."""
        lines = [""]
        for item in self.items:
            if isinstance(item, Element):
                at = f" at {item.centre[0]},{item.centre[1]}" if places else ""
                lines[-1] += f" {item}{at} "
            elif item.startswith("\n"):
                lines.append(item[1:])
            else:
                lines[-1] += item
        tidy = (" ".join(line.split()) for line in lines)
        return [line.removeprefix("| ") for line in tidy if line.strip("#-| ")]

    def told(self, address: bool = True, places: bool = False) -> list[str]:
        """All there is to read, in lines."""
        lines = [f"{self.title or 'untitled'} - {self.url}"] if address else []
        lines += self.lines(places)
        if self.scroll[1] > 0:
            lines.append(f"(scrolled {self.scroll[0]} of {self.scroll[1]} pixels)")
        return [*lines, "(the page goes on)"] if self.more else lines

    def __str__(self) -> str:
        return "\n".join(self.told())


def view_of(seen: Mapping[str, Any]) -> View:
    """A :class:`View` from what ``view.js`` gives."""
    items: list[str | Element] = []
    for item in seen["items"]:
        if "text" in item:
            items.append(item["text"])
        elif "br" in item:
            items.append("\n" + item["br"])
        else:
            lists = {key: tuple(item.get(key) or ()) for key in ("box", "states", "options")}
            items.append(Element(**{**item, **lists}))
    return View(seen["url"], seen["title"], tuple(items), tuple(seen["scroll"]), seen["more"])
