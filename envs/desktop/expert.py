"""How each task is done, one call at a time, from what the desktop shows and what the home holds."""

from __future__ import annotations

from collections.abc import Sequence

from agentrl.envs.desktop.templates import Goal
from agentrl.tools.desktop import Element, View
from agentrl.types import ToolCall

_DIALOGS = ("Rename", "Create New Folder", "Question")


def next_call(goal: Goal, view: View, files: dict[str, str | None], used: Sequence[ToolCall]) -> ToolCall:
    if goal.answer:
        return _find(goal, view, used)
    program = goal.programs[-1][0]
    if program == "galculator":
        return _calculate(goal, view, used)
    if files == goal.after:
        return ToolCall("done")
    if program == "mousepad":
        return _write(goal, view)
    return _carry(goal, view, used) if goal.keys[-1] == "Control+v" else _manage(goal, view)


def _write(goal: Goal, view: View) -> ToolCall:
    """Type the whole text and save it, under its name where it is new."""
    wanted = goal.after[goal.subject]
    name, editor = _of_window(view, "textbox", "Save As"), _of_window(view, "textbox", "Mousepad")
    if name is not None and view.active == "Save As":
        if name.value != goal.subject:
            return ToolCall("type", text=goal.subject, ref=name.ref)
        return ToolCall("press", key="Enter")
    if editor is None:
        return ToolCall("done")  # it was closed
    if not view.active.endswith("Mousepad"):
        return ToolCall("press", key="Alt+Tab" if view.active == "galculator" else "Escape")
    if editor.value != wanted:
        return ToolCall("type", text=wanted, ref=editor.ref)
    return ToolCall("press", key="Control+Shift+s" if goal.subject not in goal.before else "Control+s")


def _calculate(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    buttons = {e.name: e for e in view.elements if e.role in ("button", "menu", "menuitem")}
    if goal.has and goal.has not in buttons:
        mode = next((e for name, e in buttons.items() if name.startswith("Scientific")), buttons.get("View"))
        return ToolCall("click", ref=mode.ref) if mode is not None else ToolCall("press", key="Escape")
    if displayed(view) == goal.shown:
        return ToolCall("done")
    names = {e.ref: e.name for e in view.elements}
    pressed = [names.get(call.arguments.get("ref", 0), "?") for call in used if call.name == "click"]
    pressed = pressed[len(pressed) - pressed[::-1].index("AC") :] if "AC" in pressed else pressed
    if not buttons.keys() >= {"AC", *goal.keys}:
        return ToolCall("done")  # it was closed
    if len(pressed) < len(goal.keys) and tuple(pressed) == goal.keys[: len(pressed)]:
        return ToolCall("click", ref=buttons[goal.keys[len(pressed)]].ref)
    return ToolCall("click", ref=buttons["AC"].ref)


def _manage(goal: Goal, view: View) -> ToolCall:
    """Select the thing, press the key that begins it, fill in the name, and confirm."""
    begin, *names = goal.keys
    if view.active.startswith(_DIALOGS):
        field = next((e for e in view.elements if e.role == "textbox" and e.window == view.active), None)
        if field is not None and names and field.value != names[0]:
            return ToolCall("type", text=names[0], ref=field.ref)
        return ToolCall("press", key="Enter")
    return _select(goal, view) or ToolCall("press", key=begin)


def _carry(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    """Select the thing, take it, open the folder, put it there."""
    take, folder, put = goal.keys
    if view.active == f"{folder} - Thunar" and ToolCall("press", key=take) in used:
        return ToolCall("press", key=put)
    selecting = _select(goal, view)
    if selecting is not None:
        return selecting
    if not used or used[-1] != ToolCall("press", key=take):
        return ToolCall("press", key=take)
    opened = _cells(view).get(folder)
    return ToolCall("double_click", ref=opened.ref) if opened is not None else ToolCall("done")


def _select(goal: Goal, view: View) -> ToolCall | None:
    """What leads to the home with the thing selected; None where it is. What else has opened is left."""
    if not view.active.endswith(" - Thunar"):
        return ToolCall("press", key="Escape")
    if view.active != "user - Thunar":
        return ToolCall("press", key="Alt+Home")
    thing = _cells(view).get(goal.subject)
    if goal.subject and thing is None:
        return ToolCall("done")  # it cannot be mended
    return None if thing is None or "selected" in thing.states else ToolCall("click", ref=thing.ref)


def _find(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    """Open one folder after the other until the file is seen."""
    if not view.active.endswith(" - Thunar"):
        return ToolCall("press", key="Escape")
    title, cells = view.active.removesuffix(" - Thunar"), _cells(view)
    if title != "user":
        return ToolCall("done", answer=title) if goal.subject in cells else ToolCall("press", key="Alt+Home")
    tried = {call.arguments["ref"] for call in used if call.name == "double_click"}
    left = [cells[name] for name in sorted(goal.keys) if name in cells and cells[name].ref not in tried]
    return ToolCall("double_click", ref=left[0].ref) if left else ToolCall("done")


def _cells(view: View) -> dict[str, Element]:
    return {e.name: e for e in view.elements if e.role == "cell"}


def displayed(view: View) -> str | None:
    """What the calculator shows; in scientific mode more lines follow."""
    shown = (e.value for e in view.elements if e.role == "textbox" and e.window == "galculator")
    return next((value.split("\n")[0].strip() for value in shown if value), None)


def _of_window(view: View, role: str, title: str) -> Element | None:
    return next((e for e in view.elements if e.role == role and e.window.endswith(title)), None)
