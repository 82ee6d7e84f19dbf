"""Errors of the contracts; each docstring is the message."""


class ContractError(Exception):
    """The message does not keep to the contract."""


class UnknownEventError(ContractError):
    """No event of this type is known; a newer Milepost may have written it. Upgrade this service."""

    def __init__(self, type_name: str) -> None:
        super().__init__(f"{type_name}: {self.__doc__}")


class UpcastLoopError(ContractError):
    """The registered upcasters lead in a circle."""

    def __init__(self, type_name: str) -> None:
        super().__init__(f"{type_name}: {self.__doc__}")


class SubjectError(ContractError):
    """The subject does not follow Milepost's grammar."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject!r}: {self.__doc__}")
