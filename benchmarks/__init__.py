import stages  # noqa: F401  # puts src/ on sys.path
