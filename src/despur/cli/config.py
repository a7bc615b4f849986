"""`--config FILE`: a command's options from YAML; what stands on the command line wins."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

_NOT_HERE = ("config", "help", "json", "resume", "overwrite")


def read_config(ctx: Any, name: str | Path | None) -> str | Path | None:
    """Make a file's values the defaults of the command.

    Raises:
        BadInput: no such file, no YAML mapping, an unknown key, or a value that its option does not take.
    """
    if name is None or ctx.resilient_parsing:
        return name
    from despur.core.errors import BadInput, nearest  # brings torch, which a page of help can do without

    path = Path(name)
    try:
        said: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read --config {str(path)!r}: {getattr(error, 'strerror', None) or error}. Give a YAML file"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"--config {str(path)!r} is no YAML: {' '.join(str(error).split())[:200]}. Mend it") from error
    if not isinstance(said, dict):
        raise BadInput(
            f"--config {str(path)!r} holds {type(said).__name__}, where 'key: value' lines are needed. Mend it"
        )
    options = {_key(p): p for p in ctx.command.params}
    known = [k for k in options if k not in _NOT_HERE]
    found: dict[str, Any] = {}
    for key, value in said.items():
        if key not in known:
            raise BadInput(
                f"--config {str(path)!r} has the key {key!r}, which is no option of `despur {ctx.command.name}`"
                f"{nearest(str(key), known)}. There are: {', '.join(known)}"
            )
        if value is not None:  # nothing said: the option's own default
            found[options[key].name or key] = _value(key, value, options[key], ctx, path)
    ctx.default_map = {**(ctx.default_map or {}), **found}
    return name


def _key(parameter: Any) -> str:
    long = next((o for o in parameter.opts if o.startswith("--")), parameter.name)
    return long.removeprefix("--").replace("-", "_")


def _value(key: str, value: Any, option: Any, ctx: Any, path: Path) -> Any:
    from despur.core.errors import BadInput

    if isinstance(value, list | dict):
        raise BadInput(f"--config {str(path)!r} has {key} = {value!r}, where one value is needed. Mend it")
    try:
        return option.process_value(ctx, str(value))  # as text, so that 1.5 steps and `yes` rows are refused
    except typer.BadParameter as error:
        raise BadInput(f"--config {str(path)!r} has {key} = {value!r}: {error.message.rstrip('.')}. Mend it") from error


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        callback=read_config,
        is_eager=True,
        help="YAML with the long option names as keys; options here win.",
    ),
]
