"""Names and options as they are typed."""

from __future__ import annotations

import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import plan
from agentrl.trainers.credit.choose import PARITY, choose, describe, split
from agentrl.trainers.credit.registry import names


def test_ids_are_sorted_by_kind_and_an_option_goes_to_all_that_have_it() -> None:
    chosen = choose(["hgpo", "invalid-penalty", "gigpo", "whiten"], {"gamma": 0.5, "hgpo.alpha": 2.0, "coef": 0.2})
    assert chosen.rewards == ({"invalid-penalty": {"coef": 0.2}},)
    assert chosen.credit == ({"hgpo": {"gamma": 0.5, "alpha": 2.0}}, {"gigpo": {"gamma": 0.5}}, {"whiten": {}})
    assert [name for name, _ in chosen.each] == ["hgpo", "gigpo"]
    assert chosen.each[1][1].credit == ({"gigpo": {"gamma": 0.5}}, {"whiten": {}})
    assert split(" a, b,,c ") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("ids", "changes", "preset", "message"),
    [
        (["gripo"], {}, None, "unknown credit method 'gripo'; did you mean 'grpo'"),
        (["grpo"], {"gama": 1}, None, "unknown option of grpo 'gama'"),
        (["gigpo"], {"gama": 1}, None, "did you mean 'gamma'"),
        (["gigpo"], {"gigpo.gama": 1}, None, "did you mean 'gamma'"),
        (["grpo"], {"gigpo.gamma": 1}, None, "unknown method before the dot in --set 'gigpo'"),
        (["whiten"], {"weight": 1}, None, "unknown option of whiten 'weight'"),
        (["grpo", "grpo"], {}, None, "grpo is named twice"),
        ([], {}, None, "name at least one estimator"),
        (["grpo"], {}, "partiy", "unknown preset 'partiy'; did you mean 'parity'"),
        (["salt"], {}, "parity", "preset parity knows no published code's settings of salt"),
    ],
)
def test_what_is_refused(ids: list[str], changes: dict[str, object], preset: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(ids, changes, preset)


def test_the_presets_are_options_that_exist() -> None:
    for id in PARITY:
        chosen = choose([id, "grpo"] if id != "grpo" else [id], preset="parity")
        plan(chosen.rewards, chosen.credit)


def test_every_method_is_described() -> None:
    rows = {(row["kind"], row["id"]): row for row in describe()}
    assert set(rows) == {(kind, id) for kind in ("transform", "estimator", "modulator") for id in names(kind)}
    assert rows["estimator", "grpo"]["formula"] == "A = (R - mean_G) / (std_G + eps) -> [N]."
    assert "2402.03300" in rows["estimator", "grpo"]["source"]
    assert rows["estimator", "gigpo"]["formula"] == "grpo + gigpo-step"
    assert rows["estimator", "gigpo"]["needs"] == ["anchor", "observation if similarity", "outcome"]
    assert rows["estimator", "gigpo-step"]["options"]["gamma"] == 0.95
