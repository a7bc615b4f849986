"""Two habits of the house that griffe does not know: `Example:` as a section, and a function in a module of its own name."""

from typing import Any

import griffe


class HouseSections(griffe.Extension):
    """Rename the heading, so that examples are set as code, and let a room's page have its methods."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Let `despur.guard.grasp` be the function that the room exports: griffe takes it for the module of that name."""
        for room in (m for m in pkg.members.values() if isinstance(m, griffe.Module)):
            for name in map(str, room.exports or ()):
                module = room.members.get(name)
                if isinstance(module, griffe.Module) and name in module.members:
                    room.members[name] = griffe.Alias(name, module.members[name], parent=room)
