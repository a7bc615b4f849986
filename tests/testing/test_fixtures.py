"""The fixture fails a test where a factor is found, with the sentence, and passes where none is."""

from dataclasses import dataclass

import pytest

from despur.testing import fixtures
from despur.testing.fixtures import assert_no_new_factor  # noqa: F401


@dataclass
class Found:
    verdict: str

    def summary(self) -> str:
        return f"{self.verdict}: as it was found"


def test_it_passes_without_a_factor_and_fails_with_one(assert_no_new_factor, monkeypatch):  # noqa: F811
    asked = {}

    def audit(base, adapter, **options):
        asked.update(options, base=base)
        return Found(adapter)

    monkeypatch.setattr(fixtures, "audit", audit)
    assert assert_no_new_factor("base/", "clean", null="null.json").verdict == "clean"
    assert asked == {"base": "base/", "null": "null.json"}
    for verdict in ("factors found", "factor likely", "unreadable"):
        with pytest.raises(AssertionError, match=f"{verdict}: as it was found"):
            assert_no_new_factor("base/", verdict)
    with pytest.raises(AssertionError):
        assert_no_new_factor("base/", "diffuse change", cleared=("clean",))
