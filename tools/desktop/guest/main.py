"""The first program of a desktop: starts the display and what is on it, and does what it is told, line by line.

It runs under Debian's own Python, which has the bindings to the accessibility bus, and ends when nobody listens.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(__file__))
os.umask(0o022)

import programs  # noqa: E402

_MOST_FILES, _MOST_BYTES = 500, 100_000
_DAY = 1_700_000_000  # when all files of a new home were changed


class Desk:
    def __init__(self) -> None:
        self._programs = programs.Programs()
        os.environ.update(programs.environment())
        from hands import Hands
        from tree import Tree

        self._tree = Tree()
        self._hands = Hands(self._rest)
        self._tree.look()  # starts the accessibility bus
        self._rest()
        self._programs.keep()
        self._kept = set(programs.TMP.iterdir())

    def begin(self, files: dict[str, str], hidden: dict[str, str], start: list[list[str]], seconds: float) -> Any:
        """A new home with these files (a path that ends with / is a folder), and these programs in it."""
        self._programs.end()
        for old in [*programs.HOME.iterdir(), *set(programs.TMP.iterdir()).difference(self._kept)]:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        for path, text in {**files, **hidden}.items():
            at = programs.HOME / path
            (at if path.endswith("/") else at.parent).mkdir(parents=True, exist_ok=True)
            if not path.endswith("/"):
                at.write_text(text)
        for path in programs.HOME.rglob("*"):
            os.utime(path, (_DAY, _DAY))
        self._hands.move(programs.SIZE[0] - 1, programs.SIZE[1] - 1)
        self._tree.restart()
        end = time.monotonic() + seconds
        for count, command in enumerate(start, 1):
            self._programs.start(command)
            while self._tree.windows() < count:
                if time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} opens no window in {seconds:g} s")
                time.sleep(0.01)
            self._rest()
        return self.look()

    def look(self, picture: bool = False) -> Any:
        rest = self._rest()
        seen: dict[str, Any] = {"items": self._tree.look(), "rest": rest}
        if picture:
            seen["picture"] = base64.b64encode(self._hands.picture()).decode()
        return seen

    def files(self) -> dict[str, str | None]:
        """What is in the home, hidden files apart: folders by a name that ends with /; None for what is no text."""
        found: dict[str, str | None] = {}
        for folder, folders, names in os.walk(programs.HOME):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            at = os.path.relpath(folder, programs.HOME)
            prefix = "" if at == "." else at + "/"
            for name in folders:
                found[f"{prefix}{name}/"] = ""
            for name in sorted(names):
                if not name.startswith(".") and len(found) < _MOST_FILES:
                    found[prefix + name] = _text(Path(folder, name))
        return found

    def act(self, kind: str, **how: Any) -> Any:
        """One action; what is wrong with it, if something is."""
        from hands import NoKey

        try:
            wrong = getattr(self, f"_{kind}")(**how)
        except NoKey as error:
            return {"wrong": f"there is no key {str(error)!r}"}
        return {"wrong": wrong} if isinstance(wrong, str) else {}

    def _click(self, at: int | list[int], button: str = "left", times: int = 1) -> str | None:
        point = self._point(at)
        if isinstance(point, str):
            return point
        self._hands.move(*point)
        self._rest()
        self._hands.button(button, times)
        return None

    def _type(self, text: str, at: int | None = None) -> str | None:
        if at is not None:
            wrong = self._click(at)
            if wrong:
                return wrong
            self._rest()
            self._hands.press("Control+a")
            if not text:
                self._hands.press("Delete")
        self._hands.write(text)
        self._rest(programs.DELAYED)
        return None

    def _press(self, key: str) -> None:
        self._hands.press(key)
        self._rest(programs.DELAYED)

    def _scroll(self, at: int | list[int], down: bool) -> str | None:
        return self._click(at, "down" if down else "up", 5)

    def _drag(self, begin: list[int], end: list[int]) -> None:
        self._hands.drag((begin[0], begin[1]), (end[0], end[1]))

    def _point(self, at: int | list[int]) -> tuple[int, int] | str:
        if isinstance(at, list):
            return at[0], at[1]
        box = self._tree.box(at)
        if box is None:
            return f"there is no element {at} here"
        x, y = box[0] + box[2] // 2, box[1] + box[3] // 2
        if not (0 <= x < programs.SIZE[0] and 0 <= y < programs.SIZE[1]):
            return f"element {at} is outside the screen"
        above = self._hands.title_at(x, y)
        if above not in (None, self._tree.titles[at]):
            return f"element {at} is covered by the window {above!r}"
        return x, y

    def _rest(self, quiet: float = programs.QUIET) -> bool:
        return bool(self._programs.rest(quiet))


def _text(path: Path) -> str | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _lines() -> Callable[[], str]:
    """Lines of stdin; its end is this program's, whatever it is doing."""
    waiting: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return waiting.get


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else prints goes where nobody reads answers
    line = _lines()
    desk = None
    while True:
        told = json.loads(line())
        try:
            desk = desk or Desk()
            answer = {"is": getattr(desk, told.pop("do"))(**told)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


main()
