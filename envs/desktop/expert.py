"""How each task is done, one call at a time, from what the desktop shows and what the home holds."""

from __future__ import annotations

from collections.abc import Sequence

from agentrl.envs.desktop.tasks import Goal
from agentrl.tools.desktop import Element, View
from agentrl.types import ToolCall


def next_call(goal: Goal, view: View, files: dict[str, str | None], used: Sequence[ToolCall]) -> ToolCall:
    if goal.answer:
        return _answer(goal, view, files)
    program = goal.programs[-1][0]
    if program == "galculator":
        return _calculate(goal, view, used)
    if files == goal.after:
        return ToolCall("done")
    return _write(goal, view) if program == "mousepad" else _manage(goal, view, used)


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
    display = next(e for e in view.elements if e.role == "textbox")
    if display.value == goal.shown:
        return ToolCall("done")
    names = {e.ref: e.name for e in view.elements}
    pressed = [names.get(call.arguments.get("ref", 0), "?") for call in used if call.name == "click"]
    pressed = pressed[len(pressed) - pressed[::-1].index("AC") :] if "AC" in pressed else pressed
    if len(pressed) < len(goal.keys) and tuple(pressed) == goal.keys[: len(pressed)]:
        return ToolCall("click", ref=buttons[goal.keys[len(pressed)]].ref)
    return ToolCall("click", ref=buttons["AC"].ref)


def _manage(goal: Goal, view: View, used: Sequence[ToolCall]) -> ToolCall:
    ...


def _answer(goal: Goal, view: View, files: dict[str, str | None]) -> ToolCall:
    return ToolCall("done", answer=goal.answer)


def _of_window(view: View, role: str, title: str) -> Element:
    return next(e for e in view.elements if e.role == role and e.window.endswith(title))
