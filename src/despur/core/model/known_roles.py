"""Roles of a model's maps: stated by the user, else by the table of families, else by watching the model compute."""

from typing import TYPE_CHECKING

from despur.core.errors import SiteNotFound, nearest
from despur.core.model.roles import STATE, Role, normed_stream, stated_roles, tabled_roles, untold
from despur.core.model.structure import found_structure

if TYPE_CHECKING:
    from despur.core.model.anatomy import Anatomy


def known_roles(anatomy: "Anatomy") -> tuple[dict[str, Role], frozenset[str]]:
    """Roles of maps that touch the stream, and the maps that are known to touch it on neither side.

    Raises:
        SiteNotFound: roles cannot be told and none are stated, or a norm is named that is not there.
    """
    roles: dict[str, Role] = {}
    inner: frozenset[str] = frozenset()
    try:
        roles, inner = _unstated(anatomy)
    except SiteNotFound:
        if not anatomy.stated:
            raise
    if anatomy.stated:
        roles |= stated_roles(anatomy.modules, anatomy.stated, anatomy.known_path)
    for role in roles.values():
        if role.norm is not None and role.norm not in anatomy.modules:
            raise SiteNotFound(
                f"no norm {role.norm!r} for map {role.module!r}{nearest(role.norm, anatomy.modules)}. Correct it"
            )
    return roles, inner - set(roles)


def _unstated(anatomy: "Anatomy") -> tuple[dict[str, Role], frozenset[str]]:
    """Roles by the table, else by watching the model."""
    if anatomy.is_tabled and not normed_stream(anatomy.config):
        return tabled_roles(anatomy.kind, anatomy.config, anatomy.path, anatomy.modules), frozenset()
    try:
        found = found_structure(anatomy.model, anatomy.config, anatomy.layers, anatomy.width)
    except SiteNotFound as error:
        raise SiteNotFound(f"{untold(anatomy.kind, anatomy.config)}: {error}. {STATE}") from error
    return dict(found.roles), found.inner
