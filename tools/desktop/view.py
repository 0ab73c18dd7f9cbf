"""What an agent reads of a desktop: its windows, as lines of text with numbered elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentrl.tools import element


@dataclass(frozen=True, slots=True)
class Element(element.Element):
    """One thing on a desktop. ``window`` is the title of its window."""

    window: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A desktop as it was seen. A window is its title, with what is in it; the active one is where keys go."""

    windows: tuple[tuple[str, tuple[str | Element, ...]], ...]
    active: str

    @property
    def elements(self) -> list[Element]:
        return [item for _, items in self.windows for item in items if isinstance(item, Element)]

    def lines(self) -> list[str]:
        told = []
        for title, items in self.windows:
            told.append(f"{title or 'untitled'}{' (active)' if title == self.active else ''}")
            last = None
            for item in items:
                height = item.centre[1] if isinstance(item, Element) else None
                if last is None or height is None or abs(height - last) > 8:
                    told.append(str(item))
                else:
                    told[-1] += f" {item}"
                last = height
        return told

    def __str__(self) -> str:
        return "\n".join(self.lines())


def view_of(items: list[Mapping[str, Any]]) -> View:
    """A :class:`View` from what the guest's tree gives."""
    windows: list[tuple[str, list[str | Element]]] = []
    active = ""
    for item in items:
        if "window" in item:
            windows.append((item["window"], []))
            active = item["window"] if item["active"] else active
        elif "text" in item:
            windows[-1][1].append(item["text"])
        else:
            lists = {"box": tuple(item["box"]), "states": tuple(item["states"])}
            windows[-1][1].append(Element(**{**item, **lists}, window=windows[-1][0]))
    return View(tuple((title, tuple(inside)) for title, inside in windows), active)
