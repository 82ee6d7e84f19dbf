"""The base of every published model: frozen, closed, and exact in its floats."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


class ContractModel(BaseModel):
    """Frozen and closed: an unknown field is a mistake of the sender and is named as one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=True,
        # JSON has no word for these; strings survive the round trip, pydantic's default (null) does not.
        ser_json_inf_nan="strings",
        use_attribute_docstrings=True,
    )


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("it is true or false, not a number")  # noqa: TRY004 - pydantic names the field
    return value


NO_FLAG = BeforeValidator(_no_flag)
"""For the numbers of commands: pydantic would take ``keep_newest: false`` for 0, which keeps nothing."""
Unit: TypeAlias = Annotated[int, Field(ge=0, description="Epoch or step (training), bar (backtest).")]
