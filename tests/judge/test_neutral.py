"""The null of neutral tunes: it keeps its level, it depends on the size of the change, and it sees what sticks out."""

import json

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.judge import NeutralNull, rate_interval
from despur.judge.neutral import CARRIED, carried

KINDS = ("tokens", "mean", "PCA 1", "PCA 2")


def tunes(n, rng, lift=0.0):
    """Neutral evidence that is larger and wider where the change is small, as it is in the worlds."""
    change = 10 ** rng.uniform(-2.5, 0.3, n)
    scale = 0.05 + 0.1 * (change < 0.1)
    shared = rng.normal(size=n)
    evidence = {
        k: scale * (1 + 0.3 * (0.7 * shared + 0.7 * rng.normal(size=n) if k != "tokens" else rng.normal(size=n)) + lift)
        for k in KINDS
    }
    return change, evidence


def null_of(n, rng):
    change, evidence = tunes(n, rng)
    return NeutralNull(tuple(change), {k: tuple(v) for k, v in evidence.items()}, "drawn", "base", {"rows": 8})


def rate(null, change, evidence):
    hits = sum(null.p_value(c, {k: v[i] for k, v in evidence.items()}) <= 0.05 for i, c in enumerate(change))
    return rate_interval(hits, len(change))


def test_its_level_is_what_it_says_and_it_has_power():
    rng = np.random.default_rng(0)
    null = null_of(240, rng)
    share, low, _ = rate(null, *tunes(400, rng))
    assert low <= 0.05, (share, low)
    found, low, _ = rate(null, *tunes(200, rng, lift=2.0))
    assert low > 0.7, found


def test_the_same_figure_is_judged_by_the_size_of_the_change():
    null = null_of(240, np.random.default_rng(1))
    figure = dict.fromkeys(KINDS, 0.15)
    assert null.p_value(0.005, figure) > 0.2, "a small change leaves few directions by chance"
    assert null.p_value(1.0, figure) <= 0.05, "a large one does not"


def test_the_score_is_the_formula():
    """Weighed by how far the change is away in decades, near being a third of one."""
    change, evidence = tunes(30, np.random.default_rng(4))
    null = NeutralNull(tuple(change), {k: tuple(v) for k, v in evidence.items()})
    w = np.exp(-((np.log10(change) - np.log10(0.2)) ** 2) / (2 * 0.3**2))
    for kind, values in evidence.items():
        mean = np.average(values, weights=w)
        spread = np.average((values - mean) ** 2, weights=w) ** 0.5
        assert null.scores(0.2, {kind: 0.3})[kind] == pytest.approx((0.3 - mean) / spread)
    far, end = (null.scores(c, {"mean": 0.3})["mean"] for c in (100.0, change.max()))
    assert far == pytest.approx(end), "beyond the ends the nearest tunes count"


def test_kinds_that_the_null_does_not_know_do_not_count():
    null = null_of(40, np.random.default_rng(2))
    assert null.p_value(1.0, {"brand new": 99.0}) == 1.0
    assert "brand new" not in null.scores(1.0, {"brand new": 99.0, "mean": 0.1})


def test_tunes_that_show_exactly_as_much_count_as_much():
    flat = NeutralNull((0.1,) * 39, {k: (0.0,) * 39 for k in KINDS})
    assert flat.p_value(0.1, dict.fromkeys(KINDS, 0.0)) == 1.0, "all of them show as much"
    assert flat.p_value(0.1, dict.fromkeys(KINDS, 1e-6)) == 1 / 40, "the control: none of them does"


def test_it_is_written_and_read_back(tmp_path):
    null = null_of(40, np.random.default_rng(3))
    null.write(tmp_path / "null.json")
    again = NeutralNull.read(tmp_path / "null.json")
    assert again.p_value(0.1, dict.fromkeys(KINDS, 0.2)) == null.p_value(0.1, dict.fromkeys(KINDS, 0.2))
    assert (again.base, again.origin, dict(again.settings)) == ("base", "drawn", {"rows": 8})


def test_the_shipped_one_has_at_least_two_hundred_tunes():
    null = NeutralNull.read()
    assert len(null.changes) >= 200
    assert "persona" in null.origin


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"changes": [1]}', "[" * 9999,
     json.dumps({"origin": "", "base": "", "settings": {}, "changes": [0.1] * 5, "evidence": {"mean": [0.1] * 5}}),
     json.dumps({"origin": "", "base": "", "settings": {}, "changes": [0.1] * 20, "evidence": {"mean": [0.1] * 19}}),
     json.dumps({"origin": "", "base": "", "settings": {}, "changes": [0.1] * 20, "evidence": {"mean": [float("nan")] * 20}})],
    ids=["empty", "list", "object", "part", "deep", "few", "ragged", "nan"],
)  # fmt: skip
def test_what_is_no_null_is_one_clear_error(text, tmp_path):
    (tmp_path / "null.json").write_text(text)
    with pytest.raises(BadInput, match="null.json"):
        NeutralNull.read(tmp_path / "null.json")
    with pytest.raises(BadInput, match="despur calibrate"):
        NeutralNull.read(tmp_path / "nowhere.json")


@pytest.mark.parametrize("level", [0.05, 0.1, 0.34])
def test_the_threshold_is_where_the_p_value_reaches_the_level(level):
    rng = np.random.default_rng(3)
    null = null_of(19, rng)
    threshold = null.threshold(level, KINDS)
    change, evidence = tunes(200, rng, lift=0.4)
    below = 0
    for i, c in enumerate(change):
        found = {k: v[i] for k, v in evidence.items()}
        assert (null.p_value(c, found) <= level) == (null.statistic(c, found) > threshold)
        below += null.statistic(c, found) <= threshold
    assert 0 < below < 200, "both are seen"
    assert null.threshold(0.04, KINDS) is None, "no p value of 19 tunes is as low"


def with_nats(change, evidence):
    return {**evidence, CARRIED: carried(change, evidence)}


def test_what_directions_carry_in_nats_keeps_the_level_and_finds_what_shares_do_not_show():
    """Updates of one size: neutral tunes move the base a little, in few directions; a voice as few, and far."""
    rng = np.random.default_rng(5)

    def drawn(n):
        shares = rng.uniform(0.05, 0.45, n)
        return 10 ** rng.normal(-1, 0.1, n), {k: shares * rng.uniform(0.9, 1.1, n) for k in KINDS}

    def one(evidence, i):
        return {k: v[i] for k, v in evidence.items()}

    change, evidence = drawn(200)
    null = NeutralNull(tuple(change), {k: tuple(v) for k, v in evidence.items()})
    fresh, shown = drawn(400)
    hits = sum(null.p_value(c, with_nats(c, one(shown, i))) <= 0.05 for i, c in enumerate(fresh))
    assert rate_interval(hits, 400)[1] <= 0.05 <= rate_interval(hits, 400)[2] + 0.02
    voice = dict.fromkeys(KINDS, 0.35)
    assert null.p_value(5.0, voice) > 0.05, "the control: as a share it is one of them"
    assert null.p_value(5.0, with_nats(5.0, voice)) <= 0.01
    assert null.by(5.0, with_nats(5.0, voice)) == CARRIED
    assert null.by(5.0, voice) != CARRIED
    assert null.p_value(5.0, with_nats(5.0, dict.fromkeys(KINDS, 0.001))) > 0.05, "carried by no few directions"
