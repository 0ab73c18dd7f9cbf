"""Clusters of like texts against the plain loop that compares each text with every cluster."""

from __future__ import annotations

from difflib import SequenceMatcher

from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable
from agentrl.trainers.credit.gigpo import similar
from agentrl.trainers.credit.similarity import _common_start, _common_subsequence, _places

words = st.lists(st.sampled_from(["you see", "a fridge", "a desk", "nothing", "on it"]), min_size=1, max_size=6)
short = st.text("abc \u00e9\U0001f600\ud800", max_size=12)
# long enough that difflib leaves out popular characters, and alike but for a few places
page = "You are in the middle of a room. Looking around you, you see a cabinet 1, a drawer 2, a fridge 1. " * 3
edits = st.lists(
    st.tuples(st.integers(0, len(page)), st.integers(0, 25), st.sampled_from(["", "7", "lamp 12"])), max_size=4
)


def edited(changes: list[tuple[int, int, str]]) -> str:
    text = page
    for at, cut, new in changes:
        text = text[:at] + new + text[at + cut :]
    return text


texts = words.map(" ".join) | short | edits.map(edited)
episodes = st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=3)
batches = st.lists(episodes, min_size=1, max_size=2)
thresholds = st.sampled_from([0.3, 0.6, 0.8, 0.9, 0.95, 0.99]) | st.floats(0.01, 0.99)


def plain_loop(group: list[list[str]], thresh: float) -> list[int]:
    members: list[str] = []
    found = []
    for text in (text for episode in group for text in episode):
        like = (k for k, m in enumerate(members) if SequenceMatcher(None, text, m).ratio() >= thresh)
        k = next(like, len(members))
        members += [text] if k == len(members) else []
        found.append(k)
    return found


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.lists(st.lists(texts, min_size=1, max_size=4), min_size=1, max_size=3), min_size=1, max_size=2),
    thresholds,
)
def test_a_text_joins_the_first_cluster_it_resembles(groups: list[list[list[str]]], thresh: float) -> None:
    episodes = [(g, k, episode) for g, group in enumerate(groups) for k, episode in enumerate(group)]
    seen = [text for _, _, episode in episodes for text in episode]
    table = TurnTable.from_arrays(
        ids=[f"{g}-{k}" for g, k, _ in episodes],
        group=[str(g) for g, *_ in episodes],
        length=[len(episode) for *_, episode in episodes],
        reward=[0.0] * len(seen),
        observation=seen,
    )
    assert similar(table, thresh).tolist() == [k for group in groups for k in plain_loop(group, thresh)]


@settings(max_examples=500, deadline=None)
@given(words.map(" ".join) | short, words.map(" ".join) | short)
def test_the_bound_is_the_longest_common_subsequence_and_never_below_the_matching_blocks(a: str, b: str) -> None:
    first = _common_start(a, b)
    last = _common_start(a[first:][::-1], b[first:][::-1])
    found = _common_subsequence(a, b, _places(b), first, last)
    assert found >= sum(block.size for block in SequenceMatcher(None, a, b).get_matching_blocks())
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    assert found == row[-1]
