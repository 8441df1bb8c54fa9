"""Text in and out of the commands is UTF-8, whatever the locale says."""

from __future__ import annotations

import codecs
import io
import os
import sys

from adversaria.core.text import ESCAPED


def use_utf8() -> None:
    """Starts the process again in Python's UTF-8 mode if the locale has another encoding.

    The mode decides how arguments and the names of files are read, and can be chosen at the start alone (PEP 540).
    Without it a name read from one of our files, such as a class in a folder, could not be opened. Only a process
    whose own arguments are in ``sys.argv`` is started again, not one that calls a command, and only once.
    """
    given = sys.argv[1:]
    own = bool(sys.executable) and sys.orig_argv[len(sys.orig_argv) - len(given) :] == given
    if own and codecs.lookup(sys.getfilesystemencoding()).name != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def escape_on_screen() -> None:
    """Lets the screen show as an escape what its encoding, or any, does not have, such as a name that is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's is another, and takes everything
            stream.reconfigure(errors=ESCAPED)
