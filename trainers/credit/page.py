"""An explained group as one HTML page: no script, nothing from elsewhere, so that it can be sent and kept."""

from __future__ import annotations

from html import escape

from agentrl.trainers.credit.explain import Explained, TrajectoryCredit, TurnCredit

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }
table { border-collapse: collapse; margin: .5em 0 2em } th, td { padding: .2em .6em; text-align: left }
th { border-bottom: 1px solid #888 } td.n { text-align: right; font-variant-numeric: tabular-nums }
td.t { max-width: 28em; white-space: pre-wrap } tr.invalid td.t { color: #b00020 } .dim { color: #777 }
"""


def page(found: Explained) -> str:
    """The whole page. An advantage is green above 0 and red below, the deeper the larger in its column."""
    largest = {name: _largest(found, name) for name in found.columns}
    body = "".join(_trajectory(t, found.columns, largest) for t in found.trajectories)
    title = f"Credit of group {escape(found.group)}"
    tree = "".join(f"{'    ' * depth}{escape(branch_line(t))}\n" for depth, t in found.tree())
    body = (f"<pre>{tree}</pre>\n" if tree else "") + body
    note = "alike: turns of the group that began in the same state; red actions were invalid"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        f'<h1>{title}</h1>\n<p class="dim">{escape(found.source)}; {note}; {escape(found.origin)}</p>\n{body}</html>\n'
    )


def branch_line(t: TrajectoryCredit) -> str:
    """One trajectory in the tree of its group."""
    where = f"after {t.branch_turn} turns: " if t.parent else ""
    return f"{where}{t.id}  " + (
        f"left out: {t.excluded}" if t.excluded else f"{len(t.turns)} turns, outcome {t.outcome:g}"
    )


def _largest(found: Explained, name: str) -> float:
    return max((abs(turn.gave[name]) for t in found.trajectories for turn in t.turns), default=0.0)


def _trajectory(t: TrajectoryCredit, columns: list[str], largest: dict[str, float]) -> str:
    if t.excluded:
        return f'<h2>{escape(t.id)}</h2>\n<p class="dim">left out: {escape(t.excluded)}</p>\n'
    branch = f", branched from {escape(t.parent)}" if t.parent else ""
    names = "".join(f"<th>{escape(name)}</th>" for name in ("turn", "saw", "did", "reward", "alike", *columns))
    rows = "".join(_turn(turn, columns, largest) for turn in t.turns)
    head = f"<h2>{escape(t.id)}</h2>\n<p>outcome {t.outcome:g}, {escape(t.ended)}{branch}</p>\n"
    return f"{head}<table><tr>{names}</tr>\n{rows}</table>\n"


def _turn(turn: TurnCredit, columns: list[str], largest: dict[str, float]) -> str:
    size = "" if turn.anchor_size is None else str(turn.anchor_size)
    numbers = "".join(f'<td class="n">{text}</td>' for text in (f"{turn.reward:g}", size))
    texts = "".join(f'<td class="t">{escape(text)}</td>' for text in (turn.observation, turn.action))
    given = "".join(_advantage(turn.gave[name], largest[name]) for name in columns)
    kind = "" if turn.valid else ' class="invalid"'
    return f"<tr{kind}><td>{turn.turn}</td>{texts}{numbers}{given}</tr>\n"


def _advantage(value: float, largest: float) -> str:
    depth = 0.7 * abs(value) / largest if largest else 0.0
    colour = "0, 150, 80" if value > 0 else "210, 40, 40"
    return f'<td class="n" style="background: rgba({colour}, {depth:.2f})">{value:+.3f}</td>'
