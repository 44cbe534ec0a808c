"""Hold the library behind the stages; dvc.yaml says which stage depends on which of its folders."""

import os

# Without these, ONNX Runtime could report its use, and albumentations would ask for a newer version when imported.
os.environ.update(ORT_DISABLE_TELEMETRY="1", NO_ALBUMENTATIONS_UPDATE="1")
