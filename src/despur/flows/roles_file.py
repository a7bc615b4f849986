"""Roles of an architecture that the table of families lacks, stated in a file."""

from pathlib import Path
from typing import Any

import yaml

from despur.core.errors import BadInput

_SIDES = ("read", "write")


def read_roles(path: Path | str) -> dict[str, str]:
    """Read what maps do to the residual stream: glob of map names to `read`, `read:NORM`, `write` or `write:NORM`.

    Args:
        path: JSON or YAML, one mapping. A `*` in NORM stands for what the first `*` of the glob matched.

    Returns:
        The `roles` of `stream_roles`, which checks them against a model.

    Raises:
        BadInput: the file cannot be read, is no such mapping, or has a value that is no role.

    Example:
        >>> path = tmp_path / "roles.yaml"
        >>> _ = path.write_text("'*.attn.in_proj': 'read:*.norm1'")
        >>> read_roles(path)
        {'*.attn.in_proj': 'read:*.norm1'}
    """
    try:
        roles: Any = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Once)  # JSON is YAML, too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"cannot read the roles in {str(path)!r}: {reason}. Give a file of JSON or YAML") from error
    if not isinstance(roles, dict) or not roles:
        raise BadInput(
            f"{str(path)!r} is {'empty' if not roles else f'a {type(roles).__name__}'}; roles are a mapping. Write lines such as "
            "'*.attn.in_proj': 'read:*.norm1'"
        )
    for glob, role in roles.items():
        side, colon, norm = role.partition(":") if isinstance(role, str) else ("", "", "")
        if not isinstance(glob, str) or side not in _SIDES or (colon and not norm.strip()):
            raise BadInput(
                f"{str(path)!r} says {glob!r}: {role!r}; a role is 'read', 'read:NORM', 'write' or 'write:NORM'. Put name and role in "
                "quotes, and name the norm as the model does"
            )
    return roles


class _Once(yaml.SafeLoader):
    """Refuses a duplicate key, of which YAML would silently take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping of different keys."""
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)
