"""How each task is done, one call at a time, from what the desktop shows and what the home holds."""

from __future__ import annotations

from collections.abc import Sequence

from agentrl.envs.desktop.tasks import Goal
from agentrl.tools.desktop import Element, View
from agentrl.types import ToolCall


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
    wanted = goal.after[goal.subject]
    if view.active == "Save As":
        name = _of_window(view, "textbox", "Save As")
        if name.value != goal.subject:
            return ToolCall("type", text=goal.subject, ref=name.ref)
        return ToolCall("press", key="Enter")
    editor = _of_window(view, "textbox", "Mousepad")
    if editor.value != wanted:
        return ToolCall("type", text=wanted, ref=editor.ref)
    return ToolCall("press", key="Control+Shift+s" if goal.subject not in goal.before else "Control+s")


def _calculate(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    buttons = {e.name: e for e in view.elements if e.role in ("button", "menu", "menuitem")}
    if goal.has and goal.has not in buttons:
        mode = next((e for name, e in buttons.items() if name.startswith("Scientific")), buttons.get("View"))
        assert mode is not None
        return ToolCall("click", ref=mode.ref)
    if displayed(view) == goal.shown:
        return ToolCall("done")
    names = {e.ref: e.name for e in view.elements}
    pressed = [names.get(call.arguments.get("ref", 0), "?") for call in used if call.name == "click"]
    pressed = pressed[len(pressed) - pressed[::-1].index("AC") :] if "AC" in pressed else pressed
    if len(pressed) < len(goal.keys) and tuple(pressed) == goal.keys[: len(pressed)]:
        return ToolCall("click", ref=buttons[goal.keys[len(pressed)]].ref)
    return ToolCall("click", ref=buttons["AC"].ref)


def _manage(goal: Goal, view: View) -> ToolCall:
    """Select the thing, press the key that begins it, fill in the name; or take it to the folder."""
    begin, *rest = goal.keys
    dialog = next((title for title, _ in view.windows if not title.endswith("Thunar")), None)
    if dialog is not None:
        name = next((e for e in view.elements if e.role == "textbox" and e.window == dialog), None)
        if name is not None and name.value != rest[0]:
            return ToolCall("type", text=rest[0], ref=name.ref)
        return ToolCall("press", key="Enter")
    cells = {e.name: e for e in view.elements if e.role == "cell"}
    if goal.subject and "selected" not in cells[goal.subject].states:
        return ToolCall("click", ref=cells[goal.subject].ref)
    return ToolCall("press", key=begin)


def _carry(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    """Select the thing, take it, open the folder, put it there."""
    take, folder, put = goal.keys
    if view.active.startswith(folder):
        return ToolCall("press", key=put)
    cells = {e.name: e for e in view.elements if e.role == "cell"}
    if "selected" not in cells[goal.subject].states:
        return ToolCall("click", ref=cells[goal.subject].ref)
    if not used or used[-1] != ToolCall("press", key=take):
        return ToolCall("press", key=take)
    return ToolCall("double_click", ref=cells[folder].ref)


def _find(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    """Open one folder after the other until the file is seen."""
    title = view.active.removesuffix(" - Thunar")
    cells = {e.name: e for e in view.elements if e.role == "cell"}
    if title != "user" and goal.subject in cells:
        return ToolCall("done", answer=title)
    if title != "user":
        return ToolCall("press", key="Alt+ArrowUp")
    tried = {call.arguments["ref"] for call in used if call.name == "double_click"}
    folder = next(cells[name] for name in sorted(goal.keys) if cells[name].ref not in tried)
    return ToolCall("double_click", ref=folder.ref)


def displayed(view: View) -> str | None:
    """What the calculator shows; in scientific mode more lines follow."""
    shown = (e.value for e in view.elements if e.role == "textbox" and e.window == "galculator")
    return next((value.split("\n")[0].strip() for value in shown if value), None)


def _of_window(view: View, role: str, title: str) -> Element:
    return next(e for e in view.elements if e.role == role and e.window.endswith(title))
