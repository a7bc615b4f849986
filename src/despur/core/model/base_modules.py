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
    seen: set[int] = set()

    def visit(name: str, module: nn.Module) -> None:
        if id(module) in seen and not shared:
            return
        seen.add(id(module))
        modules[name] = module
        for child, inner in unwrapped(module).named_children():
            visit(f"{name}.{child}" if name else child, inner)

    visit("", dict(model.named_modules()).get("base_model.model", model))
    return modules


def unwrapped(module: nn.Module) -> nn.Module:
    """The base's own module inside PEFT's wrapper."""
    inside = next((getattr(module, part) for part in _INSIDE if part in dict(module.named_children())), None)
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
