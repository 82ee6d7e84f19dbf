"""The base of every published model: frozen, closed, and exact in its floats."""

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

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


Unit: TypeAlias = Annotated[int, Field(ge=0, description="Epoch or step (training), bar (backtest).")]
