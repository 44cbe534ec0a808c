"""The library behind the stages; dvc.yaml says which stages depend on which of its folders."""

import os

# Nothing is sent: ONNX Runtime would report its use, albumentations ask for a newer version; both when imported.
os.environ.update(ORT_DISABLE_TELEMETRY="1", NO_ALBUMENTATIONS_UPDATE="1")
