"""The windows as the accessibility bus has them: numbered elements and text, in the order of the tree."""

from __future__ import annotations

from typing import Any

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

_MOST = 400  # items in a view
_NAME, _TEXT = 200, 2_000  # characters of a name, of a field
# Roles that can be acted on, and how they are called. What else has a name or a text is text.
_ROLES = {
    "push button": "button", "toggle button": "button", "check box": "checkbox", "radio button": "radio",
    "menu": "menu", "menu item": "menuitem", "check menu item": "menuitem", "radio menu item": "menuitem",
    "text": "textbox", "entry": "textbox", "password text": "textbox", "combo box": "combobox",
    "spin button": "spinbutton", "slider": "slider", "page tab": "tab", "table cell": "cell", "icon": "icon",
    "list item": "item", "tree item": "item", "link": "link", "table column header": "column",
}  # fmt: skip
_STATES = {
    Atspi.StateType.FOCUSED: "focused", Atspi.StateType.CHECKED: "checked", Atspi.StateType.SELECTED: "selected",
    Atspi.StateType.EXPANDED: "expanded",
}  # fmt: skip

_CLOCKS = ("Modified", "Accessed", "Date Modified", "Date Accessed", "Date Created")


class Tree:
    """Elements keep their number until :meth:`restart`."""

    def __init__(self) -> None:
        Atspi.init()
        self.restart()

    def restart(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self.found: dict[int, Any] = {}
        self.titles: dict[int, str] = {}  # of the windows that elements are in

    def windows(self) -> int:
        return sum(len(list(_children(app))) for app in _children(Atspi.get_desktop(0)))

    def look(self) -> list[dict[str, Any]]:
        """A list of ``{"line": text}``, ``{"text": text}`` and elements."""
        _drain()
        Atspi.get_desktop(0).clear_cache()
        items: list[dict[str, Any]] = []
        self.found, self.titles = {}, {}
        for app in _children(Atspi.get_desktop(0)):
            for window in _children(app):
                if _showing(window):
                    inside: list[dict[str, Any]] = []
                    self._walk(window, inside)
                    title = (window.get_name() or "")[:_NAME]
                    self.titles.update({item["ref"]: title for item in inside if "ref" in item})
                    items += [{"window": title, "active": _is(window, Atspi.StateType.ACTIVE)}, *_timeless(inside)]
        return items

    def box(self, ref: int) -> list[int] | None:
        """Where an element that was seen is now: x, y, width, height."""
        node = self.found.get(ref)
        try:
            return _box(node) if node is not None and _showing(node) else None
        except GLib.Error:
            return None

    def _walk(self, node: Any, items: list[dict[str, Any]]) -> None:
        for child in _children(node):
            if len(items) >= _MOST:
                return
            if not _showing(child):
                continue
            role = child.get_role_name()
            name = (child.get_name() or "").strip()[:_NAME]
            if role in _ROLES:
                box = _box(child)
                if box is None or (role == "table cell" and not name):
                    self._walk(child, items)
                    continue
                ref = self._number(child)
                self.found[ref] = child
                items.append({"ref": ref, "role": _ROLES[role], "name": name, "box": box, **_more(child, role)})
                if role in ("menu", "combo box", "page tab"):
                    self._walk(child, items)
            else:
                text = name or (_text(child) if role in ("label", "static") else "") or ""
                if text.strip() and role in ("label", "static", "heading", "status bar", "info bar", "alert", "dialog"):
                    items.append({"text": text})
                self._walk(child, items)

    def _number(self, node: Any) -> int:
        key = node.app.bus_name, node.path
        return self._numbers.setdefault(key, len(self._numbers) + 1)


def _timeless(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the columns of a list that tell the time."""
    clocks = [item["box"] for item in items if item.get("role") == "column" and item["name"] in _CLOCKS]

    def tells(item: dict[str, Any]) -> bool:
        return item.get("role") in ("column", "cell") and any(
            box[0] <= item["box"][0] < box[0] + box[2] for box in clocks
        )

    return [item for item in items if not tells(item)]


def _children(node: Any) -> Any:
    try:
        for i in range(min(node.get_child_count(), _MOST)):
            child = node.get_child_at_index(i)
            if child is not None:
                yield child
    except GLib.Error:  # it went away meanwhile
        return


def _is(node: Any, state: Any) -> bool:
    return bool(node.get_state_set().contains(state))


def _showing(node: Any) -> bool:
    states = node.get_state_set()
    return bool(states.contains(Atspi.StateType.SHOWING) and states.contains(Atspi.StateType.VISIBLE))


def _box(node: Any) -> list[int] | None:
    try:
        at = node.get_component_iface().get_extents(Atspi.CoordType.SCREEN)
    except (GLib.Error, AttributeError):
        return None
    return [at.x, at.y, at.width, at.height] if at.width > 0 and at.height > 0 and at.x > -10_000 else None


def _text(node: Any) -> str | None:
    try:
        iface = node.get_text_iface()
        return None if iface is None else Atspi.Text.get_text(iface, 0, min(_TEXT, iface.get_character_count()))
    except GLib.Error:
        return None


def _more(node: Any, role: str) -> dict[str, Any]:
    states = node.get_state_set()
    more: dict[str, Any] = {"states": [name for state, name in _STATES.items() if states.contains(state)]}
    if not states.contains(Atspi.StateType.SENSITIVE):
        more["states"].append("disabled")
    if role in ("text", "entry", "spin button"):
        more["value"] = _text(node) or ""
    elif role == "slider":
        more["value"] = f"{node.get_value_iface().get_current_value():g}"
    elif role == "combo box":
        more["value"] = node.get_name() or ""
    return more


def _drain() -> None:
    while GLib.MainContext.default().iteration(False):
        pass
