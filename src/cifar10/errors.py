"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """What went wrong, where, with which value, and what to do next. A stage prints it without a traceback."""

    exit_code = 1


class ParamsError(UserError):
    """params.yaml is not valid: one line for each thing wrong in it."""

    exit_code = 2
