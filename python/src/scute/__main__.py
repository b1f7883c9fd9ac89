"""`python -m scute …` and the script `scute`: the command line itself, in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scute import _core


def main(words: Sequence[str] | None = None) -> int:
    """Runs `scute WORDS…` (without words: those of this process) and returns its exit code.

    0 success, 1 the work failed, 2 wrong usage, 3 done but not recorded; results on standard
    output, everything else on standard error. Ctrl-C ends the process with 130.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return _core.command_line(list(sys.argv[1:] if words is None else words))


if __name__ == "__main__":
    sys.exit(main())
