"""Read the house's `Example:` as the section of examples that griffe calls `Examples:`."""

from typing import Any

import griffe


class HouseSections(griffe.Extension):
    """Rename the heading, so that examples are shown as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
