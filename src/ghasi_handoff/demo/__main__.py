"""One of the two services in this process: ``python -m ghasi_handoff.demo consumer|booking PORT``, on loopback.

Its settings are those of the environment. It lives as long as its standard input is open: whoever has started it holds
the other end, and may be killed without a chance to say so.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from importlib import import_module
from typing import Final

import uvicorn
from typing_extensions import override

from ghasi_handoff.demo.service_process import NAMES, bound_socket
from ghasi_handoff.errors import HandoffError

# For requests that are being answered. Then the process ends, whoever may still wait.
_GRACE_SECONDS: Final = 3


class LineFormatter(logging.Formatter):
    """One event, one line: time, service, what, and the fields that the library gives its events."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, without a traceback that may follow."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        if record.name == "uvicorn.access" and isinstance(record.args, tuple) and len(record.args) == 5:
            _, method, path, _, status = record.args
            return f"{clock} {self._service:18} http {method} {path} {status}"
        fields = {
            name.removeprefix("handoff_"): value
            for name, value in vars(record).items()
            if name.startswith("handoff_") and name != "handoff_event"
        }
        # The handoff id keeps its name: by it both services' logs are joined.
        fields = {"handoff_id": fields.pop("id")} | fields if "id" in fields else fields
        said = record.message.split()
        words = [f"{name}={_short(value)}" for name, value in fields.items() if str(value) not in said]
        return " ".join([clock, f"{self._service:18}", record.message, *words])


def _short(value: object) -> str:
    """A redemption id by its beginning: 64 digits say no more to a reader."""
    text = str(value)
    return f"{text[:8]}..." if len(text) == 64 else text


def main(arguments: list[str]) -> int:
    """Run until the standard input ends, or a signal comes."""
    which, port = arguments
    try:
        app = import_module(f"ghasi_handoff.demo.{which}").create_app()
    except HandoffError as exc:
        print(f"error: {exc.code}: {exc}", file=sys.stderr)  # noqa: T201 - a process of its own has no other way
        return 2
    _log_to_standard_output(NAMES[which])
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=_GRACE_SECONDS)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_standard_input, args=(server,), daemon=True).start()
    # The parent holds the port without listening: nobody else gets it while a service is down.
    with bound_socket(int(port)) as listener:
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _end_with_standard_input(server: uvicorn.Server) -> None:
    while os.read(0, 1024):
        pass
    server.should_exit = True
    time.sleep(2 * _GRACE_SECONDS)
    os._exit(1)


def _log_to_standard_output(service: str) -> None:
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(LineFormatter(service))
    logging.basicConfig(handlers=[lines])
    for name in ("ghasi_handoff", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
