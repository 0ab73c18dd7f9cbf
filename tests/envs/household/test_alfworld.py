"""Official ALFWorld game files: read, named, played."""

import json
import random
from pathlib import Path

import pytest

from agentrl.envs.household.alfworld import load, read
from agentrl.envs.household.env import Household
from agentrl.errors import UserError

GAME = Path(__file__).parent / "data" / "heat_apple.tw-pddl"

LOOK_GOAL = """(:goal (and
    (exists (?ot - object ?r - receptacle ?a - agent ?l - location)
        (and (objectType ?ot DeskLampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l)
             (atLocation ?a ?l) (inReceptacle ?ot ?r)))
    (exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o)))))"""
TWO_GOAL = """(:goal (and (exists (?r - receptacle) (exists (?o1 - object)
    (and (objectType ?o1 AppleType) (receptacleType ?r SideTableType) (inReceptacle ?o1 ?r)
         (exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 AppleType) (receptacleType ?r SideTableType)
                                     (inReceptacle ?o2 ?r))))))))"""
CLEAN_GOAL = """(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (cleanable ?o) (objectType ?o ForkType)
    (receptacleType ?r CounterTopType) (isClean ?o) (inReceptacle ?o ?r))))))"""
COOL_GOAL = CLEAN_GOAL.replace("Fork", "Apple").replace("cleanable", "coolable").replace("isClean", "isCool")
PLAIN_GOAL = """(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)
    (objectType ?o ForkType) (receptacleType ?r CabinetType))))))"""


def variant(tmp_path, goal=None, **changes):
    game = json.loads(GAME.read_text()) | changes
    if goal:
        head, _, _ = game["pddl_problem"].partition("(:goal")
        game["pddl_problem"] = head + goal + ")"
    path = tmp_path / "game.tw-pddl"
    path.write_text(json.dumps(game))
    return path


def test_layout():
    layout = load(GAME)
    names = "cabinet 1, countertop 2, countertop 1, drawer 2, drawer 1, fridge 1, microwave 1, sidetable 1, sinkbasin 1"
    assert ", ".join(layout.receptacles) == names
    assert layout.objects == ("apple 2", "apple 1", "desklamp 1", "fork 1", "mug 1")
    assert layout.goal.kind == "pick_heat_then_place_in_recep"
    assert (layout.goal.object, layout.goal.target) == ("apple", "sidetable")
    assert layout.goal.text == "heat some apple and put it in sidetable."
    assert ("cabinet", "mug") in layout.can_contain
    assert ("cabinet", "apple") not in layout.can_contain


def test_walkthrough_leads_to_success():
    walkthrough = json.loads(GAME.read_text())["walkthrough"]
    env = Household(game_file=GAME)
    for older in (False, True):
        observation, info = env.reset()
        assert observation.endswith("Your task is to: heat some apple and put it in sidetable.")
        assert info["task"] == str(GAME)
        for n, command in enumerate(walkthrough, 1):
            if older:
                command = command.replace("move apple 1 to", "put apple 1 in/on")
            _, reward, terminated, _, info = env.step(command)
            assert info["valid"], command
            assert terminated == (n == len(walkthrough))
        assert (reward, info["success"]) == (1.0, True)


def test_receptacles_that_share_a_location():
    env = Household(game_file=GAME)
    env.reset()
    assert env.step("go to drawer 2")[0] == "You arrive at drawer 2. The drawer 2 is closed."
    assert env.step("go to drawer 1")[0] == "Nothing happens."
    assert env.step("look")[0] == "You are facing the drawer 2, and drawer 1. Next to it, you see nothing."
    assert env.step("open drawer 1")[0] == "You open the drawer 1. The drawer 1 is open. In it, you see a fork 1."
    assert "open drawer 2" in env.admissible_actions()


def test_vessels_are_described_as_such():
    env = Household(game_file=GAME)
    env.reset()
    env.step("go to countertop 1")
    assert env.step("examine mug 1")[0] == "Nothing happens."  # an object is examined in the hand
    env.step("take mug 1 from countertop 1")
    assert env.step("examine mug 1")[0] == "This is a normal mug 1. In it, you see nothing."


@pytest.mark.parametrize(
    ("goal", "kind"),
    [
        (LOOK_GOAL, "look_at_obj_in_light"),
        (TWO_GOAL, "pick_two_obj_and_place"),
        (CLEAN_GOAL, "pick_clean_then_place_in_recep"),
        (COOL_GOAL, "pick_cool_then_place_in_recep"),
        (PLAIN_GOAL.replace("Cabinet", "SideTable"), "pick_and_place_simple"),
    ],
)
def test_every_goal_form_is_read_and_solved_by_the_expert(tmp_path, goal, kind):
    env = Household(game_file=variant(tmp_path, goal), reward="dense")
    rng = random.Random(0)
    for noise in range(6):
        _, info = env.reset()
        assert info["task_type"] == kind
        done = False
        for _ in range(noise):
            done = done or env.step(rng.choice(env.admissible_actions()))[2]
        for _ in range(50):
            done = done or env.step(env.expert())[2]
        assert done


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no ALFWorld game"),
        ("[]", "no ALFWorld game"),
        ("{}", "no ALFWorld game"),
        ('{"pddl_problem": "(define"}', "brackets"),
        ('{"pddl_problem": "())"}', "bracket"),
        ('{"pddl_problem": "(define (problem x))"}', "no household"),
        ('{"pddl_problem": null}', "brackets"),
    ],
)
def test_broken_files_are_the_users_error(tmp_path, text, why):
    path = tmp_path / "game.tw-pddl"
    path.write_text(text)
    with pytest.raises(UserError, match=why):
        load(path)


def test_missing_file_and_unsupported_goals_are_the_users_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load(tmp_path / "none")
    closed = "(:goal (and (forall (?re - receptacle) (not (opened ?re)))))"
    sliced = PLAIN_GOAL.replace("(inReceptacle ?o ?r)", "(inReceptacle ?o ?r) (isSliced ?o)")
    for goal, why in ((closed, "forall"), (sliced, "issliced"), ("(:goal (and))", "single")):
        with pytest.raises(UserError, match=why):
            load(variant(tmp_path, goal))


def test_the_game_is_the_only_task():
    env = Household(game_file=GAME)
    env.reset(options={"task": str(GAME)})
    with pytest.raises(UserError):
        env.reset(options={"task": "small-train-00001"})


def test_reading_pddl():
    assert read("; note\n(Define (a ?B - c) ; more\n 1.5)") == ["define", ["a", "?b", "-", "c"], "1.5"]
