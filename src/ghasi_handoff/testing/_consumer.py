"""consume call, over HTTP -> the next answer of a list. `FakeConsumer`: bff-consumer in tests of a booking side."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self, cast

from typing_extensions import override

from ghasi_handoff._limits import MAX_LATENESS_SECONDS
from ghasi_handoff.errors import ConfigurationError, HandoffError, HandoffLogError
from ghasi_handoff.handshake._consume import answer_consume
from ghasi_handoff.handshake._consume_answers import ConsumeAnswer, ConsumeRequest
from ghasi_handoff.handshake._consume_call import check_call, sign_call
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffRecord, HandoffState
from ghasi_handoff.stores._maintained import HandoffLog

ANSWERS: Final = (200, 401, 404, 409, 410, 503, "revoked_handoff", "expired", "slow", "timeout", "lost", "nonsense")
SLOW_SECONDS: Final = 2.0  # a ConsumeClient waits for 0.7


class FakeConsumer:
    """bff-consumer, for the tests of a booking side: a real HTTP server on loopback that answers as it is told.

    It runs from the beginning of its ``with`` block to the end. Each consume call takes the next answer; after the last
    one, all are confirmed. The bodies are those of the library. A `ConsumeClient` tries once more after 503, after
    nonsense and where no answer came, so one redemption may take two answers.

    | answer | is |
    |---|---|
    | `200` | confirmed |
    | `409` | redeemed by another browser |
    | `410`, `"revoked_handoff"` | revoked |
    | `"expired"` | 410, redeemed too late |
    | `404`, `401`, `503` | unknown handoff, call not authentic, log not available |
    | `"slow"` | confirmed, but after 2 seconds |
    | `"timeout"` | nothing, while the connection stays open |
    | `"lost"` | nothing: the connection ends after the call was taken in |
    | `"nonsense"` | 200 with a page of HTML, as of a proxy between the services |

    A call whose form is not that of the library, or that was sent to another path, gets its 401 or 404 and takes no
    answer. Events of bff-consumer are logged, beside those of the booking side.

    Args:
        answers: What the first calls get.
        keys: The ring, or a callable that returns it: then a call that is not signed with it, or not within the last
            minute, gets a 401, too. None: signatures are not looked at.
        clock: Returns Unix seconds; used with `keys` only.

    Raises:
        ConfigurationError: An answer is none of these, or `keys` is no ring.

    >>> from ghasi_handoff.handshake import ConsumeClient
    >>> from ghasi_handoff.testing import handoff_id_at, redemption_id_of
    >>> with FakeConsumer([503]) as consumer, ConsumeClient(consumer.url, keys=KeyRing.generate()) as client:
    ...     client.consume(
    ...         handoff_id_at(1795426200),
    ...         issuer="bff-consumer",
    ...         audience="bff-tenant-booking",
    ...         redemption_id=redemption_id_of(1),
    ...         consumed_at=1795426230,
    ...     )
    >>> [call.consumed_at for call in consumer.calls]
    [1795426230, 1795426230]
    """

    def __init__(
        self,
        answers: Iterable[int | str] = (),
        *,
        keys: KeyRing | Callable[[], KeyRing] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # A text is a series of texts, too: FakeConsumer("slow") would answer "s".
        if isinstance(answers, str) or not isinstance(answers, Iterable):
            raise ConfigurationError(f"answers must be a list, such as [503, 200], not {answers!r}")
        self._answers = deque(answers)
        for answer in self._answers:
            if not isinstance(answer, (int, str)) or answer not in ANSWERS:
                raise ConfigurationError(f"{answer!r} is no answer; there are {', '.join(map(repr, ANSWERS))}")
        self._keys: KeyRing | Callable[[], KeyRing] | None = None if keys is None else ring_source(keys)
        self._clock = clock
        # Signs anew what is not to be checked, so that the library's own code answers it. At every time since 1970.
        self._own_ring = KeyRing.generate(now=datetime.fromtimestamp(0, UTC))
        self._calls: list[ConsumeCall] = []
        self._lock = threading.Lock()
        self._running: _Server | None = None

    @property
    def url(self) -> str:
        """The base URL for a `ConsumeClient`.

        Raises:
            ConfigurationError: The server is not running.
        """
        if self._running is None:
            raise ConfigurationError("the server runs, and has a URL, within its with block only")
        return f"http://127.0.0.1:{self._running.server_port}"

    @property
    def calls(self) -> list[ConsumeCall]:
        """Every call that took an answer, in their order. They stay after the block."""
        with self._lock:
            return list(self._calls)

    def __enter__(self) -> Self:
        if self._running is not None:
            raise ConfigurationError("the server is running already")
        self._running = _Server(self._answer)
        return self

    def __exit__(self, *exc_info: object) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _answer(self, request: ConsumeRequest) -> tuple[ConsumeAnswer, int | str | None]:
        """The answer of the library's own code, over a log that says what is wanted; and what was wanted, if asked."""
        keys, clock = self._keys, self._clock
        if keys is None:
            call = _read(request.body)
            if call is not None:
                sent_at, (authorization, _) = call.sent_at, sign_call(call, self._own_ring)
                request, clock = replace(request, authorization=(authorization,)), lambda: sent_at
            keys = self._own_ring
        obedient = _ObedientLog(self._take)
        log = cast("HandoffLog", obedient)  # nothing but its `consume` is called
        answer = answer_consume(request, log=log, keys=keys, clock=clock)
        if obedient.wanted == 401:
            answer = answer_consume(replace(request, authorization=()), log=log, keys=keys, clock=clock)
        return answer, obedient.wanted

    def _take(self, call: ConsumeCall) -> int | str:
        with self._lock:
            self._calls.append(call)
            return self._answers.popleft() if self._answers else 200


class _ObedientLog:
    """A handoff log whose row is such that the answer is the wanted one."""

    def __init__(self, take: Callable[[ConsumeCall], int | str]) -> None:
        self._take = take
        self.wanted: int | str | None = None

    def record(self, record: HandoffRecord) -> None:
        """Nothing is issued here."""

    def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
        self.wanted = self._take(call)
        confirmed = HandoffRecord(
            handoff_id=call.handoff_id,
            issuer=call.issuer,
            audience=call.audience,
            tenant="unknown",  # a call does not say
            kid="unknown",
            issued_at=call.consumed_at,
            expires_at=call.consumed_at,
            state=HandoffState.CONSUMED,
            redemption_id=call.redemption_id,
            consumed_at=call.consumed_at,
            recorded_at=recorded_at,
        )
        match self.wanted:
            case 404:
                return None
            case 409:
                first = "1" if call.redemption_id[0] == "0" else "0"
                return replace(confirmed, redemption_id=first + call.redemption_id[1:])
            case 410 | "revoked_handoff":
                return replace(confirmed, state=HandoffState.REVOKED)
            case "expired":
                return replace(confirmed, state=HandoffState.ISSUED, expires_at=call.consumed_at - MAX_LATENESS_SECONDS)
            case 503:
                raise HandoffLogError("the test wants no answer")
            case _:
                return confirmed


class _Server(ThreadingHTTPServer):
    """A server in a thread of its own, from its making until it is stopped."""

    daemon_threads = True

    def __init__(self, answer_to: Callable[[ConsumeRequest], tuple[ConsumeAnswer, int | str | None]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer_to = answer_to
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a caller that went away is no error
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, and the second would wait for 40 ms

    def do_POST(self) -> None:
        server = cast("_Server", self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path_id = self.path.removeprefix("/internal/handoff/").removesuffix("/consume")
        whole = self.path == f"/internal/handoff/{path_id}/consume"
        authorization = self.headers.get_all("Authorization", [])
        request = ConsumeRequest(path_id=path_id if whole else "", authorization=authorization, body=body)
        answer, wanted = server.answer_to(request)
        if wanted in ("lost", "timeout"):
            self.close_connection = True
            if wanted == "timeout":
                server.stopping.wait()
            return
        if wanted == "slow":
            server.stopping.wait(SLOW_SECONDS)
        if wanted == "nonsense":
            self._send(200, {"Content-Type": "text/html"}, b"<h1>It works!</h1>")
        else:
            self._send(answer.status, answer.headers, answer.body)

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:  # the library logs each call
        return


def _read(body: bytes) -> ConsumeCall | None:
    """The call of a body, whoever signed it. Its form is checked when the library answers."""
    try:
        call = ConsumeCall(**json.loads(body))
        check_call(call)
    except (ValueError, TypeError, RecursionError, HandoffError):
        return None
    return call
