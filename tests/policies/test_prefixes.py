"""Prompts that begin alike are computed in an order in which what they share is computed once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentrl.policies.prefixes import WORTH, common, generations

BLOCK = [np.full(WORTH, letter, np.int32) for letter in range(3)]


def prompt(letters: list[int], end: int) -> np.ndarray:
    return np.concatenate([*[BLOCK[letter] for letter in letters], np.full(1, end, np.int32)])


prompts = st.lists(st.builds(prompt, st.lists(st.integers(0, 2), max_size=4), st.integers(0, 3)), max_size=12)


@given(prompts)
def test_what_is_shared_was_computed_before_and_nothing_worth_it_is_computed_twice(made: list[np.ndarray]) -> None:
    computed: list[np.ndarray] = []
    seen = []
    for generation in generations(made, [0] * len(made)):
        for i, leader, shared in generation:
            assert (leader >= 0) == (shared > 0)
            if leader >= 0:
                assert leader in seen
                assert common(made[leader], made[i]) >= shared < len(made[i])
            most = max((min(common(other, made[i]), len(made[i]) - 1) for other in computed), default=0)
            assert shared == most or most < WORTH
        seen += [i for i, _, _ in generation]
        computed += [made[i] for i, _, _ in generation]
    assert sorted(seen) == list(range(len(made)))
    for i, one in enumerate(made):  # two of the same generation have little in common that an earlier one has not
        for generation in generations(made, [0] * len(made)):
            peers = {j: shared for j, _, shared in generation}
            if i in peers:
                for j in peers:
                    extra = min(common(one, made[j]), len(one) - 1, len(made[j]) - 1) - max(peers[i], peers[j])
                    assert i == j or extra < WORTH


def test_what_is_known_is_not_waited_for() -> None:
    one, other = prompt([0, 0], 1), prompt([0, 0], 2)
    assert generations([one, other], [2 * WORTH, 2 * WORTH]) == [[(0, -1, 0), (1, -1, 0)]]
    assert generations([one, other], [0, 0]) == [[(0, -1, 0)], [(1, 0, 2 * WORTH)]]


def test_siblings_follow_the_prompt_that_they_share_it_with() -> None:
    stem = prompt([0, 0], 0)
    rows = [prompt([0, 0, 1], 1), prompt([0, 0, 2], 2), stem, stem]
    found = generations(rows, [0] * 4)
    assert [{i for i, _, _ in generation} for generation in found] == [{2}, {0, 1, 3}]
    assert {leader for _, leader, _ in found[1]} == {2}
