"""What identifies a training: everything that its bits depend on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from cifar10.disk import file_digest
from cifar10.params import EVALUATION, MACHINE, Params
from stages.files import DIGESTS


def training_identity(params: Params, machine: Mapping[str, object]) -> str:
    """Digest of the parameters, of what `machine` is and what it made of them, of the code and of the data."""
    files = [*Path("src/cifar10").glob("*.py"), *Path("stages").glob("*.py"), Path("metrics/dataset.json")]
    digests = {str(path): file_digest(path) for path in sorted([*files, Path("data/train", DIGESTS)])}
    # `machine` tells what came of device, precision and threads; the number of workers changes no bit.
    settings = params.model_dump(exclude=EVALUATION | MACHINE - {"augment_on"})
    return hashlib.sha256(json.dumps([settings, machine, digests]).encode()).hexdigest()
