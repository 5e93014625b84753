"""A whole run, every channel that leaves a process, and no secret in any of them. First each channel must find a planted leak."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import secrets
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ghasi_handoff import HandoffError, KeyRing, KeyRingError, Minter, Redeemer, SigningKey, Verifier, keyfile
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.handshake import Handshake, LastUse, OutboxWorker, SQLiteHandoffLog
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, WatchedKeyRing, _seal
from ghasi_handoff.rotation import Fingerprint, compare, fingerprint, state_changes, waits
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .cli.command_runner import STAY_OPTIONS, CommandRunner
from .handshake.services import GUEST, STRANGER, TENANT, Clock, consumer, issue, patient_client
from .minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, at, key, secret

HERE: Final = str(Path(__file__).parent)


# What is looked for


def spellings(data: bytes) -> set[bytes]:
    """How bytes may show: raw, as Python escapes them, hex, base64 in both alphabets and at each place in a longer text."""
    found = {data, repr(data)[2:-1].encode(), data.hex().encode(), data.hex().upper().encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        # Without the characters that the neighbours share.
        inner = encoded[(0, 2, 3)[before] : len(encoded) - (4 if (before + len(data)) % 3 else 0)]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def needles(data: bytes) -> set[bytes]:
    """A secret, whole or either half of it, in every spelling."""
    middle = len(data) // 2
    return spellings(data) | spellings(data[:middle]) | spellings(data[middle:])


def shown(content: bytes, known: list[bytes]) -> list[str]:
    """Which of the secrets show in the content, by their number."""
    return [f"secret {number}" for number, data in enumerate(known) if any(one in content for one in needles(data))]


# Where it is looked for. A channel more is a class more in CHANNELS.


class Channel(Protocol):
    """A way out of the process."""

    def plant(self, leak: object) -> None:
        """Leak it on purpose, as a careless line of code would."""

    def content(self) -> bytes:
        """All that has gone out so far."""
        ...


class Logs(logging.Handler):
    """What any logger gets, with the fields that structured logs show, and its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [self.format(record), repr(record.__dict__)]

    def plant(self, leak: object) -> None:
        logging.getLogger("ghasi_handoff").warning("careless", extra={"handoff_field": leak})

    def content(self) -> bytes:
        return "\n".join(self.lines).encode("utf-8", "backslashreplace")


@dataclass
class Objects:
    """Every object of the run, as `repr`, `str` and a format show it."""

    kept: list[object] = field(default_factory=list)

    def plant(self, leak: object) -> None:
        self.kept.append(Careless(leak))

    def content(self) -> bytes:
        return "\n".join(f"{one!r} {one!s} {one}" for one in self.kept).encode("utf-8", "backslashreplace")


@dataclass
class Careless:
    """A class whose repr shows what it holds."""

    value: object


@dataclass
class Pickles(Objects):
    """Every object of the run that can be pickled, in each protocol."""

    def content(self) -> bytes:
        pickled = []
        for one in self.kept:
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with suppress(Exception):
                    pickled.append(pickle.dumps(one, protocol))
        return b"\n".join(pickled)


@dataclass
class Errors:
    """Every error of the run with its causes: text, repr, arguments and attributes."""

    kept: list[BaseException] = field(default_factory=list)

    def plant(self, leak: object) -> None:
        self.kept.append(KeyRingError(f"careless: {leak!r}"))

    def chain(self) -> Iterator[BaseException]:
        waiting = list(self.kept)
        seen: set[int] = set()
        while waiting:
            error = waiting.pop()
            if id(error) not in seen:
                seen.add(id(error))
                yield error
                waiting += [one for one in (error.__cause__, error.__context__) if one is not None]

    def content(self) -> bytes:
        said = [f"{one!r} {one!s} {one.args!r} {vars(one)!r}" for one in self.chain()]
        said += ["".join(traceback.format_exception(one)) for one in self.kept]
        return "\n".join(said).encode("utf-8", "backslashreplace")


@dataclass
class Tracebacks(Errors):
    """The local variables of every frame of the library in those errors, as error reporters collect them."""

    def plant(self, leak: object) -> None:
        def careless(forgotten: object) -> None:
            assert forgotten
            raise KeyRingError

        try:
            scope: dict[str, Any] = {}
            # Compiled under another name: frames of the tests are left out, for they know the secrets.
            exec(compile("def careless(f, forgotten): f(forgotten)", "library.py", "exec"), scope)
            scope["careless"](careless, leak)
        except KeyRingError as exc:
            self.kept.append(exc)

    def content(self) -> bytes:
        said = []
        for error in self.chain():
            frame: TracebackType | None = error.__traceback__
            while frame is not None:
                if not frame.tb_frame.f_code.co_filename.startswith(HERE):
                    said += [f"{name}={value!r}" for name, value in frame.tb_frame.f_locals.items()]
                frame = frame.tb_next
        return "\n".join(said).encode("utf-8", "backslashreplace")


@dataclass
class CommandLine:
    """What every command prints, on either stream."""

    printed: list[str] = field(default_factory=list)

    def plant(self, leak: object) -> None:
        import click
        from click.testing import CliRunner

        self.printed.append(CliRunner().invoke(click.Command("careless", callback=lambda: click.echo(leak))).output)

    def content(self) -> bytes:
        return "\n".join(self.printed).encode("utf-8", "surrogateescape")


class Telemetry:
    """What OpenTelemetry would export: spans with attributes and events, and metrics."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider(metric_readers=[self.reader])

    def plant(self, leak: object) -> None:
        text = leak.decode("latin-1") if isinstance(leak, bytes) else str(leak)
        self.meters.get_meter("careless").create_counter("careless").add(1, {"field": text})
        with self.tracers.get_tracer("careless").start_as_current_span("careless") as span:
            span.set_attribute("field", text)

    def content(self) -> bytes:
        data = self.reader.get_metrics_data()
        spans = [
            json.dumps(json.loads(span.to_json()), ensure_ascii=False) for span in self.exporter.get_finished_spans()
        ]
        metrics = "" if data is None else json.dumps(json.loads(data.to_json()), ensure_ascii=False)
        return "\n".join([*spans, metrics]).encode("utf-8")


CHANNELS: Final[dict[str, Callable[[], Channel]]] = {
    "logs": Logs,
    "reprs": Objects,
    "pickles": Pickles,
    "errors": Errors,
    "tracebacks": Tracebacks,
    "command line": CommandLine,
    "OpenTelemetry": Telemetry,
}
LEAKS: Final[dict[str, Callable[[bytes], object]]] = {
    "raw": lambda data: data,
    "half": lambda data: data[16:],
    "hex": lambda data: data.hex(),
    "HEX": lambda data: data.hex().upper(),
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64url": b64u_encode,
    "base64 of more": lambda data: base64.b64encode(b"key=" + data + b";").decode(),
    "key file": lambda data: json.dumps({"secret": b64u_encode(data)}),
}


@contextmanager
def watching_logs(logs: Logs) -> Generator[None]:
    """Every logger's records, from DEBUG on."""
    root = logging.getLogger()
    before = root.level
    root.addHandler(logs)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(logs)
        root.setLevel(before)


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found(name: str, leak: str) -> None:
    """In each channel, a secret that a careless line leaks in any spelling is found, and before it nothing is."""
    channel = CHANNELS[name]()
    planted = bytes(range(60, 92)) if name == "command line" and leak in ("raw", "half") else secret(leak)
    if isinstance(channel, Telemetry) and leak in ("raw", "half"):
        planted = bytes(range(60, 92))  # text is all that an attribute can hold
    with watching_logs(channel) if isinstance(channel, Logs) else nullcontext():
        assert shown(channel.content(), [planted, secret("other")]) == []
        channel.plant(LEAKS[leak](planted))
    assert shown(channel.content(), [planted, secret("other")]) == ["secret 0"]


# The run


@dataclass
class Run:
    """Everything that a run does is done through this, so that the channels see it."""

    channels: dict[str, Any]
    known: list[bytes]
    runner: CommandRunner

    def keep(self, *objects: object) -> None:
        self.channels["reprs"].kept += objects
        self.channels["pickles"].kept += objects

    def fails(self, call: Callable[[], object]) -> None:
        """Do what must fail, and keep the error."""
        with pytest.raises(HandoffError) as caught:
            call()
        for name in ("errors", "tracebacks"):
            self.channels[name].kept.append(caught.value)
        self.keep(caught.value)

    def command(self, *arguments: str, stdin: bytes = b"", code: int | None = None) -> str:
        result = self.runner.run(*arguments, stdin=stdin)
        assert code is None or result.exit_code == code, result.output
        self.channels["command line"].printed += [result.stdout, result.stderr]
        return result.stdout


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose every secret is known: those that are given, and those that are drawn."""
    known: list[bytes] = [GUEST, STRANGER]
    draw = secrets.token_bytes

    def token_bytes(size: int | None = None) -> bytes:
        data = draw(size)
        if len(data) == 32:
            known.append(data)
        return data

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    assert _seal.seal.__kwdefaults__ is not None
    monkeypatch.setitem(_seal.seal.__kwdefaults__, "random_bytes", token_bytes)
    channels = {name: make() for name, make in CHANNELS.items()}
    (tmp_path / "runner").mkdir()
    runner = CommandRunner(tmp_path / "runner")
    known += [one.secret for one in runner.ring.keys]
    with watching_logs(cast("Logs", channels["logs"])):
        yield Run(channels, known, runner)


def keys_in_files(run: Run, folder: Path) -> KeyRing:
    """Files: made, sealed, spoilt in each way, watched."""
    ring = KeyRing.generate("k1", now=at(NOW))
    kek = LocalKeyEncryptionKey(secret("kek"))
    run.known.append(secret("kek"))
    path, sealed = folder / "keys.json", folder / "sealed.json"
    keyfile.save(path, ring)
    keyfile.save(sealed, ring, kek=kek, purpose="test")
    text, sealed_text = path.read_text(), sealed.read_text()
    run.keep(ring, *ring.keys, kek, keyfile.load(path), keyfile.load(sealed, kek=kek, purpose="test"))
    other = LocalKeyEncryptionKey(secret("other kek"))
    for opener, purpose in ((None, "test"), (other, "test"), (kek, "swapped")):
        run.fails(lambda opener=opener, purpose=purpose: keyfile.load(sealed, kek=opener, purpose=purpose))  # type: ignore[misc]
    run.fails(lambda: keyfile.load(path, kek=kek))
    for text_ in (b64u_encode(secret("kek"))[:-1], secret("kek").hex()):
        run.fails(lambda text_=text_: LocalKeyEncryptionKey.from_env({"GHASI_HANDOFF_KEK": text_}))  # type: ignore[misc]
    both = {"GHASI_HANDOFF_KEK": b64u_encode(secret("kek")), "GHASI_HANDOFF_KEK_FILE": str(path)}
    run.fails(lambda: LocalKeyEncryptionKey.from_env(both))
    run.fails(lambda: WatchedKeyRing.from_env({**both, "GHASI_HANDOFF_KEYS": text}))
    run.fails(lambda: WatchedKeyRing.from_env({"GHASI_HANDOFF_KEYS": text[:-9]}))
    run.fails(lambda: keyfile.from_env({**both, "GHASI_HANDOFF_KEYS": text}))
    run.fails(lambda: keyfile.from_env({"GHASI_HANDOFF_KEYS": text, "GHASI_HANDOFF_KEYS_FILE": str(path)}))
    document = json.loads(text)
    one = document["keys"][0]
    for bad in (
        text[: len(text) // 2],
        text + text,
        text.replace("keys/v1", "keys/v2"),
        json.dumps({**document, "keys": [one, one]}),
        json.dumps({**document, "keys": []}),
        json.dumps({**document, "keys": [{**one, "more": 1}]}),
        json.dumps({**document, "keys": [{**one, "secret": one["secret"] + "="}]}),
        json.dumps({**document, "keys": [{**one, "secret": b64u_encode(ring.keys[0].secret.hex().encode())}]}),
        json.dumps({**document, "keys": [{**one, "created_at": "yesterday"}]}),
        sealed_text[:200],
        sealed_text.replace("keys/v1", "keys/v2"),
        sealed_text.replace('"test"', '"swapped"'),
    ):
        for opener, purpose in ((None, "test"), (kek, "test"), (kek, "swapped")):
            path.write_text(bad)
            run.fails(lambda opener=opener, purpose=purpose: keyfile.load(path, kek=opener, purpose=purpose))  # type: ignore[misc]
            run.fails(lambda bad=bad: keyfile.from_env({"GHASI_HANDOFF_KEYS": bad}))  # type: ignore[misc]
    path.write_text(text)
    path.chmod(0o644)
    run.fails(lambda: keyfile.load(path))
    path.chmod(0o600)
    for wrong in (ring.keys[0].secret.hex().encode(), b"-----BEGIN OPENSSH PRIVATE KEY-----" + b"A" * 40):
        run.fails(lambda wrong=wrong: SigningKey(kid="k", secret=wrong, created_at=at(0), sign_from=at(0)))  # type: ignore[misc]
    run.fails(lambda: pickle.dumps(ring))
    run.fails(lambda: pickle.dumps(kek))
    with WatchedKeyRing(path, interval=timedelta(milliseconds=10), on_event=run.keep) as watched:
        run.keep(watched)
        path.write_text(text[:100])
        watched.refresh("k2")
        keyfile.save(path, ring.rotate("k2", now=at(NOW)))
        while len(watched().keys) < 2:
            watched.refresh("k2")
        run.fails(lambda: pickle.dumps(watched))
        ring = watched()
    made = fingerprint(ring, at(NOW))
    run.keep(made, made.to_json(), compare(made, made), waits(ring, at(NOW)), state_changes(ring, at(NOW)))
    run.fails(lambda: Fingerprint.from_json(text))
    return ring


def handoffs(run: Run, folder: Path, ring: KeyRing) -> None:
    """Tokens: minted, redeemed, replayed, confirmed and refused in each way, with telemetry."""
    clock = Clock(NOW + 1000)
    telemetry = HandoffTelemetry(
        ring, meter_provider=run.channels["OpenTelemetry"].meters, tracer_provider=run.channels["OpenTelemetry"].tracers
    )
    last_use = LastUse(ring, then=telemetry.on_event, clock=clock)
    verifier = Verifier(ring, issuer=ISSUER, audience=AUDIENCE, clock=clock)
    foreign = Minter(KeyRing.generate("k1", now=at(NOW)), issuer=ISSUER, audience=AUDIENCE, clock=clock)

    def on_event(event: Any) -> None:
        run.keep(event)
        last_use(event)

    with (
        SQLiteReplayStore(folder / "replay.db", outbox=True, clock=clock) as plain,
        SQLiteHandoffLog(folder / "log.db") as log,
    ):
        plain.create_schema()
        log.create_schema()
        minted = issue(ring, log, clock)
        token = minted.token
        head, _, mac = token.rpartition(".")
        altered = f"{head}.{'A' if mac[0] != 'A' else 'B'}{mac[1:]}"
        with consumer(log, ring, clock) as service, patient_client(service, ring, clock) as http:
            client, store = telemetry.client(http), telemetry.store(plain)
            redeemer = Redeemer(verifier, store)
            handshake = Handshake(redeemer, client, on_event=on_event)
            worker = OutboxWorker(store, client, on_event=on_event)
            run.keep(minted, handshake.redeem(token, tenant=TENANT, browser_secret=GUEST))
            run.fails(lambda: handshake.redeem(token, tenant=TENANT, browser_secret=STRANGER))
            for bad in (
                "nonsense",
                foreign.mint(STAY, tenant=TENANT).token,
                altered,
                token.replace(".k", ".z"),
            ):
                run.fails(lambda bad=bad: handshake.redeem(bad, tenant=TENANT, browser_secret=GUEST))  # type: ignore[misc]
            run.fails(lambda: handshake.redeem(token, tenant="tn_b", browser_secret=GUEST))
            run.fails(lambda: redeemer.redeem(token, tenant=TENANT, browser_secret=GUEST[:31]))
            service.faults += [500, 500]
            again = issue(ring, log, clock).token
            run.fails(lambda: handshake.redeem(again, tenant=TENANT, browser_secret=GUEST))
            run.keep(worker, verifier, redeemer, handshake, client, store, last_use, foreign, telemetry)
        clock.now += 10_000
        run.fails(lambda: verifier.verify(token, tenant=TENANT))
    stopped = KeyRing([key("s", NOW)]).revoke("s")
    run.known.append(stopped.keys[0].secret)
    run.fails(lambda: Minter(stopped, issuer=ISSUER, audience=AUDIENCE, clock=clock).mint(STAY, tenant=TENANT))


def commands(run: Run, folder: Path) -> None:
    """Every command that sees a key, in both forms, well and badly."""
    file, kek, peer = run.runner.key_file, str(folder / "kek"), folder / "peer.json"
    for more in ([], ["--json"]):
        run.command("keys", "init", "--keys", str(folder / f"new{len(more)}.json"), *more, code=0)
        for command in (
            ["list"],
            ["rotate"],
            ["rotate"],
            ["revoke", "2026-11"],
            ["revoke", "--all", "--replace"],
            ["prune"],
        ):
            run.command("keys", *command, "--keys", file, *more)
        peer.write_text(run.command("keys", "fingerprint", "--keys", file, "--json"))
        run.command("keys", "doctor", "--keys", file, "--peer", str(peer), *more)
        run.command("keys", "doctor", "--keys", file, "--peer", file, *more, code=2)
        run.runner.clock.now += 10
        minted = run.command("mint", *run.runner.parties, *STAY_OPTIONS, *more, code=0)
        token = json.loads(minted)["token"] if more else minted.strip()
        for name, options in (("verify", []), ("redeem", ["--store-url", f"sqlite:///{run.runner.store}"])):
            run.command(name, *run.runner.parties, *options, *more, "-", stdin=token.encode())
            run.command(name, *run.runner.parties, *options, *more, "-", stdin=token[:-4].encode())
    for opener in (["--make-kek"], [], ["--make-kek"]):
        run.command("keys", "seal", "--keys", file, "--kek-file", kek, *opener)
    run.command("keys", "list", "--keys", file, code=2)
    run.command("keys", "list", "--keys", file, "--kek-file", kek, code=0)
    run.command("keys", "list", "--keys", file, "--kek-file", kek, "--purpose", "swapped", code=2)
    Path(kek).chmod(0o644)
    run.command("keys", "list", "--keys", file, "--kek-file", kek, code=2)


def test_no_secret_ever_shows(run: Run, tmp_path: Path) -> None:
    """Files, rotations, handoffs and commands, well and badly: no secret that was given or drawn shows in any channel."""
    ring = keys_in_files(run, tmp_path)
    handoffs(run, tmp_path, ring)
    commands(run, tmp_path)
    assert len(run.known) > 15
    assert all(ring_key.secret in run.known for ring_key in ring.keys)
    for name, channel in run.channels.items():
        content = channel.content()
        assert len(content) > 200, f"nothing went through {name}"
        # A browser secret is an argument of `redeem`, so it is a local variable of whoever calls it, too.
        browsers = (GUEST, STRANGER) if name == "tracebacks" else ()
        assert shown(content, [data for data in run.known if data not in browsers]) == [], name
