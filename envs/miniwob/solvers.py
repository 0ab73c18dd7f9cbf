"""Scripted solvers: what a player who reads the page does next, for the tasks that can be scripted from what is read.

A solver takes a :class:`Screen`, which is what the agent knows, and gives the next call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from agentrl.envs.miniwob.screen import Screen, click
from agentrl.tools.calculator import calculator
from agentrl.types import ToolCall

Solver = Callable[[Screen], ToolCall]
_COLORS = {
    "red": "255, 0, 0", "blue": "0, 0, 255", "green": "0, 128, 0", "yellow": "255, 255, 0", "purple": "128, 0, 128",
    "orange": "255, 165, 0", "pink": "255, 192, 203", "black": "0, 0, 0", "white": "255, 255, 255",
    "grey": "128, 128, 128", "cyan": "0, 255, 255", "magenta": "255, 0, 255", "lime": "0, 255, 0",
    "olive": "128, 128, 0",
}  # fmt: skip
# Those that one line solves; the others are added below.
SOLVERS: dict[str, Solver] = {
    "click-test": lambda s: click(s.all("button")[0]),
    "click-test-2": lambda s: s.click(*s.ask(r"button (\w+)"), "button"),
    "click-button": lambda s: s.click(*s.ask(r'"(.*)" button'), "button"),
    "click-link": lambda s: s.click(*s.ask(r'link "(.*)"'), "span"),
    "click-dialog": lambda s: s.click("Close", "button"),
    "click-tab": lambda s: s.click(*s.ask(r"Click on (Tab #\d)"), "tab"),
    "focus-text": lambda s: click(s.all("textbox")[0]),
    "focus-text-2": lambda s: click(s.all("textbox")[int(s.ask(r"the (\d)")[0]) - 1]),
    "enter-text": lambda s: s.fill({0: s.ask(r'Enter "(.*)" into')[0]}, "Submit"),
    "text-transform": lambda s: s.fill({0: "".join(e.name for e in s.all("span"))}, "Submit"),
    "visual-addition": lambda s: s.fill({0: str(len([e for e in s.all("span") if e.name != "+"]))}, "Submit"),
    "copy-paste": lambda s: _copied(s, 0),
    "copy-paste-2": lambda s: _copied(s, int(s.ask(r"the (\d)")[0]) - 1),
}
SOLVERS["click-test-transfer"] = SOLVERS["click-test-2"]
SOLVERS["unicode-test"] = SOLVERS["click-button"]
SOLVERS["enter-text-dynamic"] = SOLVERS["enter-text"]


def solver(*pages: str) -> Callable[[Solver], Solver]:
    def add(function: Solver) -> Solver:
        SOLVERS.update(dict.fromkeys(pages, function))
        return function

    return add


# ---- one click


@solver("click-button-sequence")
def _(s: Screen) -> ToolCall:
    first, second = s.ask(r"button (\w+), then click button (\w+)")
    pressed = "focused" in s.named(first).states or any(e.name == first for e in s.clicked)
    return s.click(second if pressed else first, "button")


@solver("click-dialog-2")
def _(s: Screen) -> ToolCall:
    (name,) = s.ask(r'labeled "(.*)"')
    return s.click("Close" if name == "x" else name, "button")


@solver("click-color")
def _(s: Screen) -> ToolCall:
    (color,) = s.ask(r"the (\w+) colored")
    return click(next(e for e in s.elements if f"({_COLORS[color]})" in e.look))


@solver("click-widget")
def _(s: Screen) -> ToolCall:
    (kind,) = s.ask(r'"(.*)" widget')
    tags = {"button": "button", "textarea": "textarea"}
    if kind in tags:
        return click(next(e for e in s.elements if e.tag == tags[kind]))
    roles = {"text": "textbox", "radio": "radio", "checkbox": "checkbox"}
    return click(next(e for e in s.elements if e.role == roles[kind] and e.tag == "input"))


@solver("grid-coordinate")
def _(s: Screen) -> ToolCall:
    x, y = map(int, s.ask(r"\((-?\d),(-?\d)\)"))
    circles = s.all("circle")
    columns = sorted({e.box[0] for e in circles})
    rows = sorted({e.box[1] for e in circles}, reverse=True)
    return click(next(e for e in circles if e.box[:2] == (columns[x + 2], rows[y + 2])))


@solver("identify-shape")
def _(s: Screen) -> ToolCall:
    shape = next(e for e in s.elements if e.role in ("circle", "rect", "polygon", "text"))
    kinds = {"circle": "Circle", "rect": "Rectangle", "polygon": "Triangle"}
    return s.click(kinds.get(shape.role) or ("Number" if shape.name.isdigit() else "Letter"), "button")


# ---- boxes, lists


@solver("click-checkboxes", "click-checkboxes-large", "click-checkboxes-transfer")
def _(s: Screen) -> ToolCall:
    (names,) = s.ask(r"Select (.*) and click Submit")
    wanted = [] if names == "nothing" else names.split(", ")
    for e in s.all("checkbox"):
        if (e.name in wanted) != ("checked" in e.states):
            return click(e)
    return s.click("Submit", "button")


@solver("click-option")
def _(s: Screen) -> ToolCall:
    wanted = s.named(*s.ask(r"Select (.*) and click Submit"), "radio")
    return s.click("Submit", "button") if "checked" in wanted.states else click(wanted)


@solver("choose-list")
def _(s: Screen) -> ToolCall:
    (name,) = s.ask(r"Select (.*) from the list")
    box = s.all("combobox", "listbox")[0]
    return s.click("Submit", "button") if box.value == name else ToolCall("select", ref=box.ref, option=name)


@solver("click-scroll-list")
def _(s: Screen) -> ToolCall:
    (names,) = s.ask(r"Select (.*) from the scroll list")
    box = s.all("listbox")[0]
    wanted, chosen = set(names.split(", ")), set(filter(None, (box.value or "").split(", ")))
    other = next((name for name in box.options if (name in wanted) != (name in chosen)), None)
    return s.click("Submit", "button") if other is None else ToolCall("select", ref=box.ref, option=other)


@solver("click-shades")
def _(s: Screen) -> ToolCall:
    (color,) = s.ask(r"shades of (\w+)")
    place = ("red", "green", "blue").index(color)
    for e in s.all("span"):
        parts = [int(number) for number in re.findall(r"\d+", e.look.partition("(")[2])[:3]]
        if parts and (parts[place] == max(parts)) != ("selected" in e.classes):
            return click(e)
    return s.click("Submit", "button")


@solver("form-sequence-2")
def _(s: Screen) -> ToolCall:
    which, number, box = s.ask(r"the (\d)\w\w radio button and enter the number \"(-?\d+)\" into the (\d)")
    radio = s.all("radio")[int(which) - 1]
    return s.fill({int(box) - 1: number}, "Submit") if "checked" in radio.states else click(radio)


@solver("odd-or-even")
def _(s: Screen) -> ToolCall:
    for row, number in enumerate(e for e in s.elements if re.fullmatch(r"-?\d+", e.name)):
        name = "Even" if int(number.name) % 2 == 0 else "Odd"
        wanted = [e for e in s.all("button") if e.name == name][row]
        if "selected" not in wanted.classes:
            return click(wanted)
    return s.click("Submit", "button")


# ---- text


@solver("enter-text-2")
def _(s: Screen) -> ToolCall:
    text, case = s.ask(r'Type "(.*)" in all (\w+) case')
    return s.fill({0: text.upper() if case == "upper" else text.lower()}, "Submit")


@solver("enter-password")
def _(s: Screen) -> ToolCall:
    (word,) = s.ask(r'password "(.*)" into')
    return s.fill({0: word, 1: word}, "Submit")


@solver("login-user")
def _(s: Screen) -> ToolCall:
    name, word = s.ask(r'username "(.*)" and the password "(.*)" into')
    return s.fill({0: name, 1: word}, "Login")


@solver("enter-date")
def _(s: Screen) -> ToolCall:
    month, day, year = s.ask(r"(\d\d)/(\d\d)/(\d{4})")
    return s.fill({0: f"{year}-{month}-{day}"}, "Submit")


@solver("enter-time")
def _(s: Screen) -> ToolCall:
    hour, minute, half = s.ask(r"(\d+):(\d\d) (AM|PM)")
    return s.fill({0: f"{int(hour) % 12 + 12 * (half == 'PM'):02d}:{minute}"}, "Submit")


@solver("find-word")
def _(s: Screen) -> ToolCall:
    (which,) = s.ask(r"Find the (\d+)")
    words = re.findall(r"[^\s]+", s.all("p")[0].name)
    return s.fill({0: words[int(which) - 1].strip(",.")}, "Submit")


def _copied(s: Screen, number: int) -> ToolCall:
    """The text of that area into the field, then Submit."""
    source = [e for e in s.all("textbox") if e.tag == "textarea"][number]
    target = next(e for e in s.all("textbox") if e.tag == "input")
    if target.value == source.value:
        return s.click("Submit", "button")
    return ToolCall("type", ref=target.ref, text=source.value)


@solver("read-table")
def _(s: Screen) -> ToolCall:
    cells = s.all("td")
    label = s.ask(r"value of (.*) into")[0]
    return s.fill({0: next(b.name for a, b in pairwise(cells) if a.name == label)}, "Submit")


@solver("simple-arithmetic")
def _(s: Screen) -> ToolCall:
    problem = next(e.name for e in s.elements if e.name.endswith("="))
    return s.fill({0: calculator(problem.rstrip("= ").replace("x", "*"))}, "Submit")


@solver("simple-algebra")
def _(s: Screen) -> ToolCall:
    problem = next(e.name for e in s.elements if " = " in e.name)
    left, _, right = problem.partition(" = ")
    solves = (x for x in range(-400, 401) if calculator(f"({left}) - ({right})".replace("x", f"({x})")) == "0")
    return s.fill({0: str(next(solves))}, "Submit")


@solver("multi-layouts", "multi-orderings")
def _(s: Screen) -> ToolCall:
    genre, director, year = s.ask(r"for (.*) movies directed by (.*) from year (\d+)")
    wanted = {"director": director, "genre": genre, "year": year, "released": year, "date": year}
    label = ""
    for e in s.elements:
        if e.role == "textbox":
            text = next(wanted[word] for word in label.lower().replace(":", "").split() if word in wanted)
            if e.value != text:
                return ToolCall("type", ref=e.ref, text=text)
        elif e.name:
            label = e.name
    return click(s.elements[-1])


@solver("use-autocomplete", "use-autocomplete-nodelay")
def _(s: Screen) -> ToolCall:
    start, end = s.ask(r'starts with "(.*?)"(?: and ends with "(.*)")?')
    field = s.all("textbox", "combobox", "searchbox")[0]
    value = field.value or ""
    if value.startswith(start) and value.endswith(end) and value != start:
        return s.click("Submit", "button")
    if value != start or "focused" not in field.states:
        return ToolCall("type", ref=field.ref, text=start)
    offered = [e for e in s.elements if e.name.startswith(start) and e.name.endswith(end) and e.ref != field.ref]
    return click(offered[-1]) if offered else ToolCall("press", key="ArrowDown")  # opens the list at once


@solver("search-engine")
def _(s: Screen) -> ToolCall:
    word, which = s.ask(r'enter "(.*)" and press.*click the (\d)')
    field = s.all("textbox")[0]
    links = [e for e in s.all("link") if e.name not in ("<", ">") and not e.name.isdigit()]
    if field.value != word:
        return ToolCall("type", ref=field.ref, text=word)
    before = [
        call.name for call, e in s.used if call.name == "type" or (call.name == "click" and e and e.name == "Search")
    ]
    if not links or before[-1:] == ["type"]:
        return s.click("Search", "button")
    page, place = divmod(int(which) - 1, 3)
    turns = [e.name for e in s.all("link") if e.name in ("<", ">")]
    at = 1 if len(turns) == 2 else 0 if turns == [">"] else 2
    return click(links[place]) if at == page else s.click(">" if at < page else "<", "link")


@solver("use-spinner")
def _(s: Screen) -> ToolCall:
    (wanted,) = s.ask(r"Select (-?\d+) with")
    is_now = int(s.all("spinbutton")[0].value or 0)
    up, down = [e for e in s.all("button") if e.name != "Submit"]
    return s.click("Submit", "button") if is_now == int(wanted) else click(up if is_now < int(wanted) else down)


@solver("guess-number")
def _(s: Screen) -> ToolCall:
    field = s.all("spinbutton", "textbox")[0]
    guesses = [int(text) for call, _ in s.used if (text := str(call.arguments.get("text"))).isdecimal()]
    told = re.search(r'(higher|lower) than .*?"(\d+)"', s.text)
    if guesses and not (told and int(told[2]) == guesses[-1]):
        return s.fill({0: str(guesses[-1])}, "Submit")
    low, high = 0, 9
    # what is told is about the last guess alone, so the bounds follow from the order of the guesses
    for guess, later in pairwise(guesses):
        low, high = (guess + 1, high) if later > guess else (low, guess - 1) if later < guess else (low, high)
    if told:
        low, high = (int(told[2]) + 1, high) if told[1] == "higher" else (low, int(told[2]) - 1)
    return ToolCall("type", ref=field.ref, text=str((low + high) // 2))


# ---- pages that open


@solver("click-collapsible", "click-collapsible-nodelay")
def _(s: Screen) -> ToolCall:
    section = next(e for e in s.all("tab") if e.name.startswith("Section"))
    return click(section) if "expanded" not in section.states else s.click("Submit")


@solver("click-collapsible-2", "click-collapsible-2-nodelay", "click-tab-2", "click-tab-2-easy", "click-tab-2-medium",
        "click-tab-2-hard")  # fmt: skip
def _(s: Screen) -> ToolCall:
    (name,) = s.ask(r'link "(.*)"')
    links = [e for e in s.all("span") if e.name.strip(",.") == name.strip(",.")]
    if links:
        return click(links[0])
    return click(s.next([e for e in s.all("tab") if "expanded" not in e.states]))


@solver("navigate-tree")
def _(s: Screen) -> ToolCall:
    (name,) = s.ask(r'named "(.*)"')
    for e in s.all("span"):
        if e.name == name:
            return click(e)
    return click(s.next([e for e in s.all("div") if "expandable-hitarea" in e.classes]))


@solver("phone-book")
def _(s: Screen) -> ToolCall:
    name, what = s.ask(r"Find (.*) in the contact book and click on their (\w+)")
    if any(e.role == "h2" and e.name == name for e in s.elements):
        label = next(i for i, e in enumerate(s.elements) if e.name.lower().startswith(what))
        return click(s.elements[label + 1])
    turns = [e for e in s.all("link") if e.name in ("<", ">")]
    last = next((e.name for e in reversed(s.clicked) if e.name in ("<", ">")), ">")
    return click(next((e for e in turns if e.name == last), turns[0]))  # on, to the end, and back
