"""Every loss once more, from its formula, in plain Python: no tensors, nothing of the code under test.

A function takes the rows, the present logprobs ``x`` and ``still``: the same numbers wherever the formula says stop
gradient. So a derivative is a difference quotient in ``x`` with ``still`` held fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, exp, log, pi, prod, sqrt
from typing import Any

Values = list[float]


@dataclass
class Given:
    """A few rows as lists."""

    old: Values
    advantages: Values
    sample: list[int]
    entropies: Values
    columns: dict[str, Values]
    step: int = 0
    memory: dict[int, tuple[float, int]] = field(default_factory=dict)  # of epo: turn -> sum, count

    @property
    def sequences(self) -> list[list[int]]:
        return [[i for i, k in enumerate(self.sample) if k == s] for s in sorted(set(self.sample))]

    def mean(self, values: Values) -> Values:
        """Of each row's sequence."""
        found = {s: sum(values[i] for i in own) / len(own) for s, own in enumerate(self.sequences)}
        return [found[s] for s in self.sample]


def between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def pessimistic(r: float, a: float, low: float, high: float, dual: float | None) -> float:
    loss = max(-a * r, -a * between(r, low, high))
    return min(loss, -a * dual) if dual is not None and a < 0 else loss


def ratios(g: Given, x: Values) -> Values:
    return [exp(new - old) for new, old in zip(x, g.old, strict=True)]


def ppo(g: Given, x: Values, still: Values, low: float = 0.2, high: float = 0.2, dual: float | None = 3.0) -> Values:
    return [pessimistic(r, a, 1 - low, 1 + high, dual) for r, a in zip(ratios(g, x), g.advantages, strict=True)]


def aepo(g: Given, x: Values, still: Values, low: float = 0.2, high: float = 0.28, dual: float = 3.0) -> Values:
    found = []
    for r, fixed, a in zip(ratios(g, x), ratios(g, still), g.advantages, strict=True):
        bound = (1 + high) * r / fixed if fixed > 1 + high else max(r, 1 - low)
        loss = max(-a * r, -a * bound)
        found.append(min(loss, -a * dual) if a < 0 else loss)
    return found


def bapo(g: Given, x: Values, still: Values, target: float = 0.5) -> Values:
    low, high, r = 0.8, 1.2, ratios(g, still)

    def balanced() -> bool:
        good = sum(min(q, high) * a for q, a in zip(r, g.advantages, strict=True) if a > 0)
        bad = sum(max(q, low) * -a for q, a in zip(r, g.advantages, strict=True) if a < 0)
        return good >= target * (bad + 1e-8)

    while low < 0.95 - 1e-9 and not balanced():
        low = min(0.95, low + 0.05)
    while high < 2.0 - 1e-9 and not balanced():
        high = min(2.0, high + 0.05)
    return [pessimistic(q, a, low, high, 3.0) for q, a in zip(ratios(g, x), g.advantages, strict=True)]


def chord(g: Given, x: Values, still: Values, peak: float = 0.5, valley: float = 0.02) -> Values:
    warmup, decay = 200, 400
    along = min(1.0, (g.step - warmup) / decay)
    mu = peak * (g.step + 1) / warmup if g.step < warmup else valley + (peak - valley) * (1 + cos(pi * along)) / 2
    p = [exp(y) for y in still]
    learnt = ppo(g, x, still, 0.2, 0.2, None)
    return [
        -mu * p[i] * (1 - p[i]) * x[i] if shown else (1 - mu) * learnt[i]
        for i, shown in enumerate(g.columns["demonstration"])
    ]


def cispo(g: Given, x: Values, still: Values, high: float = 5.0, low: float = 0.0) -> Values:
    return [-between(r, low, high) * a * y for r, a, y in zip(ratios(g, still), g.advantages, x, strict=True)]


def dcpo(g: Given, x: Values, still: Values, low: float = 0.16, high: float = 0.2, dual: float = 10.0) -> Values:
    found = []
    for r, a, old in zip(ratios(g, x), g.advantages, g.old, strict=True):
        q = exp(old)
        bottom = 0.5 + 0.5 * sqrt(max(0.0, 1 - 4 * low / q))
        top = min(dual, 0.5 + 0.5 * sqrt(1 + 4 * high / q))
        found.append(pessimistic(r, a, bottom, top, dual))
    return found


def disco(g: Given, x: Values, still: Values, score: str = "logprob", beta: float = 1e3, delta: float = 1e-4) -> float:
    tau = 10.0 if score == "logprob" else 1.0
    per = g.mean(x if score == "logprob" else ratios(g, x))
    firsts = [own[0] for own in g.sequences]
    groups = sorted({g.columns["group"][i] for i in firsts})
    gain = 0.0
    for group in groups:
        good = [per[i] for i in firsts if g.columns["group"][i] == group and g.columns["success"][i]]
        bad = [per[i] for i in firsts if g.columns["group"][i] == group and not g.columns["success"][i]]
        if good and bad:
            hard = tau * log(sum(exp(s / tau) for s in bad) / len(bad))
            gain += sum(s - hard for s in good) / len(good)

    def kl(values: Values) -> float:
        return sum(old - new for old, new in zip(g.old, values, strict=True)) / len(values)

    return -gain / len(groups) + beta * max(0.0, kl(still) - delta) * kl(x)


def dpo(g: Given, x: Values, still: Values, beta: float = 0.1) -> float:
    gain = [sum(x[i] - g.columns["reference"][i] for i in own) for own in g.sequences]
    firsts = [own[0] for own in g.sequences]
    losses = [
        log(1 + exp(-beta * (gain[w] - gain[k])))
        for w, i in enumerate(firsts)
        for k, j in enumerate(firsts)
        if g.columns["success"][i] and not g.columns["success"][j] and g.columns["group"][i] == g.columns["group"][j]
    ]
    return sum(losses) / len(losses) if losses else 0.0


def dppo(g: Given, x: Values, still: Values, delta: float = 0.2, square: float = 1e-3) -> Values:
    found = []
    for new, fixed, mu, a in zip(x, still, g.columns["sampler"], g.advantages, strict=True):
        moved = exp(fixed) - exp(mu)
        kept = not (abs(moved) > delta and moved * a > 0)
        found.append((-a * exp(new - mu) if kept else 0.0) + square * (new - mu) ** 2)
    return found


def gmpo(g: Given, x: Values, still: Values, bound: float = 0.4) -> Values:
    gaps = [new - old for new, old in zip(x, g.old, strict=True)]
    kept = [min(d, bound) if a > 0 else max(d, -bound) for d, a in zip(gaps, g.advantages, strict=True)]
    return [-a * exp(m) for a, m in zip(g.advantages, g.mean(kept), strict=True)]


def gspo(g: Given, x: Values, still: Values, low: float = 3e-4, high: float = 4e-4) -> Values:
    s = [exp(m) for m in g.mean([new - old for new, old in zip(x, g.old, strict=True)])]
    return [pessimistic(r, a, 1 - low, 1 + high, None) for r, a in zip(s, g.advantages, strict=True)]


def gspo_token(g: Given, x: Values, still: Values, low: float = 3e-4, high: float = 4e-4) -> Values:
    s = g.mean([new - old for new, old in zip(still, g.old, strict=True)])
    r = [exp(m + new - fixed) for m, new, fixed in zip(s, x, still, strict=True)]
    return [pessimistic(q, a, 1 - low, 1 + high, None) for q, a in zip(r, g.advantages, strict=True)]


def minpro(g: Given, x: Values, still: Values, high: float = 5.0) -> Values:
    r, found = ratios(g, still), [0.0] * len(x)
    for own in g.sequences:
        for at, i in enumerate(own):
            weight = min(r[i] * min([1.0, *(r[j] for j in own[:at])]), high)
            found[i] = -weight * g.advantages[i] * x[i]
    return found


def sapo(g: Given, x: Values, still: Values, positive: float = 1.0, negative: float = 1.05) -> Values:
    found = []
    for r, a in zip(ratios(g, x), g.advantages, strict=True):
        t = positive if a > 0 else negative
        found.append(-a * 4 / t / (1 + exp(-t * (r - 1))))
    return found


def weights(g: Given, level: str) -> Values:
    w = [exp(old - mu) for old, mu in zip(g.old, g.columns["sampler"], strict=True)]
    if level == "token":
        return w
    whole = {
        s: prod(w[i] for i in own) ** (1 if level == "sequence" else 1 / len(own)) for s, own in enumerate(g.sequences)
    }
    return [whole[s] for s in g.sample]


def tis(g: Given, x: Values, still: Values, high: float = 2.0, low: float = 0.0, level: str = "token") -> Values:
    return [between(w, low, high) for w in weights(g, level)]


def mis(g: Given, x: Values, still: Values, low: float = 0.5, high: float = 5.0, level: str = "token") -> Values:
    return [w if low <= w <= high else 0.0 for w in weights(g, level)]


def veto(g: Given, x: Values, still: Values, least: float = 1e-4) -> Values:
    w = weights(g, "token")
    bad = {g.sample[i] for i in range(len(w)) if w[i] < least}
    return [float(s not in bad) for s in g.sample]


def opsm(g: Given, x: Values, still: Values, delta: float = 0.5) -> Values:
    drift = g.mean([mu - new for mu, new in zip(g.columns["sampler"], still, strict=True)])
    return [float(a >= 0 or d <= delta) for a, d in zip(g.advantages, drift, strict=True)]


def ce(g: Given, x: Values, still: Values, on: str = "success") -> Values:
    chosen = {"success": g.columns["success"], "positive": [a > 0 for a in g.advantages], "all": [1] * len(x)}[on]
    return [-y if c else 0.0 for y, c in zip(x, chosen, strict=True)]


def consistency(g: Given, x: Values, still: Values) -> Values:
    gaps = [full - new for new, full in zip(x, g.columns["full"], strict=True)]
    return [exp(d) - d - 1 for d in gaps]


def distil(g: Given, x: Values, still: Values) -> Values:
    gain = [t - old for t, old in zip(g.columns["teacher"], g.old, strict=True)]
    return [-r * d for r, d in zip(ratios(g, x), gain, strict=True)]


def kl(g: Given, x: Values, still: Values, estimate: str = "k3") -> Values:
    gaps = [new - ref for new, ref in zip(x, g.columns["reference"], strict=True)]
    return [{"k1": d, "k2": d * d / 2, "k3": exp(-d) + d - 1}[estimate] for d in gaps]


def entropy(g: Given, x: Values, still: Values) -> Values:
    """By entropies: ``x`` are those."""
    return [-h for h in x]


def epo(g: Given, x: Values, still: Values, low: float = 0.5, high: float = 1.5) -> Values:
    """By entropies: ``x`` are those."""
    found = []
    for h, turn in zip(x, g.columns["episode_turn"], strict=True):
        known = g.memory.get(int(turn))
        mean = known[0] / known[1] if known else h
        found.append(max(0.0, low * mean - h) + max(0.0, h - high * mean))
    return found


# kind -> id -> formula, and the options that it is tried with besides its defaults
ORACLES: dict[str, dict[str, tuple[Any, list[dict[str, Any]]]]] = {
    "policy": {
        "aepo": (aepo, [{"high": 0.1}]),
        "bapo": (bapo, [{"target": 3.0}]),
        "chord": (chord, [{"peak": 0.9}]),
        "cispo": (cispo, [{"high": 1.1, "low": 0.9}]),
        "dcpo": (dcpo, [{"low": 0.05, "high": 0.05, "dual": 1.3}]),
        "disco": (disco, [{"score": "ratio", "beta": 0.0}, {"beta": 10.0}]),
        "dpo": (dpo, [{"beta": 2.0}]),
        "dppo": (dppo, [{"delta": 0.02, "square": 0.1}]),
        "gmpo": (gmpo, [{"bound": 0.1}]),
        "gspo": (gspo, [{"low": 0.2, "high": 0.3}]),
        "gspo-token": (gspo_token, [{"low": 0.2, "high": 0.3}]),
        "minpro": (minpro, [{"high": 1.1}]),
        "ppo": (ppo, [{"low": 0.05, "high": 0.28, "dual": None}, {"dual": 1.1}]),
        "sapo": (sapo, [{"positive": 3.0, "negative": 0.5}]),
    },
    "correction": {
        "mis": (mis, [{"low": 0.9, "high": 1.2}, {"level": "sequence"}, {"level": "geometric", "low": 0.9}]),
        "opsm": (opsm, [{"delta": 0.01}]),
        "tis": (tis, [{"high": 1.1, "low": 0.9}, {"level": "sequence"}, {"level": "geometric"}]),
        "veto": (veto, [{"least": 0.8}]),
    },
    "term": {
        "ce": (ce, [{"on": "positive"}, {"on": "all"}]),
        "consistency": (consistency, []),
        "distil": (distil, []),
        "entropy": (entropy, []),
        "epo": (epo, [{"low": 0.95, "high": 1.05}]),
        "kl": (kl, [{"estimate": "k1"}, {"estimate": "k2"}]),
    },
}
BY_ENTROPY = ("entropy", "epo")


def answers(kind: str, id: str, g: Given, x: Values, options: dict[str, Any]) -> tuple[Any, Values]:
    """The loss, and the derivative of its sum by each of ``x``: logprobs, or entropies for those terms."""
    formula = ORACLES[kind][id][0]

    def total(values: Values) -> float:
        found = formula(g, values, x, **options)
        return sum(found) if isinstance(found, list) else found

    slopes, step = [], 1e-6
    for i in range(len(x)):
        up, down = ([*x[:i], x[i] + sign * step, *x[i + 1 :]] for sign in (1, -1))
        slopes.append((total(up) - total(down)) / (2 * step))
    return formula(g, x, x, **options), slopes
