"""The one way out of every Firebreak process."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

OK = 0
INTERNAL_ERROR = 1
USAGE = 2
NOT_CONTAINED = 3
REFUSED = 4
REJECTED = 5
INTERRUPTED = 130
"""The shell's convention for a command ended by SIGINT."""


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Run ``main``, flush everything, and end the process without the interpreter's own shut-down.

    Native threads of the Temporal SDK can crash an interpreter that is being finalised, with exit code
    134 or 139 after the work has succeeded (https://github.com/temporalio/sdk-python/issues/300).
    """
    try:
        code = main()
    except BaseException:  # noqa: BLE001 - nothing may reach the interpreter's own way out
        traceback.print_exc()
        code = INTERNAL_ERROR
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the shell closed it: ``>&-``
        try:
            stream.flush()
        except OSError:  # the reader has seen enough, as with ``| head``, or the disk is full
            code = code or INTERNAL_ERROR
    os._exit(code)
