"""Runs the program and a list of checks for the tests of pages."""

import os
import subprocess


def runner(program):
    """A function that runs the program with its arguments, which must succeed."""
    path = os.path.abspath(program)

    def run(*arguments):
        ended = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True,
                               timeout=120, check=False)
        assert ended.returncode == 0, (arguments, ended.stderr)
    return run


def run_checks(page, checks):
    """Calls each (check, arguments …) with the page; returns the names of those that failed."""
    failed = []
    for check, *more in checks:
        try:
            check(page, *more)
            print(f"passed  {check.__name__}")
        except (AssertionError, RuntimeError) as error:
            failed.append(check.__name__)
            print(f"FAILED  {check.__name__}: {error}")
    return failed
