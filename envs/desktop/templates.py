"""What is asked at the desktop: a public function a template, each with the home before and after, or what must show.

A task is done when the home holds what is wanted and nothing else, whatever was done to get there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from agentrl.envs.desktop import words

Files = dict[str, str]


@dataclass(frozen=True, slots=True)
class Goal:
    """``shown``: what the calculator must show; ``has``: a button that must be there; ``answer``: what done is given.

    ``subject`` is the file it is about; ``keys`` what the expert presses, and the names that it fills in or opens.
    """

    text: str
    programs: tuple[tuple[str, ...], ...]
    before: Files = field(default_factory=dict)
    after: Files = field(default_factory=dict)
    shown: str = ""
    has: str = ""
    answer: str = ""
    keys: tuple[str, ...] = ()
    subject: str = ""


# ---- the editor


def _edit(text: str, name: str, files: Files, new: str | None) -> Goal:
    after = {key: value for key, value in files.items() if key != name} | ({} if new is None else {name: new})
    opened = (name,) if name in files else ()
    return Goal(text, (("mousepad", *opened),), files, after, subject=name)


def note_new(rng: random.Random) -> Goal:
    name, item = words.file(rng), words.thing(rng)
    return _edit(f"Save a file named {name} that says: {item}", name, {}, item)


def note_append(rng: random.Random) -> Goal:
    name, (*lines, new) = words.file(rng), words.things(rng, 4)
    files = {name: "".join(f"{line}\n" for line in lines)}
    return _edit(f"Add the line '{new}' to the end of {name}.", name, files, files[name] + new + "\n")


def note_replace(rng: random.Random) -> Goal:
    name, (old, new, *rest) = words.file(rng), words.things(rng, 5)
    lines = [old, *rest, old]
    rng.shuffle(lines)
    text = "".join(f"{line}\n" for line in lines)
    return _edit(f"In {name}, write {new} wherever it says {old}.", name, {name: text}, text.replace(old, new))


def note_remove(rng: random.Random) -> Goal:
    name, lines = words.file(rng), words.things(rng, 4)
    gone = rng.choice(lines)
    files = {name: "".join(f"{line}\n" for line in lines)}
    return _edit(f"Remove the line '{gone}' from {name}.", name, files, files[name].replace(f"{gone}\n", ""))


def note_clear(rng: random.Random) -> Goal:
    name = words.file(rng)
    return _edit(f"Empty the file {name}, but keep it.", name, {name: words.thing(rng) + "\n"}, "")


def note_copy(rng: random.Random) -> Goal:
    name, other = words.files(rng, 2)
    text = "".join(f"{line}\n" for line in words.things(rng, 3))
    asked = f"Save a copy of {name} under the name {other}. Leave {name} as it is."
    return Goal(asked, (("mousepad", name),), {name: text}, {name: text, other: text}, subject=other)


# ---- the calculator


def _calculate(text: str, shown: float, *keys: str) -> Goal:
    pressed = tuple(key for part in keys for key in ([part] if part == "sqrt" else part))
    return Goal(f"{text} Leave the result on the calculator.", (("galculator",),), shown=f"{shown:.10g}", keys=pressed)


def calc_sum(rng: random.Random) -> Goal:
    a, b, c = (rng.randint(11, 999) for _ in range(3))
    return _calculate(f"Add {a}, {b} and {c}.", a + b + c, f"{a}+{b}+{c}=")


def calc_difference(rng: random.Random) -> Goal:
    a, b = rng.randint(1000, 9999), rng.randint(11, 999)
    return _calculate(f"Take {b} away from {a}.", a - b, f"{a}-{b}=")


def calc_product(rng: random.Random) -> Goal:
    a, b = rng.randint(12, 99), rng.randint(12, 999)
    return _calculate(f"Multiply {a} by {b}.", a * b, f"{a}*{b}=")


def calc_price(rng: random.Random) -> Goal:
    n, cents = rng.randint(3, 48), rng.randint(101, 1999)
    item = words.thing(rng)
    return _calculate(f"What do {n} times {item} cost at {cents / 100} each?", n * cents / 100, f"{cents / 100}*{n}=")


def calc_root(rng: random.Random) -> Goal:
    root = rng.randint(12, 99)
    return _calculate(f"Take the square root of {root * root}.", root, str(root * root), "sqrt")


def calc_scientific(rng: random.Random) -> Goal:
    n = rng.randint(11, 999)
    text = f"Switch the calculator to scientific mode, and then enter {n}."
    return Goal(text, (("galculator",),), shown=str(n), has="sin", keys=tuple(str(n)))


# ---- the file manager


def _manage(text: str, before: Files, after: Files, subject: str, *keys: str, answer: str = "") -> Goal:
    return Goal(text, (("thunar", "/home/user"),), before, after, answer=answer, subject=subject, keys=keys)


def _home(rng: random.Random) -> tuple[Files, list[str], list[str]]:
    """Files and folders, and their names."""
    files, folders = words.files(rng, 4), words.folders(rng, 2)
    return {**{f: words.thing(rng) + "\n" for f in files}, **{f"{f}/": "" for f in folders}}, files, folders


def _without(files: Files, name: str) -> Files:
    return {key: value for key, value in files.items() if key != name}


def files_rename(rng: random.Random) -> Goal:
    home, (old, *_), _ = _home(rng)
    new = rng.choice([f for f in words.FILES if f not in home])
    after = _without(home, old) | {new: home[old]}
    return _manage(f"Rename {old} to {new}.", home, after, old, "F2", new)


def files_folder(rng: random.Random) -> Goal:
    home, _, _ = _home(rng)
    new = rng.choice([f for f in words.FOLDERS if f"{f}/" not in home])
    return _manage(f"Make a folder named {new}.", home, home | {f"{new}/": ""}, "", "Control+Shift+n", new)


def files_delete(rng: random.Random) -> Goal:
    home, (gone, *_), _ = _home(rng)
    return _manage(f"Delete {gone}.", home, _without(home, gone), gone, "Shift+Delete")


def files_move(rng: random.Random) -> Goal:
    home, (moved, *_), (folder, *_) = _home(rng)
    after = _without(home, moved) | {f"{folder}/{moved}": home[moved]}
    return _manage(f"Move {moved} into {folder}.", home, after, moved, "Control+x", folder, "Control+v")


def files_copy(rng: random.Random) -> Goal:
    home, (copied, *_), (folder, *_) = _home(rng)
    after = home | {f"{folder}/{copied}": home[copied]}
    return _manage(f"Put a copy of {copied} into {folder}.", home, after, copied, "Control+c", folder, "Control+v")


def files_find(rng: random.Random) -> Goal:
    home, _, folders = _home(rng)
    new = rng.choice([f for f in words.FILES if f not in home])
    folder = rng.choice(folders)
    home |= {f"{folder}/{new}": words.thing(rng)}
    asked = f"{new} is in one of the folders. Answer with that folder's name."
    return _manage(asked, home, home, new, *folders, answer=folder)


# ---- two programs


def calc_note(rng: random.Random) -> Goal:
    a, b, name = rng.randint(12, 99), rng.randint(12, 999), words.file(rng)
    text = f"Multiply {a} by {b}, and save a file named {name} that says only the result. Alt+Tab changes the window."
    return Goal(text, (("galculator",), ("mousepad",)), {}, {name: str(a * b)}, subject=name)
