"""Search-v0: a consistent library, questions that need several documents, and what playing without thought earns."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.random_actions import random_action
from agentrl.envs.search.bm25 import Index
from agentrl.envs.search.env import splits
from agentrl.envs.search.library import SAID, library
from agentrl.envs.search.questions import HITS, TEMPLATES, question
from agentrl.envs.search.world import world
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.types import ToolCall

NAME = "agentrl/Search-v0"


def at(task: str) -> tuple[int, int, int]:
    template, number, n = map(int, task.split("/"))
    return template, number, n


UNSEEN = splits()["unseen"]


def test_there_are_many_tasks_of_many_programs():
    tasks = [task for split in splits().values() for task in split]
    assert len(tasks) == len(set(tasks)) >= 2000
    assert len({path for _, path in TEMPLATES}) == len({text for text, _ in TEMPLATES}) == len(TEMPLATES) >= 30
    assert len({(at(task)[1], question(*at(task)).text) for task in tasks}) == len(tasks)


def test_unseen_questions_are_about_other_worlds():
    trained = {question(*at(task)).text for task in splits()["train"] + splits()["seen"]}
    assert sum(question(*at(task)).text in trained for task in UNSEEN) / len(UNSEEN) < 0.02  # a title by chance


@pytest.mark.parametrize("number", [0, 7, 25])
def test_the_library_says_the_world_and_nothing_else(number):
    made, shelf = world(number), library(number)
    for name, facts in made.facts.items():
        text = " ".join(shelf.sentences[shelf.ids[name]])
        assert all(str(value) in text for value in facts.values())
        assert len(shelf.sentences[shelf.ids[name]]) == len(facts)
        assert set(facts) <= set(SAID[made.kinds[name]])
        for value in facts.values():
            assert not isinstance(value, str) or value in made.facts or value.islower()  # a product


@pytest.mark.parametrize("number", range(30))
def test_a_world_is_consistent(number):
    facts = world(number).facts
    for name, known in facts.items():
        for mutual in ("spouse", "twin"):
            if mutual in known:
                assert facts[known[mutual]][mutual] == name != known[mutual]
        if "end" in known:
            assert facts[known["end"]]["river"] == name
        if "founder" in known:
            assert 22 <= known["founded"] - facts[known["founder"]]["born"] <= 40
        if "author" in known:
            assert known["year"] > facts[known["author"]]["born"] + 21
            assert known["year"] > facts[known["publisher"]]["founded"]


def test_answers_worked_out_by_hand():
    made = world(20)
    facts = made.facts
    for n in range(3):
        asked = question(3, 20, n)  # the river of the spouse's birthplace
        who = next(name for name in made.names["person"] if name in asked.text)
        assert asked.answer == facts[facts[facts[who]["spouse"]]["birthplace"]]["river"]
        asked = question(30, 20, n)  # the publisher of the latest book
        who = next(name for name in made.names["person"] if name in asked.text)
        latest = max(made.having("book", "author", who), key=lambda book: facts[book]["year"])
        assert asked.answer == facts[latest]["publisher"]


def test_tasks_are_the_same_in_every_process():
    assert question(0, 20, 0).text == "In which town was the spouse of Tia Falaholm born?"
    assert question(0, 20, 0).answer == "Dunonholm"


def test_the_expert_solves_every_task_by_what_searches_listed():
    env: Any = registry.make(NAME)
    for task in UNSEEN:
        env.reset(seed=0, options={"task": task})
        text, over = "", False
        while not over:
            action = env.expert()
            if action.name == "open":
                assert any(line.split()[0] == action.arguments["document"] for line in text.splitlines() if line)
            messages, reward, over, _, _ = env.step(action)
            text += "\n" + (messages[-1]["content"] if messages else "")
        assert reward == 1.0


def test_random_play_and_constant_answers_earn_nothing():
    env: Any = registry.make(NAME)
    won = 0
    for i, task in enumerate(UNSEEN):
        env.reset(seed=i, options={"task": task})
        rng = random.Random(i)
        over = False
        for _ in range(24):
            if not over:
                _, reward, over, _, _ = env.step(random_action(env, rng))
                won += reward == 1.0
    assert won / len(UNSEEN) < 0.05
    answers = Counter(question(*at(task)).answer for task in UNSEEN)
    assert answers.most_common(1)[0][1] / len(UNSEEN) < 0.1


def test_knowing_the_training_questions_by_heart_does_not_help():
    """Closed book: the most frequent answer to each template in training."""
    usual: dict[int, Counter[str]] = {}
    for task in splits()["train"]:
        usual.setdefault(at(task)[0], Counter())[question(*at(task)).answer] += 1
    won = sum(question(*at(task)).answer == usual[at(task)[0]].most_common(1)[0][0] for task in UNSEEN)
    assert won / len(UNSEEN) < 0.05


def test_guessing_among_the_names_of_the_right_kind_does_not_help():
    """Closed book again, by a guesser that knows every name of the very world and what kind of thing is asked for."""
    chance = 0.0
    for task in UNSEEN:
        made, answer = world(at(task)[1]), question(*at(task)).answer
        kind = made.kinds.get(answer)
        chance += 1 / len(made.names[kind]) if kind else 1 / 40  # numbers and products: not fewer than 40
    assert chance / len(UNSEEN) < 0.05


def test_one_search_and_one_document_are_seldom_enough():
    """Single hop, with a reader who finds the answer wherever it stands: the question as words for every index."""
    env: Any = registry.make(NAME)
    won = 0
    for task in UNSEEN:
        observation, _ = env.reset(seed=0, options={"task": task})
        read = ""
        for index in ("people", "companies", "places", "books", "schools"):
            (hits,), *_ = env.step(ToolCall("search", index=index, query=observation))
            (document,), *_ = env.step(ToolCall("open", document=hits["content"].split()[0]))
            read += document["content"] + "\n"
        won += question(*at(task)).answer in read
    assert won / len(UNSEEN) < 0.4


def test_success_is_told_by_how_many_documents_it_takes():
    kinds = {registry.make(NAME).reset(seed=0, options={"task": task})[1]["task_type"] for task in UNSEEN}
    assert {"2 documents", "3 documents", "4 documents"} <= kinds


def test_calls_that_mean_nothing_are_told():
    env: Any = registry.make(NAME)
    env.reset(seed=0, options={"task": UNSEEN[0]})
    (message,), *_ = env.step(ToolCall("open", document="p999"))
    assert message["content"] == "error: there is no document 'p999'"
    (message,), *_ = env.step(ToolCall("search", index="people", query="zzz"))
    assert message["content"] == "nothing found"
    assert env.step(ToolCall("search", index="web", query="a"))[4]["valid"] is False
    assert env.step(ToolCall("answer", text=" dunonholm. "))[1] == 1.0


def test_unknown_tasks_are_named():
    env: Any = registry.make(NAME)
    for task in ("99/0/0", "a/1/2", "1", 7):
        with pytest.raises(UserError, match="a task is TEMPLATE/WORLD/N"):
            env.reset(seed=0, options={"task": task})


TEXTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(st.sampled_from("uvwxyz")).map(" ".join), min_size=1, max_size=8
)


@given(TEXTS, st.lists(st.sampled_from("uvwxyz"), min_size=1, max_size=4))
def test_an_index_lists_exactly_the_documents_with_a_word_of_the_query(texts, query):
    found = Index(texts).search(" ".join(query), len(texts))
    assert sorted(found) == sorted(id for id, text in texts.items() if set(query) & set(text.split()))
    assert found[:2] == Index(texts).search(" ".join(query), 2)


def test_scores_worked_out_by_hand():
    # 3 documents of 2, 2 and 8 words; "rare" is in one of them, "common" in all. Shorter counts for more.
    texts = {"a": "common rare", "b": "common other", "c": "common " + "filler " * 7}
    assert Index(texts).search("common", 3) == ["a", "b", "c"]
    assert Index(texts).search("rare common", 1) == ["a"]
    assert Index({"a": "x y", "b": "x x"}).search("x", 2) == ["b", "a"]


def test_the_suite_and_the_contract():
    assert len(suites.load("search-unseen").tasks()) == len(UNSEEN) == 440
    assert HITS == 5
    report = check(NAME)
    assert report.ok, str(report)
