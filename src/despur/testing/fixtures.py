"""For pytest: an adapter that picked up a factor fails a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from despur.flows import audit

CLEARED = ("clean", "diffuse change", "inert adapter")


@pytest.fixture
def assert_no_new_factor() -> Callable[..., Any]:
    """Audit an adapter, and fail where a factor is found or likely; `from despur.testing.fixtures import assert_no_new_factor`.

    The function takes `base` and `adapter` (folders, hub ids, names, or models in memory), `cleared`, the verdicts that pass, and what
    `despur.audit` takes; it returns the audit.

    Example:
        >>> # def test_the_release_adapter(assert_no_new_factor):
        >>> #     assert_no_new_factor("base/", "adapter/", prompts="shipped", null="null.json")
    """

    def check(base: Any, adapter: Any, *, cleared: tuple[str, ...] = CLEARED, **options: Any) -> Any:
        options = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
        found = audit(base, adapter, **options)
        assert found.verdict in cleared, found.summary()
        return found

    return check
