"""Unions of small types that a spec tells apart by ``name``."""

from typing import Any, cast, get_args

from pydantic import BaseModel, BeforeValidator


def told_by_name(union: Any) -> BeforeValidator:
    """Have what cannot be told by its name refused with all names that there are; after the discriminator.

    pydantic knows the names too, but leaves them out where no name was given.
    """
    members: tuple[type[BaseModel], ...] = get_args(union)
    names = [str(member.model_fields["name"].default) for member in members]

    def check(value: Any) -> Any:
        if not isinstance(value, members) and not (isinstance(value, dict) and "name" in value):
            raise ValueError(f'give an object such as {{"name": "{names[0]}"}}; names: {", ".join(names)}')
        return cast("Any", value)

    return BeforeValidator(check)
