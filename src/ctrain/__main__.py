"""The command ``ctrain``: exit codes, and errors as one line."""

from __future__ import annotations

import os
import sys
import warnings

from .command_line.options import parser
from .command_line.report import Interrupted, note


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : list of str, default=None
        Words after ``ctrain``; None for those of the process.

    Returns
    -------
    int
        0 if all went well; 1 if data or a model are refused, or a check of ``doctor`` fails; 130
        after Ctrl-C; 141 if nobody reads the output any more.

    Raises
    ------
    SystemExit
        With code 2 if the words are none that the command knows; with 0 after ``--help``.

    Examples
    --------
    >>> from ctrain.__main__ import main
    >>> main(["inspect", "no such model.npz"])
    1
    """
    options = parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: note(f"warning: {message}")
        try:
            code = options.run(options)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 141
        except (ValueError, TypeError, OSError, ImportError) as error:
            note(f"{options.command}: {error}")
            code = 1
        except Interrupted as stop:
            note(f"{options.command}: {stop}")
            code = 130
        except KeyboardInterrupt:
            note(f"{options.command}: interrupted")
            code = 130
    return code


if __name__ == "__main__":
    sys.exit(main())
