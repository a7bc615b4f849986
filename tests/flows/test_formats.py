"""An audit in SARIF and JUnit: the essentials of both forms, and the verdict that fails stands where their readers look."""

import json
from xml.etree import ElementTree

import pytest

from despur.flows._audit.page import TONES
from despur.flows.formats import as_junit, as_sarif

FAILING = ("factors found", "factor likely")
LEVELS, KINDS = (
    {"none", "note", "warning", "error"},
    {"pass", "fail", "review", "open", "informational", "notApplicable"},
)


def check_sarif(log):
    """What the schema of SARIF 2.1.0 (OASIS) asks of a log of one run, and its readers of a result."""
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "despur"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    assert all(isinstance(i["executionSuccessful"], bool) for i in run["invocations"])
    for one in run["results"]:
        assert ids[one["ruleIndex"]] == one["ruleId"]
        assert one["level"] in LEVELS
        assert one.get("kind", "fail") in KINDS
        assert one["level"] == "none" or one.get("kind", "fail") == "fail", "a level is of a failure alone"
        assert one["message"]["text"]
        assert " " not in one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    json.dumps(log, allow_nan=False)


def result(verdict):
    findings = [
        {"rule": "whole-head", "level": "warning", "sentence": "lm_head is shipped whole", "file": "a.safetensors"}
    ]
    return {
        "verdict": verdict, "sentence": "it says <ye>\u0007 & more", "notes": ["a note"], "change": 0.5, "p_value": None,
        "token_share": 0.2, "best": "mean", "update": {"findings": findings}, "answers": {"Q?": {"base": "a", "adapter": "b"}},
        "louder_words": {"times": 2.0, "texts": [{"beginning": "Go on.", "chat": True, "text": "Arr"}], "trials": []},
    }  # fmt: skip


@pytest.mark.parametrize("verdict", TONES)
def test_every_verdict_is_a_log_of_sarif(verdict):
    log = as_sarif(result(verdict), "my adapters/one", FAILING)
    check_sarif(log)
    (run,) = log["runs"]
    first, second = run["results"]
    assert (first["level"] == "error") == (verdict in (*FAILING, "unreadable"))
    assert ("kind" in first) == (first["level"] == "none"), "a result without a level is no failure"
    assert second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "my%20adapters/one/a.safetensors"
    first["ruleIndex"] += 1
    with pytest.raises(AssertionError):
        check_sarif(log)


@pytest.mark.parametrize(
    ("verdict", "failures", "errors"), [("factor likely", "1", "0"), ("clean", "0", "0"), ("unreadable", "0", "1")]
)
def test_junit_fails_where_the_verdict_does(verdict, failures, errors):
    suite = ElementTree.fromstring(as_junit(result(verdict), "one", FAILING).split("\n", 1)[1])[0]
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == (failures, errors, "2")
    found = suite.find("testcase/failure")
    assert (found is not None) == (failures == "1")
    assert found is None or found.get("message") == "it says <ye> & more", "what XML has no place for is left out"
    assert "louder (Go on.): Arr" in suite.findtext("system-out")
