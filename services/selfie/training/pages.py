"""Tokens of pages: the last path of a page, in a form that nobody is tempted to write by hand."""

import base64
import binascii

from selfie.errors import InvalidInput


def token_of(path: str) -> str:
    """The token of the page after ``path``."""
    return base64.urlsafe_b64encode(path.encode()).decode()


def path_of(token: str) -> str:
    """The path that a page begins after; empty for the first page. `InvalidInput` for what is no token."""
    try:
        path = base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError):
        path = ""
    # The decoder passes over characters that it doesn't know.
    if token_of(path) != token:
        raise InvalidInput("page_token", f"{token!r} is no token", "use next_page_token of the answer")
    return path
