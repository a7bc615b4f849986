"""A model's modules under the names that they have in the base, with or without PEFT around them, and the shape of its maps."""

from torch import nn

_INSIDE = ("base_layer", "original_module", "token_adapter")  # where PEFT's wrappers keep the base's own module


def base_modules(model: nn.Module, *, shared: bool = False) -> dict[str, nn.Module]:
    """Modules under the names they have in the base model, whether PEFT has wrapped it or not.

    Args:
        model: A model, PEFT on top or not.
        shared: Give a module that stands at several places under all of their names, not once.
    """
    modules: dict[str, nn.Module] = {}
    inside = module_at(model, "base_model.model")
    left, seen = [("", model if inside is None else inside)], set[int]()
    while left:
        name, module = left.pop()
        if id(module) in seen and not shared:
            continue
        seen.add(id(module))
        modules[name] = module
        inner = [(f"{name}.{child}" if name else child, m) for child, m in unwrapped(module).named_children()]
        left.extend(reversed(inner))
    return modules


def module_at(model: nn.Module, name: str) -> nn.Module | None:
    """The module of that very name; None where there is none.

    Not `get_submodule`, for PEFT's wrappers answer to their base's names; nor `named_modules`, which lists all to find one.
    """
    found: nn.Module | None = model
    for part in name.split(".") if name else ():
        found = None if found is None else dict(found.named_children()).get(part)
    return found


def unwrapped(module: nn.Module) -> nn.Module:
    """The base's own module inside PEFT's wrapper."""
    children = dict(module.named_children())
    inside = next((children[part] for part in _INSIDE if part in children), None)
    return module if inside is None else unwrapped(inside)


def map_shape(module: nn.Module) -> tuple[int, int] | None:
    """(d_out, d_in) of a linear map or embedding; None for anything else."""
    module = unwrapped(module)
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features  # not the weight's: a quantised one is packed
    if isinstance(module, nn.Embedding):
        return module.embedding_dim, module.num_embeddings
    if type(module).__name__ == "Conv1D":  # GPT-2's transposed linear map
        d_in, d_out = module.get_parameter("weight").shape
        return d_out, d_in
    return None
