"""The library behind the stages: arrays, models and parameters in, results out. It knows no file names."""
