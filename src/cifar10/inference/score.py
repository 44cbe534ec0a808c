"""Loss and accuracy of logits."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


class Score(NamedTuple):
    loss: float  # mean cross-entropy, nats
    accuracy: float  # 0...1


def score(logits: Tensor, labels: NDArray[np.uint8]) -> Score:
    """Mean cross-entropy and accuracy of logits (N, 10) against labels (N,)."""
    target = torch.from_numpy(labels.astype(np.int64))
    return Score(F.cross_entropy(logits, target).item(), (logits.argmax(1) == target).double().mean().item())
