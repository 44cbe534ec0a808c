"""Run one stage, as in `python -I stages train`. With -I, no variable of the user changes what Python imports."""

import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from stages.support.stop import end_with_dvc

end_with_dvc()  # before the imports of a stage, which take seconds
names = sorted(path.stem for path in Path(__file__).parent.glob("[!_.]*.py"))
if len(sys.argv) != 2 or sys.argv[1] not in names:
    sys.exit(f"error: name one stage: {', '.join(names)} (got {' '.join(sys.argv[1:]) or 'none'})")
runpy.run_module(f"stages.{sys.argv[1]}", run_name="__main__")
