"""Define the errors that the user can fix."""


class UserError(Exception):
    """Say what is wrong, where, the value that came, and what to do next. A stage prints it without a traceback."""

    exit_code = 1


class ParamsError(UserError):
    """Say what is wrong with params.yaml, one line per error."""

    exit_code = 2


class StoppedError(UserError):
    """Say that a signal stopped the work, which can be resumed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
