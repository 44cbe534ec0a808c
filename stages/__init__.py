"""The stages, run as `python -m stages.train`: read, call the library, write."""

import sys
from pathlib import Path

# The library beside this folder, also in the temporary clones that DVC makes: an installed one is of another clone.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
