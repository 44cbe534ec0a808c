"""The stages, run as `python -m stages.train`: read, call the library, write.

The library is the one beside this folder, never an installed copy: DVC also runs the stages in temporary clones.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
