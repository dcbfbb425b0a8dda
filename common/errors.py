"""The one kind of error that users see."""

from __future__ import annotations


class UserError(Exception):
    """Something could not be done, and the reason is outside the program: a file, a value, a machine.

    The message is one line and names what, where, what was expected, what was found and what to do.
    Scripts print it to stderr without a traceback and leave with `status`.

    Attributes:
        status: exit status of the script; 1 it could not be done, 2 wrong use.
    """

    status = 1


class UsageError(UserError):
    """The command line asks for something that makes no sense."""

    status = 2


def one_line(text: object, limit: int = 300) -> str:
    """Text of foreign origin (a file name, a library's message) as one printable line of at most `limit` characters.

    Control characters and line breaks become visible escapes: a hostile file name can neither break a line of output in
    two nor move the terminal's cursor.
    """
    visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text).strip())
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"
