"""What people may do, and who they are."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """Each may do what the ones before it may."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As people write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: object) -> object:
        """Return the role that a word names; anything else is for validation to refuse."""
        return next((role for role in cls if role.word == word or role is word), word)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str | None
    """None where no token is asked for: anyone on this machine."""
    role: Role

    def source(self, entrance: str) -> str:
        """Return what events say of who asked: the entrance, and the name if there is one."""
        return entrance if self.name is None else f"{entrance}/{self.name}"


ANYONE = Person(None, Role.ADMIN)
"""On loopback without tokens."""
