"""Claims: ahead of the control by the margin, the control fails, and what is missing is named."""

import pytest

from despur.core import Report, claim, find_method
from despur.core.claim import _CLAIMS, Claim, find_claim, sources
from despur.core.errors import BadInput, UnknownName, in_one_line
from despur.core.evidence import FAILS, HOLDS, PROXY, grouped, state
from despur.core.margin import compared, misses


def entry(**options) -> Claim:
    return Claim(
        **{
            "method": "scale",
            "says": "it halves",
            "control": "none",
            "margin": 0.1,
            "run": lambda seed, *, whole: (),
            **options,
        }
    )


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (compared("x", 0.9, control=0.1), ""),
        (compared("x", 0.1, control=0.9, higher_is_better=False), ""),
        (compared("x", 0.15, control=0.1), "0.1 better is needed"),
        (compared("x", 0.1, control=0.9), "0.1 better is needed"),
        (compared("x", float("nan"), control=0.1), "0.1 better is needed"),
        (compared("x", 0.9, control=float("nan")), "0.1 better is needed"),
        (compared("x", 0.9, control=0.5, low=0.4), "lies in the interval to 0.4"),
        (compared("x", 0.1, control=0.5, high=0.6, higher_is_better=False), "lies in the interval to 0.6"),
        (compared("x", 0.9, control=0.1, bound=0.95), "at least 0.95 is needed"),
        (compared("x", 0.3, control=0.9, bound=0.2, higher_is_better=False), "at most 0.2 is needed"),
        (compared("x", 0.9, control=0.7, bound=0.6), "the control reaches 0.6, too"),
        (compared("x", 0.15, control=0.1, margin=0.04), ""),
        (compared("x", 0.9, control=0.1, margin=1.0), "1 better is needed"),
    ],
)
def test_what_a_report_misses(report, reason):
    found = misses(report, 0.1)
    assert (found == ()) if not reason else reason in " ".join(found)


def test_verdict_needs_every_report():
    good, bad = compared("good", 0.9, control=0.1), compared("bad", 0.1, control=0.1)
    assert entry().judge([good]) == (HOLDS, ())
    assert entry(proxy="a model of use").judge([good])[0] == PROXY
    verdict, reasons = entry(proxy="a model of use").judge([good, bad])
    assert verdict == FAILS
    assert len(reasons) == 1
    assert "bad" in reasons[0]


def test_a_claim_that_measures_nothing_is_no_claim():
    with pytest.raises(BadInput, match="gave no report"):
        entry().judge([])
    with pytest.raises(BadInput, match="no figure for its control"):
        entry().judge([Report("x", 0.9, 0.9, 0.9, 1)])


@pytest.mark.parametrize("wrong", [{"says": " "}, {"control": ""}, {"margin": 0.0}, {"margin": float("nan")}])
def test_a_claim_without_sentence_control_or_margin_is_refused(wrong):
    options = {"method": "scale", "says": "it halves", "control": "all of it", "margin": 0.1, **wrong}
    with pytest.raises(BadInput, match="scale"):
        claim.claim(**options)


def test_unknown_methods_and_methods_without_a_claim_are_named(monkeypatch):
    with pytest.raises(UnknownName, match="nearest: 'grasp'"):
        find_claim("graps")
    assert find_claim("o_lora" if "o-lora" in _CLAIMS else "grasp").method
    monkeypatch.setattr(claim, "find_spec", lambda module: None)
    monkeypatch.delitem(_CLAIMS, "grasp", raising=False)
    with pytest.raises(UnknownName, match=r"grasp has no claim.*@claim\(method='grasp'\)"):
        find_claim("grasp")


def test_sources_are_those_of_claim_and_method():
    text = sources(find_claim("leakage"))
    assert "distance from the dense norm" in text
    assert "def leak_by_module" in text
    assert "def random_factor" in text, "what claims share counts, too"
    assert find_method("leakage").name == "leakage"


def test_an_error_is_one_line():
    assert in_one_line(BadInput("no rows. Give some")) == "no rows. Give some"
    assert in_one_line(ValueError("a\nb")) == "ValueError: a b"
    assert in_one_line(KeyError()) == "KeyError: KeyError"


def test_evidence_by_method_and_form():
    found = grouped([{"method": "a", "form": "statement", "verdict": HOLDS}, {"method": "a", "form": "mechanism"}])
    assert set(found["a"]) == {"statement", "mechanism"}
    assert state("no-such-method") == "not run"
