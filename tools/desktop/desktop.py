"""The desktop: unmodified applications, read by their accessibility tree, used with a real mouse and keyboard.

class Mine(ar.ToolEnv):
    desktop = Desktop()

    def start(self, task, rng):
        return self.desktop.open({"a.txt": "hello"}, [["mousepad", "a.txt"]])
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from agentrl.tools.desktop.machine import Machine
from agentrl.tools.desktop.view import View, view_of
from agentrl.tools.tool import ToolError, Toolset, tool
from agentrl.types import Content

RENEWED = 50  # episodes a display lasts
_LONGEST = 2_000  # characters typed at once

X = Annotated[int, Field(ge=0, lt=800)]
Y = Annotated[int, Field(ge=0, lt=600)]
Ref = Annotated[int, Field(ge=1, description="the number of an element, as in [3]")]


class Desktop(Toolset):
    """A display with a bus and a home of its own; programs and home are new in every episode.

    ``screenshot`` adds a picture of the screen to every answer. A desktop that does not answer within ``seconds``
    fails the episode. What the last look saw is in ``seen``.
    """

    snapshot_level = "replay"
    at_once = 4 * (os.cpu_count() or 1)  # each is a dozen processes

    def __init__(self, screenshot: bool = False, seconds: float = 60.0) -> None:
        self.screenshot, self.seconds = screenshot, seconds
        self.seen: View | None = None
        self._machine: Machine | None = None
        self._episodes = 0

    def open(
        self, files: Mapping[str, str], programs: Sequence[Sequence[str]], hidden: Mapping[str, str] | None = None
    ) -> Content:
        """Begin with these files in the home (a folder's name ends with ``/``) and these programs running.

        ``hidden`` are files that :meth:`files` does not tell: the programs' settings.
        """
        if self._machine is not None and (not self._machine.lives or self._episodes >= RENEWED):
            self.close()
        if self._machine is None:
            self._machine, self._episodes = Machine(self.seconds), 0
        self._episodes += 1
        how = {"files": dict(files), "hidden": dict(hidden or {}), "start": [list(p) for p in programs]}
        try:
            self._machine.call("begin", **how, seconds=self.seconds / 2)
            return self.look()
        except RuntimeError:  # whatever was done to it, the next episode has another
            self.close()
            raise

    def look(self) -> Content:
        """The desktop as it is now."""
        found = self._call("look", picture=self.screenshot)
        self.seen = view_of(found["items"])
        text = str(self.seen) + ("" if found["rest"] else "\n(something is still going on)")
        if not self.screenshot:
            return text
        picture = "data:image/png;base64," + found["picture"]
        return [{"type": "text", "text": text}, {"type": "image", "image": picture}]

    def files(self) -> dict[str, str | None]:
        """What the home holds: text by path, "" for a folder (its path ends with ``/``), None for what is no text."""
        return self._call("files")  # type: ignore[no-any-return]

    def reset(self) -> None:
        self.seen = None

    def close(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    # ---- what the agent calls

    @tool
    def click(self, ref: Ref, button: Literal["left", "right"] = "left") -> Content:
        """Click an element."""
        return self._act("click", at=ref, button=button)

    @tool
    def double_click(self, ref: Ref) -> Content:
        """Click an element twice."""
        return self._act("click", at=ref, times=2)

    @tool
    def type(self, text: Annotated[str, Field(max_length=_LONGEST)], ref: Ref | None = None) -> Content:
        """Type where the keyboard is, or in place of an element's text."""
        return self._act("type", text=text, at=ref)

    @tool
    def press(self, key: Annotated[str, Field(max_length=40)]) -> Content:
        """Press a key or a combination, as Enter, Tab, ArrowDown, Control+a."""
        return self._act("press", key=key)

    @tool
    def scroll(self, direction: Literal["up", "down"], ref: Ref) -> Content:
        """Turn the mouse's wheel over an element."""
        return self._act("scroll", at=ref, down=direction == "down")

    @tool
    def click_at(self, x: X, y: Y) -> Content:
        """Click at a place on the screen, in pixels from its upper left corner."""
        return self._act("click", at=[x, y])

    @tool
    def drag(self, x: X, y: Y, to_x: X, to_y: Y) -> Content:
        """Press the mouse at one place, move it to another, and release it there."""
        return self._act("drag", begin=[x, y], end=[to_x, to_y])

    def _act(self, kind: str, **how: Any) -> Content:
        wrong = self._call("act", kind=kind, **how).get("wrong")
        if wrong:
            raise ToolError(wrong)
        return self.look()

    def _call(self, do: str, **how: Any) -> Any:
        if self._machine is None:
            raise RuntimeError("the desktop is not open")
        return self._machine.call(do, **how)
