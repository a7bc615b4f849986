"""What stands around a base as a PeftModel does: names, configuration, calls."""

from typing import Any

from torch import nn


class AroundBase(nn.Module):
    """A model in which a base lies under the names that it has in a PeftModel, so that code which walks one can walk the other.

    Args:
        model: The base.
        tuner: PEFT's own module around it, where there is one.
    """

    def __init__(self, model: nn.Module, tuner: nn.Module | None = None) -> None:
        super().__init__()
        self.base_model = Holder(model) if tuner is None else tuner

    def get_base_model(self) -> Any:
        """The bare model, in its current state."""
        return self.base_model.get_submodule("model")

    @property
    def config(self) -> Any:
        """The base model's configuration."""
        return self.get_base_model().config

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model in its current state."""
        return self.get_base_model()(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate in its current state."""
        return self.get_base_model().generate(*args, **kwargs)


class Holder(nn.Module):
    """Stands where PEFT's own module would."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
