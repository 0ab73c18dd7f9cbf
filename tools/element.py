"""Something on a page or a desktop that can be acted on, as agents read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """``[3] button "Save" (focused)``. ``box`` is x, y, width, height in the picture that is shown, in pixels."""

    ref: int
    role: str
    name: str
    box: tuple[int, int, int, int]
    states: tuple[str, ...] = ()
    value: str | None = None
    options: tuple[str, ...] = ()
    look: str = ""  # of a shape: colour and size

    @property
    def centre(self) -> tuple[int, int]:
        x, y, width, height = self.box
        return x + width // 2, y + height // 2

    def __str__(self) -> str:
        told = f"[{self.ref}] {self.role}"
        told += f' "{self.name}"' if self.name else ""
        told += f" {self.look}" if self.look else ""
        told += f' = "{self.value}"' if self.value is not None else ""
        told += f" of {', '.join(self.options)}" if self.options else ""
        return told + (f" ({', '.join(self.states)})" if self.states else "")
