"""Define the stages, which read, call the library and write; run one as `python -I stages train`."""

import sys
from importlib.util import find_spec
from pathlib import Path

# Import the library beside this folder. In the temporary clones that DVC makes, the installed one is another clone's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from cifar10.core.environment import isolate

isolate()
if not find_spec("torch"):  # otherwise a stage's imports would fail with a traceback
    sys.exit(f"error: {sys.executable} has no PyTorch; type: make setup, then: . .venv/bin/activate")
