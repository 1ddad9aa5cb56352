"""The owner whose items a route reads or changes: the client's own, or any owner for the role admin."""

from typing import Annotated

from fastapi import Query

from transcribed.errors import AccessDenied
from transcribed.principal import NOBODY, Principal, Role

ABOUT_OWNER = (
    "The owner, for keys of the role admin only; empty for what was made without keys. Without it, lists "
    "contain the items of all owners, and other routes use the key's own owner."
)

OwnerParameter = Annotated[str | None, Query(alias="owner", description=ABOUT_OWNER)]
"""The query parameter with which an admin names an owner."""


def owner_of_item(principal: Principal, asked: str | None) -> str:
    """The owner of the item that a request names. Raises AccessDenied for another owner's item."""
    if asked is None or asked == principal.owner:
        return principal.owner
    if not principal.role.includes(Role.ADMIN):
        raise AccessDenied(
            "Only keys of the role admin can access other owners. Leave the parameter owner out."
        )
    return asked


def owner_of_list(principal: Principal, asked: str | None) -> str | None:
    """The owner whose items a list contains; None for all owners, for admins. Raises AccessDenied."""
    if asked is None and principal.role.includes(Role.ADMIN):
        return None
    return owner_of_item(principal, asked)


def shows_owner(principal: Principal, owner: str) -> bool:
    """Whether a list names the owner of an item: always, unless no keys have ever been used."""
    return principal.key is not None or owner != NOBODY
