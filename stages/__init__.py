"""The stages, run as `python -m stages.train`: read, call the library, write.

The library is the one beside this folder, never an installed copy: DVC also runs the stages in temporary clones.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if sys.argv[0] == "-m":  # a stage, at its very beginning: importing torch takes seconds, in which DVC may die
    from stages.lifetime import end_with_dvc

    end_with_dvc()
