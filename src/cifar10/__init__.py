"""The library behind the stages. Each folder is what certain stages depend on, as dvc.yaml says."""
