"""One way to log: a line on standard error with the time, a letter for the level and the module, like klog."""

import logging
import sys
import time

_LETTERS = {"DEBUG": "D", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        letter = _LETTERS.get(record.levelname, "I")
        text = f"{letter}{clock}.{int(record.msecs):03d} {record.process} {record.name}] {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def setup(verbosity: int = 0) -> None:
    """Send everything at INFO and above (DEBUG when ``verbosity`` is 4 or more, as with klog's ``-v``) to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbosity >= 4 else logging.INFO)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn.error", "uvicorn.access", "docker", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
