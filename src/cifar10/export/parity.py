"""Compute what an exported network is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10.core.data import Statistics
from cifar10.network.model import Net


def torch_probabilities(network: Net, images: NDArray[np.uint8], statistics: Statistics) -> NDArray[np.float32]:
    """Map uint8 images (N, 32, 32, 3) to probabilities (N, 10): fp32, CPU, one thread, BatchNorm not folded.

    It ignores device, precision and threads of params.yaml, so that export does not depend on them.
    """
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in statistics)
    torch.set_num_threads(1)  # another number of threads gives other bits
    with torch.inference_mode():
        parts = [
            network((torch.from_numpy(np.array(batch)).permute(0, 3, 1, 2) / 255 - mean) / std).softmax(1)
            for batch in np.array_split(images, max(1, len(images) // 100))
        ]
    return torch.cat(parts).numpy()
