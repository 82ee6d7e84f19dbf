"""What a model sees: windows over scaled rows of features."""

import numpy as np
import torch
from torch import Tensor

from milepost_models.bar_files import Floats


def rows_tensor(scaled: Floats) -> Tensor:
    """Return scaled features as the model sees them; rows that no window reaches may lack values and get zeros."""
    return torch.tensor(np.nan_to_num(scaled), dtype=torch.float32)


def windows_at(features: Tensor, rows: Tensor, window: int) -> Tensor:
    """Return the windows that end at these rows (rows by window by features)."""
    return features[rows.unsqueeze(1) + torch.arange(1 - window, 1)]
