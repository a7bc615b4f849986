"""`--config FILE` and `--resume FOLDER`: a command's options from YAML; options on the command line win."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
import yaml

from despur.core.errors import BadInput, nearest
from despur.flows.option import Parameter
from despur.flows.record import at_home

_NOT_HERE = ("overwrite",)  # on the command line alone, each time


def read_config(command: str, parameters: Mapping[str, Parameter]) -> Callable[..., Any]:
    """Make the callback of `--config`: a file's values become the defaults of the command."""

    def read(ctx: Any, name: str | None) -> str | None:
        if name is not None and not ctx.resilient_parsing:
            _take(ctx, Path(name), command, parameters)
        return name

    return read


def read_resume(command: str, parameters: Mapping[str, Parameter]) -> Callable[..., Any]:
    """Make the callback of `--resume`: the arguments of a folder's run become the defaults, the folder among them."""

    def read(ctx: Any, folder: str | None) -> str | None:
        if folder is None or ctx.resilient_parsing:
            return folder
        config = Path(folder) / "config.yaml"
        if not config.is_file():
            raise BadInput(
                f"--resume {folder!r}: no config.yaml there, so no run to go on with. Start one: "
                f"despur {command} BASE DATA -o {folder}"
            )
        _take(ctx, config, command, parameters)
        ctx.default_map = {**(ctx.default_map or {}), "out": folder}
        return folder

    return read


def check_resumed(typed: Mapping[str, Any]) -> None:
    """Refuse `--resume` together with options that name another run.

    Raises:
        BadInput: another folder, or a config.
    """
    folder = typed.get("resume")
    if folder is not None and (typed["config"] is not None or Path(typed["out"]) != Path(folder)):
        raise BadInput(
            f"--resume {folder!r} goes on in its own folder, and --config or -o names another. Leave them out, or repeat "
            f"the run elsewhere: --config {Path(folder) / 'config.yaml'} -o NEW_FOLDER"
        )


def _take(ctx: Any, path: Path, command: str, parameters: Mapping[str, Parameter]) -> None:
    known = [name for name in parameters if name not in _NOT_HERE]
    options = {str(p.name): p for p in ctx.command.params}
    defaults: dict[str, Any] = {}
    for name, value in _read(path).items():
        key = f"{name}_" if f"{name}_" in parameters else name  # from_, whose long name is --from
        if key not in known:
            raise BadInput(
                f"--config {str(path)!r} has the key {key!r}, which is no option of `despur {command}`"
                f"{nearest(str(key), known)}. There are: {', '.join(known)}"
            )
        if value is not None:  # empty: the option's own default
            defaults[key] = _value(ctx, value, parameters[key], options[key], path)
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _read(path: Path) -> dict[Any, Any]:
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read --config {str(path)!r}: {getattr(error, 'strerror', None) or error}. Give a YAML file"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(
            f"--config {str(path)!r} is not YAML: {' '.join(str(error).split())[:200]}. Correct it"
        ) from error
    if not isinstance(values, dict):
        raise BadInput(
            f"--config {str(path)!r} is a {type(values).__name__}, where 'key: value' lines are needed. Correct it"
        )
    return values


def _value(ctx: Any, value: Any, parameter: Parameter, option: Any, path: Path) -> Any:
    if isinstance(value, list) and parameter.option.rest:
        return [str(v) for v in value]
    if isinstance(value, list) and parameter.kind is list:
        value = ",".join(map(str, value))
    if isinstance(value, dict) and parameter.option.read is not None:
        value = ",".join(f"{k}={v}" for k, v in value.items())
    value = at_home(value)
    if isinstance(value, list | dict):
        raise BadInput(
            f"--config {str(path)!r} has {parameter.name} = {value!r}, where one value is needed. Correct it"
        )
    try:
        return option.process_value(ctx, str(value))  # as text, so that 1.5 steps and `yes` rows are refused
    except typer.BadParameter as error:
        raise BadInput(
            f"--config {str(path)!r} has {parameter.name} = {value!r}: {error.message.rstrip('.')}. Correct it"
        ) from error
