"""Whose things a route is about: its client's own, and for the role admin anybody's."""

from typing import Annotated

from fastapi import Query

from transcribed.errors import AccessDenied
from transcribed.principal import NOBODY, Principal, Role

ABOUT_OWNER = (
    "Whose, for keys of the role admin alone; empty is what was made without keys. A list shows them "
    "everybody's where it is left out, all else their own."
)

Asked = Annotated[str | None, Query(alias="owner", description=ABOUT_OWNER)]
"""The parameter of a route by which an admin names an owner."""


def owner_of_one(who: Principal, asked: str | None) -> str:
    """Who owns the one thing that is meant. Raises AccessDenied for who may not ask for another's."""
    if asked is None or asked == who.owner:
        return who.owner
    if not who.role.includes(Role.ADMIN):
        raise AccessDenied(
            "What belongs to others is for keys of the role admin. Leave the parameter owner out."
        )
    return asked


def owner_of_list(who: Principal, asked: str | None) -> str | None:
    """Whose things a list shows; None for everybody's, which is for admins. Raises AccessDenied."""
    if asked is None and who.role.includes(Role.ADMIN):
        return None
    return owner_of_one(who, asked)


def is_told(who: Principal, owner: str) -> bool:
    """Whether a list says whose a thing is: wherever that could be another's than its reader's."""
    return who.key is not None or owner != NOBODY
