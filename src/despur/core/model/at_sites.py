"""Activation edits by place: which edit acts where, resolved when a model is given."""

from collections.abc import Mapping
from dataclasses import replace
from typing import final

from torch import Tensor, nn

from despur.core.errors import CannotAttach, ShapeMismatch
from despur.core.model.anatomy import Anatomy
from despur.core.model.attach import find_module
from despur.core.types import EVERYWHERE, Context, Edit, Site


@final
class AtSites(Edit):
    """One activation edit a site; the site `"*"` is every layer's output.

    Args:
        edits: By site.
        widths: Width of the stream that each is made for.
        strength: 0 leaves every tensor as it is.
    """

    point = "activation"

    def __init__(self, edits: Mapping[Site, Edit], widths: Mapping[Site, int], strength: float) -> None:
        super().__init__()
        if not edits:
            raise CannotAttach("an activation edit needs at least one site, and none was given. Give one a layer")
        self.edits, self.widths, self.strength = dict(edits), dict(widths), strength
        self.at: dict[str, Edit] = {}

    def bind(self, model: nn.Module) -> None:
        """Name the places in this model.

        Raises:
            CannotAttach: two edits at one place.
            ShapeMismatch: one that is made for another width.
            SiteNotFound: no such place.
        """
        places: list[Site] = []
        self.at = {}
        anatomy = Anatomy.of(model)
        for site, edit in self.edits.items():
            if self.widths[site] != anatomy.width:
                raise ShapeMismatch(
                    f"{site.module!r} is given width d={self.widths[site]}, and this model's stream has {anatomy.width}. Was it found "
                    "on another model?"
                )
            for place in _places(anatomy, site):
                find_module(model, place.module)
                if place.module in self.at:
                    raise CannotAttach(f"two edits act at {place.module!r}. Join them into one factor or vector")
                self.at[place.module] = edit
                places.append(place)
        self.sites = tuple(places)

    def forward(self, tensors: Mapping[str, Tensor], ctx: Context) -> Mapping[str, Tensor]:
        """Each known place's tensor through its edit."""
        if self.strength == 0:
            return tensors
        return {name: self.at[name]({name: x}, ctx)[name] if name in self.at else x for name, x in tensors.items()}


def _places(anatomy: Anatomy, site: Site) -> list[Site]:
    return [site] if site.module != EVERYWHERE else [replace(site, module=layer) for layer in anatomy.layers]
