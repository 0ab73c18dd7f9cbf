"""Each policy loss, correction and term against plain arithmetic on a few numbers, and what its paper promises."""

import math

import pytest
import torch

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses import bapo, chord, registry
from agentrl.trainers.losses import value as value_loss
from agentrl.trainers.losses.objective import objective

OLD = [-0.5, -1.0, -2.0, -0.2, -1.5, -0.7]
GAP = [0.3, -0.2, 0.0, 0.5, -0.6, 0.1]
GAIN = [1.0, 1.0, 1.0, -0.5, -0.5, -0.5]
SAMPLE = [0, 0, 0, 1, 1, 1]


def rows(gap=GAP, gain=GAIN, old=OLD, sample=SAMPLE, step=0, **columns):
    def double(values):
        return torch.tensor(values, dtype=torch.float64)

    old, n = double(old), len(old)
    return Rows(
        logprobs=old + double(gap),
        entropies=double([0.1 * (k + 1) for k in range(n)]),
        old_logprobs=old,
        advantages=double(gain),
        weight=torch.full((n,), 1 / n, dtype=torch.float64),
        sample=torch.tensor(sample),
        columns={"sampler": old, **{k: double(v) for k, v in columns.items()}},
        step=step,
    )


def value(id, kind="policy", made=None, **options):
    bound = registry.bind({id: options}, kind)
    return bound(made if made is not None else rows()).tolist()


def gradient(id, made=None, **options):
    goal = objective({id: options})
    found, _ = goal.gradient(made if made is not None else rows())
    return (found["logprobs"] * len(found["logprobs"])).tolist()


def mean(values):
    return sum(values) / len(values)


R = [math.exp(g) for g in GAP]
S = [math.exp(mean(GAP[:3]))] * 3 + [math.exp(mean(GAP[3:]))] * 3


def clipped(r, a, low, high, dual=None):
    loss = max(-a * r, -a * min(max(r, low), high))
    return min(loss, -a * dual) if dual and a < 0 else loss


def near(want):
    return pytest.approx(want, abs=1e-12)


def test_gspo_has_one_ratio_a_sequence_of_sampled_tokens():
    want = [clipped(s, a, 1 - 0.05, 1 + 0.02) for s, a in zip(S, GAIN, strict=True)]
    assert value("gspo", low=0.05, high=0.02) == near(want)
    assert value("gspo-token", low=0.05, high=0.02) == near(want)
    wide = {"low": 0.9, "high": 9.0}
    by_sequence, by_token = gradient("gspo", **wide), gradient("gspo-token", **wide)
    assert by_sequence == near(by_token)  # equal where the advantage is one a sequence
    assert by_token == near([-a * s for a, s in zip(GAIN, S, strict=True)])


def test_cispo_weighs_and_never_gates():
    want = [-min(r, 1.2) * a * (o + g) for r, a, o, g in zip(R, GAIN, OLD, GAP, strict=True)]
    assert value("cispo", high=1.2) == near(want)
    assert gradient("cispo", high=1.2) == near([-min(r, 1.2) * a for r, a in zip(R, GAIN, strict=True)])


def test_sapo_by_hand_and_its_slope_at_one():
    t = [1.0 if a > 0 else 1.05 for a in GAIN]
    want = [-a * 4 / k / (1 + math.exp(-k * (r - 1))) for a, k, r in zip(GAIN, t, R, strict=True)]
    assert value("sapo") == near(want)
    for positive in (0.3, 1.0, 4.0):
        slope = gradient("sapo", rows(gap=[0.0] * 6), positive=positive, negative=2 * positive)
        assert slope == near([-a for a in GAIN])


def test_dcpo_bounds_of_the_published_table():
    for low, high, bottom, top in ((0.16, 0.2, 0.800, 1.171), (0.2, 0.28, 0.724, 1.228)):
        found = value("dcpo", made=rows([5.0, -5.0], [1.0, -1.0], [0.0, 0.0], [0, 0]), low=low, high=high)
        assert [-found[0], found[1]] == pytest.approx([top, bottom], abs=1e-3)
    rare = value("dcpo", made=rows([5.0, -5.0], [1.0, -1.0], [-30.0, -1.0], [0, 0]))
    assert rare[0] == near(-10.0)
    assert rare[1] == near((1 + math.sqrt(1 - 0.64 / math.exp(-1))) / 2 if math.exp(-1) > 0.64 else 0.5)


def test_bapo_moves_the_lower_bound_first_and_not_without_need():
    ratio, gain = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, -1.0, -3.0])
    assert bapo.bounds(ratio[:2], torch.tensor([1.0, -1.0]), 0.5, 0.8, 0.95, 1.2, 2.0, 0.05) == (0.8, 1.2)
    low, high = bapo.bounds(ratio, gain, 0.5, 0.8, 0.95, 1.2, 2.0, 0.05)
    assert (low, high) == pytest.approx((0.95, 2.0))
    ratio = torch.tensor([1.9, 1.0])  # 1.4 * 1 >= 0.5 * 2.79: the upper bound goes as far as it must
    low, high = bapo.bounds(ratio, torch.tensor([1.0, -2.79]), 0.5, 0.8, 0.95, 1.2, 2.0, 0.05)
    assert (low, high) == pytest.approx((0.95, 1.4), abs=1e-6)
    want = [clipped(r, a, 0.8, 1.2, 3.0) for r, a in zip(R, GAIN, strict=True)]
    assert value("bapo") == near(want)


def test_minpro_weighs_by_the_least_prefix_and_is_one_on_policy():
    least = [1.0, min(1, R[0]), min(1, R[0], R[1]), 1.0, min(1, R[3]), min(1, R[3], R[4])]
    weight = [min(r * m, 5.0) for r, m in zip(R, least, strict=True)]
    assert gradient("minpro") == near([-w * a for w, a in zip(weight, GAIN, strict=True)])
    assert gradient("minpro", rows(gap=[0.0] * 6)) == near([-a for a in GAIN])


def test_gmpo_is_a_geometric_mean_with_one_sided_clips():
    kept = [min(g, 0.2) if a > 0 else max(g, -0.2) for g, a in zip(GAP, GAIN, strict=True)]
    means = [math.exp(mean(kept[:3]))] * 3 + [math.exp(mean(kept[3:]))] * 3
    assert value("gmpo", bound=0.2) == near([-a * m for a, m in zip(GAIN, means, strict=True)])


def test_dppo_stops_where_the_probability_moved_far_enough():
    moved = [math.exp(o + g) - math.exp(o) for o, g in zip(OLD, GAP, strict=True)]
    want = [
        (0.0 if m * a > 0 and abs(m) > 0.1 else -a * r) + 0.01 * g * g
        for m, a, r, g in zip(moved, GAIN, R, GAP, strict=True)
    ]
    assert 0.01 * GAP[0] ** 2 == near(want[0])  # the first is masked
    assert value("dppo", delta=0.1, square=0.01) == near(want)


def test_disco_by_hand():
    made = rows(success=[1, 1, 1, 0, 0, 0], group=[4.0] * 6)
    new = [o + g for o, g in zip(OLD, GAP, strict=True)]
    kl = -mean(GAP)
    right, wrong = mean(new[:3]), mean(new[3:])
    assert value("disco", made=made, beta=0.0) == near(-(right - 10 * math.log(math.exp(wrong / 10))))
    assert value("disco", made=made, beta=0.0, score="ratio") == near(-(mean(R[:3]) - mean(R[3:])))
    away = rows(gap=[-0.1] * 6, success=[1, 1, 1, 0, 0, 0], group=[4.0] * 6)
    both = value("disco", made=away, beta=1e3), value("disco", made=away, beta=0.0)
    assert both[0] - both[1] == near(1e3 * (0.1 - 1e-4) * 0.1)
    assert kl < 1e-4  # the hinge of the first case is shut
    alone = rows(success=[1.0] * 6, group=[4.0] * 6)
    assert value("disco", made=alone, beta=0.0) == 0


def test_dpo_pairs_within_a_group_only():
    new = [o + g for o, g in zip(OLD, GAP, strict=True)]
    reference = [-1.0] * 6
    gain = [sum(new[:3]) + 3, sum(new[3:]) + 3]
    made = rows(success=[1, 1, 1, 0, 0, 0], group=[0.0] * 6, reference=reference)
    assert value("dpo", made=made, beta=0.5) == near(math.log(1 + math.exp(-0.5 * (gain[0] - gain[1]))))
    apart = rows(success=[1, 1, 1, 0, 0, 0], group=[0.0, 0, 0, 1, 1, 1], reference=reference)
    assert value("dpo", made=apart) == 0


def test_chord_fades_from_imitation_to_reinforcement():
    assert [chord.share(s, 0.5, 0.02, 2, 4) for s in (0, 1, 2, 4, 6, 99)] == near([0.25, 0.5, 0.5, 0.26, 0.02, 0.02])
    made = rows(demonstration=[1, 1, 1, 0, 0, 0], step=99)
    found = value("chord", made=made, warmup=2, decay=4)
    p = [math.exp(o + g) for o, g in zip(OLD, GAP, strict=True)]
    assert found[:3] == near([-0.02 * q * (1 - q) * math.log(q) for q in p[:3]])
    assert found[3:] == near([0.98 * clipped(r, a, 0.8, 1.2) for r, a in zip(R[3:], GAIN[3:], strict=True)])


def test_a_value_may_not_gain_by_going_far_at_once():
    now = torch.tensor([0.5, 0.5, 0.1, 0.5], dtype=torch.float64, requires_grad=True)
    old, returns = (torch.tensor(x, dtype=torch.float64) for x in ([0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 2.0]))
    found = value_loss.value(now, old, returns)
    assert found.tolist() == near([0.8**2 / 2, 0.5**2 / 2, 0.9**2 / 2, 1.5**2 / 2])
    (slope,) = torch.autograd.grad(found.sum(), now)
    assert slope.tolist() == near([0.0, 0.5, -0.9, -1.5])  # the first went further than 0.2 towards its return
    assert value_loss.value(now, old, returns, None).tolist() == near([0.125, 0.125, 0.405, 1.125])


def test_aepo_keeps_a_gradient_above_the_clip():
    made = rows(gap=[1.0], gain=[2.0], old=[-3.0], sample=[0])
    assert value("aepo", made=made) == near([-2.56])
    assert gradient("aepo", made) == near([-2.56])
    assert gradient("dapo", made) == [0.0]


SAMPLER = [-0.5, -2.0, -2.0, -0.2, -3.5, 8.5]
W = [math.exp(o - s) for o, s in zip(OLD, SAMPLER, strict=True)]


def test_corrections_by_hand():
    made = rows(sampler=SAMPLER)
    assert value("tis", "correction", made) == near([min(w, 2.0) for w in W])
    assert value("mis", "correction", made) == near([w if 0.5 <= w <= 5 else 0 for w in W])
    assert value("icepop", "correction", made) == value("mis", "correction", made)
    product = math.prod(W[:3])
    assert value("tis", "correction", made, level="sequence", high=9.0)[:3] == near([product] * 3)
    assert value("tis", "correction", made, level="geometric", high=9.0)[:3] == near([product ** (1 / 3)] * 3)
    assert value("veto", "correction", made, least=1e-3) == [1, 1, 1, 0, 0, 0]
    drift = [mean([s - o - g for s, o, g in list(zip(SAMPLER, OLD, GAP, strict=True))[k : k + 3]]) for k in (0, 3)]
    assert drift[1] > 0.5
    assert value("opsm", "correction", made) == [1, 1, 1, 0, 0, 0]
    assert value("opsm", "correction", rows(sampler=SAMPLER, gain=[1.0] * 6)) == [1] * 6


def test_corrections_are_one_on_policy_and_carry_no_gradient():
    for id in registry.names("correction"):
        assert value(id, "correction", rows(gap=[0.0] * 6)) == [1] * 6
    found, _ = objective("ppo", ["opsm", {"tis": {"high": 0.5}}]).gradient(rows())
    plain, _ = objective("ppo").gradient(rows())
    torch.testing.assert_close(found["logprobs"], 0.5 * plain["logprobs"])


def test_kl_estimates_agree_in_expectation():
    torch.manual_seed(0)
    p, q = (torch.log_softmax(torch.randn(40, dtype=torch.float64), -1) for _ in range(2))
    made = rows([0.0] * 40, [0.0] * 40, p.tolist(), [0] * 40, reference=q.tolist())
    exact = float((p.exp() * (p - q)).sum())
    for estimate in ("k1", "k3"):
        assert float(
            p.exp() @ torch.tensor(value("kl", "term", made, estimate=estimate), dtype=torch.float64)
        ) == pytest.approx(exact)
    assert value("kl", "term", made, estimate="k2") == near(((p - q) ** 2 / 2).tolist())


def test_the_entropy_bonus_has_the_gradient_of_the_entropy():
    found, sums = objective(terms=[{"entropy": {"weight": 0.3}}]).gradient(rows())
    assert found["entropies"].tolist() == near([-0.3 / 6] * 6)
    assert sums["entropy"] == near(sum(0.1 * k for k in range(1, 7)) / 6)
    assert sums["entropy_term"] == near(-0.3 * sums["entropy"])


def test_epo_remembers_steps_and_leaves_the_band_alone():
    made = rows(episode_turn=[0.0, 0, 1, 0, 0, 1])
    assert value("epo", "term", made) == [0.0] * 6  # nothing is known yet
    made.entropies = torch.tensor([0.05, 0.25, 1.0, 0.9, 0.25, 0.3], dtype=torch.float64)
    known = {0: mean([0.1, 0.2, 0.4, 0.5]), 1: mean([0.3, 0.6])}
    want = [
        max(0, 0.5 * known[s] - h) + max(0, h - 1.5 * known[s])
        for s, h in zip([0, 0, 1, 0, 0, 1], made.entropies.tolist(), strict=True)
    ]
    assert sum(w > 0 for w in want) == 3
    assert value("epo", "term", made) == near(want)


def test_imitation_terms():
    new = [o + g for o, g in zip(OLD, GAP, strict=True)]
    made = rows(success=[0, 0, 0, 1, 1, 1], teacher=[-1.0] * 6)
    assert value("ce", "term", made) == near([0, 0, 0, *(-x for x in new[3:])])
    assert value("ce", "term", made, on="positive") == near([*(-x for x in new[:3]), 0, 0, 0])
    assert value("ce", "term", made, on="all") == near([-x for x in new])
    assert value("distil", "term", made) == near([-r * (-1.0 - o) for r, o in zip(R, OLD, strict=True)])


@pytest.mark.parametrize("id", sorted(set(registry.names("policy")) - {"disco", "dpo", "chord"}))
def test_every_ratio_loss_has_the_policy_gradient_on_policy(id):
    """At ratio 1 with one advantage a sequence the gradient, summed over a sequence, is -A a token."""
    found = gradient(id, rows(gap=[0.0] * 6))
    assert [sum(found[:3]), sum(found[3:])] == near([-3.0, 1.5])


def test_every_loss_states_formula_source_and_parity():
    from agentrl.trainers.losses.listing import describe

    listed = describe()
    assert {row["id"] for row in listed} >= {"gspo", "dapo", "icepop", "tis", "kl", "epo", "chord", "value"}
    for row in listed:
        assert "`" not in row["formula"]
        assert all(row[key] for key in ("formula", "source", "parity")), row["id"]


def test_a_whole_step_loss_is_the_same_however_it_is_cut():
    """Rows of two micro-batches, joined, give what one batch gives."""
    made = rows(success=[1, 1, 1, 0, 0, 0], group=[0.0] * 6)
    goal = objective("disco")
    want, _ = goal.gradient(made)
    halves = [rows(GAP[k : k + 3], GAIN[:3], OLD[k : k + 3], [0] * 3) for k in (0, 3)]
    for half, success in zip(halves, (1.0, 0.0), strict=True):
        half.columns |= {
            "success": torch.full((3,), success, dtype=torch.float64),
            "group": torch.zeros(3, dtype=torch.float64),
        }
    got, _ = goal.gradient(Rows.join(halves))
    torch.testing.assert_close(got["logprobs"], want["logprobs"])
    assert goal.whole
    assert torch.isfinite(got["logprobs"]).all()
