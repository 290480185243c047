"""The base of expected errors: their message is one clear line for the person who can act on it."""


class UserError(Exception):
    """An error that ends a command with its message, without a traceback."""
