"""The stages, run as `python -I stages train`: read, call the library, write."""

import sys
from importlib.util import find_spec
from pathlib import Path

# The library beside this folder, also in the temporary clones that DVC makes: an installed one is of another clone.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from cifar10.core.environment import isolate

isolate()
if not find_spec("torch"):  # a stage's own imports would fail with a traceback
    sys.exit(f"error: {sys.executable} has no PyTorch; type: make setup, then: . .venv/bin/activate")
