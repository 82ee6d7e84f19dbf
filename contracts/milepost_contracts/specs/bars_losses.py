"""What the task ``bars`` makes small: a union of small types, told apart by ``name``."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from milepost_contracts.model import ContractModel
from milepost_contracts.specs.named import told_by_name

ClassWeight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
ClassWeights: TypeAlias = (
    Literal["balanced"] | Annotated[tuple[ClassWeight, ...], Field(min_length=2, max_length=3)]
)
"""In the order of the label's classes; balanced: each class counts as much as the others in the training part."""


class CrossEntropyLoss(ContractModel):
    """Cross entropy of the classes."""

    name: Literal["cross-entropy"] = "cross-entropy"
    class_weights: ClassWeights | None = None


class FocalLoss(ContractModel):
    """Cross entropy times (1 - p)^gamma, p the probability given to the right class: easy samples count less.

    Source: T.-Y. Lin and others, Focal Loss for Dense Object Detection, 2017, equation 4.
    """

    name: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 2.0
    class_weights: ClassWeights | None = None


class SquaredErrorLoss(ContractModel):
    """Mean of squared errors, in deviations of the training part's returns."""

    name: Literal["mean-squared-error"] = "mean-squared-error"


class AbsoluteErrorLoss(ContractModel):
    """Mean of absolute errors, in deviations of the training part's returns."""

    name: Literal["mean-absolute-error"] = "mean-absolute-error"


class HuberLoss(ContractModel):
    """Squared for errors up to ``delta``, linear beyond."""

    name: Literal["huber"] = "huber"
    delta: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = 1.0
    """In deviations of the training part's returns."""


REGRESSION_LOSSES = frozenset({"mean-squared-error", "mean-absolute-error", "huber"})

_Losses: TypeAlias = CrossEntropyLoss | FocalLoss | SquaredErrorLoss | AbsoluteErrorLoss | HuberLoss
LossSpec: TypeAlias = Annotated[_Losses, Field(discriminator="name"), told_by_name(_Losses)]
