"""The library behind the stages; dvc.yaml says which stages depend on which of its folders."""
