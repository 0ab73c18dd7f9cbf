"""Mouse and keyboard, by the XTEST extension, and the screen as a picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

from Xlib import XK, X, display
from Xlib.ext import xtest

XK.load_keysym_group("xkb")
_NAMES = {
    "Enter": "Return", "ArrowUp": "Up", "ArrowDown": "Down", "ArrowLeft": "Left", "ArrowRight": "Right",
    "Backspace": "BackSpace", "Esc": "Escape", "Del": "Delete", "PageUp": "Prior", "PageDown": "Next",
    "Control": "Control_L", "Ctrl": "Control_L", "Alt": "Alt_L", "Shift": "Shift_L", "Space": "space",
    "\n": "Return", "\t": "Tab",
}  # fmt: skip
BUTTONS = {"left": 1, "middle": 2, "right": 3, "up": 4, "down": 5}


class NoKey(Exception):
    """The keyboard has no such key."""


class Hands:
    def __init__(self, settle: Callable[[], object]) -> None:
        self._display = display.Display(":0")
        self._settle = settle  # after a key was given a new meaning: the programs have to hear of it
        self._root = self._display.screen().root
        self._spare = [
            code
            for code in range(self._display.display.info.min_keycode, 256)
            if not any(self._display.keycode_to_keysym(code, level) for level in range(4))
        ]

    def move(self, x: int, y: int) -> None:
        xtest.fake_input(self._display, X.MotionNotify, x=x, y=y)
        self._display.sync()

    def button(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            xtest.fake_input(self._display, X.ButtonPress, BUTTONS[name])
            xtest.fake_input(self._display, X.ButtonRelease, BUTTONS[name])
        self._display.sync()

    def title_at(self, x: int, y: int) -> str | None:
        """The title of the window at a point; None for a menu, or where there is none."""
        window, name = self._root, self._display.intern_atom("_NET_WM_NAME")
        for _ in range(4):  # the window manager's frame, and in it the program's window
            child = window.translate_coords(self._root, x, y).child
            if not child:
                return None
            window = child
            if (title := window.get_full_property(name, X.AnyPropertyType)) is not None:
                override = window.get_attributes().override_redirect
                return None if override else bytes(title.value).decode(errors="replace")
        return None

    def drag(self, begin: tuple[int, int], end: tuple[int, int]) -> None:
        self.move(*begin)
        xtest.fake_input(self._display, X.ButtonPress, 1)
        for step in range(1, 6):
            self.move(*(a + (b - a) * step // 5 for a, b in zip(begin, end, strict=True)))
        xtest.fake_input(self._display, X.ButtonRelease, 1)
        self._display.sync()

    def press(self, combination: str) -> None:
        """A key or a combination, as ``Control+s``. Raises NoKey for one that there is none of."""
        *held, last = [combination] if combination == "+" else combination.replace("++", "+plus").split("+")
        keys = [self._key(name) for name in [*held, last]]
        codes = [code for code, _ in keys]
        if keys[-1][1]:
            codes.insert(-1, self._key("Shift")[0])
        for code in codes:
            xtest.fake_input(self._display, X.KeyPress, code)
        if "Alt" in held:  # the window manager takes the keyboard, and acts when the key is let go
            self._display.sync()
            self._settle()
        for code in reversed(codes):
            xtest.fake_input(self._display, X.KeyRelease, code)
        self._display.sync()

    def write(self, text: str) -> None:
        """Type a text; a character that the keyboard lacks is lent a key."""
        for start in range(0, len(text), len(self._spare)):
            part = text[start : start + len(self._spare)]
            if foreign := [c for c in dict.fromkeys(part) if self._find(_keysym(c)) is None]:
                for code, character in zip(self._spare, foreign, strict=False):
                    self._display.change_keyboard_mapping(code, [[_keysym(character)] * 4])
                self._display.sync()
                for event in iter(self._event, None):
                    if event.type == X.MappingNotify:
                        self._display.refresh_keyboard_mapping(event)
                self._settle()
            for character in part:
                self._stroke(_keysym(character))

    def picture(self) -> bytes:
        """The screen, as PNG."""
        size = self._root.get_geometry()
        data = self._root.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF).data
        colours = bytearray(size.width * size.height * 3)
        for to, at in enumerate((2, 1, 0)):
            colours[to::3] = data[at::4]
        row = size.width * 3
        lines = b"".join(b"\0" + colours[i : i + row] for i in range(0, len(colours), row))
        head = struct.pack(">2I5B", size.width, size.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 3)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )

    def _event(self) -> Any:
        return self._display.next_event() if self._display.pending_events() else None

    def _stroke(self, keysym: int) -> None:
        found = self._find(keysym)
        if found is None:
            return
        code, shifted = found
        shift = self._key("Shift")[0]
        strokes = [(X.KeyPress, shift)] * shifted + [(X.KeyPress, code), (X.KeyRelease, code)]
        for kind, key in [*strokes, *[(X.KeyRelease, shift)] * shifted]:
            xtest.fake_input(self._display, kind, key)
        self._display.sync()

    def _key(self, name: str) -> tuple[int, bool]:
        found = self._find(_keysym(_NAMES.get(name, name)))
        if found is None:
            raise NoKey(name)
        return found

    def _find(self, keysym: int) -> tuple[int, bool] | None:
        """Its key, and whether with Shift."""
        if not keysym:
            return None
        levels = [(index, code) for code, index in self._display.keysym_to_keycodes(keysym) if index < 2]
        return (min(levels)[1], min(levels)[0] == 1) if levels else None


def _keysym(name: str) -> int:
    if name in _NAMES:
        name = _NAMES[name]
    if len(name) != 1:
        return int(XK.string_to_keysym(name))
    point = ord(name)
    return point if 0x20 <= point <= 0x7E or 0xA0 <= point <= 0xFF else 0x1000000 + point if point > 0xFF else 0
