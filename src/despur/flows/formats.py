"""An audit or a scan as other tools read it: SARIF 2.1.0 for code scanning, JUnit's XML for test reports."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree

from despur import __version__
from despur.flows.findings import RULES

Format = Literal["text", "json", "sarif", "junit"]
FILES = {"sarif": "audit.sarif", "junit": "audit.xml"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {
    "factors found": "warning", "factor likely": "warning", "diffuse change": "warning", "inert scout": "warning",
    "clean": "none", "inert adapter": "none",
}  # fmt: skip
_VERDICTS = {
    "factors found": "A few directions, or the same tokens everywhere, carry more of the change than in neutral tunes.",
    "factor likely": "A few directions carry a large part of the off-task change, not calibrated.",
    "diffuse change": "It changes off-task, and no few directions stand out.",
    "clean": "It hardly changes off-task.",
    "inert adapter": "It changes nothing off-task.",
    "inert scout": "Nothing was learned of the rows.",
    "unreadable": "Base or adapter cannot be read, or do not belong together.",
}


def as_sarif(result: Mapping[str, Any], adapter: str, failing: Sequence[str]) -> dict[str, Any]:
    """A log of one run: the verdict is its first result, structural findings follow.

    Args:
        result: What `audit.json` has.
        adapter: What was audited, as the location of every result.
        failing: Verdicts that fail: they are errors, others of a change are warnings.
    """
    rules = {_id(v): text for v, text in _VERDICTS.items()} | RULES
    verdict = result["verdict"]
    level = "error" if verdict in failing or verdict == "unreadable" else _LEVELS[verdict]
    found = [_result(_id(verdict), level, result["sentence"], adapter, kind=None if level != "none" else "pass")]
    found += [_result(f["rule"], f["level"], f["sentence"], f"{adapter}/{f['file']}") for f in _findings(result)]
    index = {name: i for i, name in enumerate(rules)}
    for one in found:
        one["ruleIndex"] = index[one["ruleId"]]
    found[0]["properties"] = {k: result[k] for k in ("change", "p_value", "token_share", "best") if k in result}
    driver = {
        "name": "despur", "version": __version__, "informationUri": "https://pypi.org/project/despur/",
        "rules": [{"id": n, "shortDescription": {"text": t}, "fullDescription": {"text": t}} for n, t in rules.items()],
    }  # fmt: skip
    notes = [{"level": "note", "message": {"text": n}} for n in result.get("notes", ())]
    done = {"executionSuccessful": verdict != "unreadable", "toolExecutionNotifications": notes}
    return {
        "$schema": _SCHEMA, "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "invocations": [done], "results": found, "columnKind": "utf16CodeUnits"}],
    }  # fmt: skip


def as_junit(result: Mapping[str, Any], adapter: str, failing: Sequence[str]) -> str:
    """A test suite: the verdict is a test, each structural finding another; notes and answers are its output.

    Args:
        result: What `audit.json` has.
        adapter: What was audited.
        failing: Verdicts that fail the first test.
    """
    verdict, findings = result["verdict"], _findings(result)
    broken, fails = verdict == "unreadable", verdict in failing
    suite = ElementTree.Element(
        "testsuite", name="despur audit", tests=str(1 + len(findings)), failures=str(int(fails and not broken)),
        errors=str(int(broken)), skipped=str(len(findings)),
    )  # fmt: skip
    case = ElementTree.SubElement(suite, "testcase", classname=_clean(adapter), name="verdict")
    if broken or fails:
        child = ElementTree.SubElement(case, "error" if broken else "failure", message=_clean(result["sentence"]))
        child.set("type", verdict)
        child.text = _clean(result["sentence"])
    for f in findings:
        one = ElementTree.SubElement(suite, "testcase", classname=_clean(adapter), name=f"{f['level']}: {f['rule']}")
        ElementTree.SubElement(one, "skipped", message=_clean(f["sentence"]))
    ElementTree.SubElement(suite, "system-out").text = _clean("\n".join([result["sentence"], *_spoken(result)]))
    ElementTree.SubElement(suite, "system-err").text = _clean("\n".join(result.get("notes", ())))
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    ElementTree.indent(whole)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(whole, encoding="unicode") + "\n"


def _result(rule: str, level: str, text: str, where: str, kind: str | None = None) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": _uri(where)}}}
    more = {"kind": kind} if kind else {}
    return {"ruleId": rule, "level": level, **more, "message": {"text": text}, "locations": [place]}


def _findings(result: Mapping[str, Any]) -> list[dict[str, str]]:
    return list(result.get("update", {}).get("findings", ()) or result.get("findings", ()))


def _spoken(result: Mapping[str, Any]) -> list[str]:
    louder = result.get("louder_words") or {}
    lines = [f"louder ({t['beginning']}): {t['text']}" for t in louder.get("texts", ())]
    for question, said in result.get("answers", {}).items():
        lines += [f"Q: {question}", *(f"  {name}: {answer}" for name, answer in said.items())]
    return lines


def _id(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _uri(path: str) -> str:
    return quote(path.replace("\\", "/"), safe="/:.-_~")


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 has no place for."""
    return "".join(
        c for c in text if c in "\t\n\r" or 32 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF
    )
