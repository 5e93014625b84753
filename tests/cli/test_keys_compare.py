"""`keys fingerprint` and `keys doctor`: whether the other side has the keys, and when the next step is safe."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.rotation import Fingerprint, fingerprint
from tests.minter_and_verifier import NOW, at, key, secret

from .command_runner import CommandRunner, only_object


@pytest.fixture
def peer(runner: CommandRunner) -> Path:
    """The other side's fingerprint, in a file; at first of the same ring."""
    path = runner.folder / "peer.json"
    tell(path, keyfile.load(runner.key_file))
    return path


def tell(path: Path, ring: KeyRing, **more: Any) -> None:
    path.write_text(fingerprint(ring, at(NOW), **more).to_json())


def doctor(runner: CommandRunner, *peers: object, exit_code: int = 0) -> dict[str, Any]:
    options = [part for one in peers for part in ("--peer", str(one))]
    return only_object(runner.run("keys", "doctor", "--keys", runner.key_file, *options, "--json"), exit_code)


def codes(found: dict[str, Any]) -> list[str]:
    return [one["code"] for one in found["findings"]]


class Endpoint:
    """What serves a fingerprint, as the other side would."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.location = ""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path.endswith("/elsewhere") else endpoint.status)
                if endpoint.location:
                    self.send_header("Location", endpoint.location)
                self.end_headers()
                self.wfile.write(endpoint.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/internal/handoff/keys"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


# Fingerprint


def test_a_fingerprint_is_a_line_a_key(runner: CommandRunner) -> None:
    """One line to read out for the ring, and one a key: kid, state and hash; no secret in any spelling."""
    result = runner.run("keys", "fingerprint", "--keys", runner.key_file)
    made = fingerprint(runner.ring, at(NOW))
    assert result.stdout == f"ring  {made.ring}\n\n2026-11  active       {made.keys[0].hash}\n"
    assert secret("2026-11").hex()[:12] not in result.stdout


def test_its_json_is_what_a_peer_reads(runner: CommandRunner) -> None:
    """What --json prints can be saved and given to `doctor --peer` of the other side as it is."""
    result = runner.run("keys", "fingerprint", "--keys", runner.key_file, "--json")
    assert Fingerprint.from_json(result.stdout) == fingerprint(runner.ring, at(NOW))
    saved = runner.file("theirs.json", result.stdout.encode())
    assert codes(doctor(runner, saved)) == ["signs", "same"]


# Doctor


def test_all_is_well(runner: CommandRunner, peer: Path) -> None:
    """The same keys on both sides, one of which signs: exit code 0, and the next step is safe now."""
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", str(peer))
    ring = fingerprint(runner.ring, at(NOW)).ring
    assert (result.exit_code, result.stdout) == (
        0,
        f"ok     this file: 2026-11 signs\nok     {peer}: the other side has the same keys: {ring}\n\n"
        "next: keys rotate is safe now\n",
    )


def test_the_other_side_does_not_have_the_new_key_yet(runner: CommandRunner, peer: Path) -> None:
    """After a rotation, before the file has arrived there: wait, and until when it must be there."""
    runner.run("keys", "rotate", "--keys", runner.key_file, "--kid", "2026-12")
    found = doctor(runner, peer)
    assert (found["level"], codes(found)) == ("wait", ["signs", "not_there_yet", "older_copy"])
    assert found["findings"][1]["until"] == "2026-11-23T09:45:00Z"
    assert found["next_step"] == "bring the file to the other side before 2026-11-23T09:45:00Z"


def test_the_other_side_has_the_new_key(runner: CommandRunner, peer: Path) -> None:
    """Once it has: nothing to do until the key signs, and from then on the next step is safe."""
    runner.run("keys", "rotate", "--keys", runner.key_file, "--kid", "2026-12")
    tell(peer, keyfile.load(runner.key_file))
    found = doctor(runner, peer)
    assert (found["level"], codes(found)) == ("ok", ["signs", "same"])
    assert found["next_step"].startswith("nothing before 2026-11-23T09:45:00Z; then 2026-12 signs, and keys rotate is")
    runner.clock.now = NOW + 900
    assert doctor(runner, peer)["next_step"] == "keys rotate is safe now; keys prune from 2026-11-23T10:47:00Z on"
    runner.clock.now = NOW + 900 + 3720
    one_at_a_time = "keys prune is safe now, or keys rotate; then the other, once that file is everywhere"
    assert doctor(runner, peer)["next_step"] == one_at_a_time


def test_the_next_step_waits_for_a_revocation_as_rotate_does(runner: CommandRunner) -> None:
    """While rotate would refuse, for a revocation that may still be on its way, doctor does not call it safe."""
    runner.run("keys", "revoke", "2026-11", "--replace", "--kid", "2026-12", "--keys", runner.key_file)
    runner.clock.now = NOW + 1
    refused = only_object(runner.run("keys", "rotate", "--keys", runner.key_file, "--json"), 1)
    assert doctor(runner)["next_step"].startswith(
        f"nothing before {refused['wait_until']}; then the revocation has had"
    )
    runner.clock.now = NOW + 900
    assert doctor(runner)["next_step"].startswith("keys rotate is safe now")


def test_the_other_side_missed_the_new_key(runner: CommandRunner, peer: Path) -> None:
    """Once the key signs and the other side still lacks it, tokens are refused: an alarm, exit code 1."""
    runner.run("keys", "rotate", "--keys", runner.key_file, "--kid", "2026-12")
    runner.clock.now = NOW + 900
    found = doctor(runner, peer, exit_code=1)
    assert (found["ok"], found["level"], codes(found)) == (False, "alarm", ["signs", "missing_there", "older_copy"])
    assert "unknown_key" in found["findings"][1]["text"]
    assert found["next_step"] == "repair what is wrong, then run this again"


def test_nothing_signs(runner: CommandRunner) -> None:
    """A ring with no key that can sign is an alarm that says what to do."""
    runner.run("keys", "revoke", "2026-11", "--keys", runner.key_file)
    found = doctor(runner, exit_code=1)
    assert codes(found) == ["no_signer"]
    assert "keys rotate --emergency" in found["findings"][0]["text"]


def test_the_clock_is_behind(runner: CommandRunner) -> None:
    """A key from the future is said, too."""
    runner.clock.now = NOW - 5000
    found = doctor(runner, exit_code=1)
    assert codes(found) == ["no_signer", "clock_behind"]
    # Not to revoke the key, which is pending by this clock only.
    assert found["findings"][0]["text"].endswith("to sign at once: set this clock, which seems to be behind")


def test_the_last_use_is_shown(runner: CommandRunner, peer: Path) -> None:
    """When the other side keeps count, doctor shows when each key was last seen there."""
    tell(peer, runner.ring, last_use={"2026-11": at(NOW - 60)})
    assert doctor(runner, peer)["last_used_at"] == {"2026-11": "2026-11-23T09:29:00Z"}
    shown = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", str(peer)).stdout
    assert "last use of 2026-11  2026-11-23T09:29:00Z\n" in shown


def test_the_other_side_may_be_asked_by_its_url(runner: CommandRunner, endpoint: Endpoint) -> None:
    """An endpoint that serves the fingerprint is asked at once; then its clock is compared, too."""
    endpoint.body = fingerprint(runner.ring, at(NOW + 60)).to_json().encode()
    assert codes(doctor(runner, endpoint.url)) == ["signs", "same"]
    endpoint.body = fingerprint(runner.ring, at(NOW + 61)).to_json().encode()
    found = doctor(runner, endpoint.url, exit_code=1)
    assert codes(found) == ["signs", "clocks_differ"]
    assert "differ by 61 s" in found["findings"][1]["text"]


def test_an_old_file_says_nothing_of_a_clock(runner: CommandRunner, peer: Path) -> None:
    """A fingerprint in a file may be from yesterday; that is no clock that is wrong."""
    runner.clock.now = NOW + 86400
    assert "clocks_differ" not in codes(doctor(runner, peer))


def test_several_peers_are_asked(runner: CommandRunner, peer: Path, endpoint: Endpoint) -> None:
    """Each process of the other side may differ: each is compared, and named."""
    endpoint.body = fingerprint(KeyRing([key("2026-10", NOW - 5000)]), at(NOW)).to_json().encode()
    found = doctor(runner, peer, endpoint.url, exit_code=1)
    assert [(one["where"], one["code"]) for one in found["findings"]] == [
        ("this file", "signs"),
        (str(peer), "same"),
        (endpoint.url, "missing_there"),
        (endpoint.url, "missing_here"),
    ]


# Peers that cannot be read


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://booking.example/keys", "must be https"),
        ("ftp://127.0.0.1/keys", "must be https"),
        ("https://user:pass@booking.example/keys", "must not hold a user name"),
        ("https://[::1/keys", "no valid host"),
        ("http://127.0.0.1:1/keys", "refused"),
        ("http://127.0.0.1:1/the keys", "InvalidURL"),
    ],
)
def test_a_peer_that_cannot_be_asked_is_an_error(runner: CommandRunner, url: str, reason: str) -> None:
    """A URL that would be asked in the clear, or that nobody answers, ends with 2 and says why, without a password."""
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert "user:pass" not in result.stderr


def test_what_does_not_speak_http_is_an_error(runner: CommandRunner) -> None:
    """Another port than was meant answers in another language: that ends with 2 and the peer's name, not in a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        speaker = threading.Thread(target=speak)
        speaker.start()
        where = f"127.0.0.1:{server.getsockname()[1]}"
        result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", f"http://{where}/keys")
        speaker.join()
    assert (result.exit_code, f"peer {where}: BadStatusLine" in result.stderr) == (2, True)


def test_no_proxy_is_asked_for_this_machine(
    runner: CommandRunner, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is for this machine, because it is in the clear: a proxy of the environment would take it elsewhere."""
    endpoint.body = fingerprint(runner.ring, at(NOW)).to_json().encode()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert codes(doctor(runner, endpoint.url)) == ["signs", "same"]


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_a_peer_that_answers_otherwise_is_an_error(runner: CommandRunner, endpoint: Endpoint, status: int) -> None:
    """Only a 200 counts, and a redirect is not followed: it could lead anywhere."""
    endpoint.status, endpoint.location = status, endpoint.url + "/elsewhere" if status == 302 else ""
    endpoint.body = fingerprint(runner.ring, at(NOW)).to_json().encode()
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", endpoint.url)
    assert (result.exit_code, f"it answers {status}" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": "ghasi-handoff-fingerprint/v2"}', b"[" * 100_000], ids=repr
)
def test_a_peer_that_is_no_fingerprint_is_an_error(runner: CommandRunner, content: bytes) -> None:
    """Anything else in the file ends with 2, not in a traceback."""
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", runner.file("peer.json", content))
    assert (result.exit_code, "not a fingerprint" in result.stderr) == (2, True)


def test_a_missing_peer_file_is_an_error(runner: CommandRunner) -> None:
    """It is named."""
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", "missing.json")
    assert (result.exit_code, "peer missing.json: No such file" in result.stderr) == (2, True)


def test_a_key_file_is_no_fingerprint(runner: CommandRunner) -> None:
    """Nobody should carry key files about to compare them: it is said how to do it."""
    result = runner.run("keys", "doctor", "--keys", runner.key_file, "--peer", runner.key_file)
    assert (result.exit_code, "ghasi-handoff keys fingerprint" in result.stderr) == (2, True)


# Rotating with a look at the other side


def test_a_rotation_from_an_old_copy_is_refused(runner: CommandRunner, peer: Path) -> None:
    """The other side has a key that this file lacks: a ring made from it would take that key away."""
    tell(peer, runner.ring.rotate("2026-12", now=at(NOW)))
    result = runner.run("keys", "rotate", "--keys", runner.key_file, "--peer", str(peer), "--json")
    refused = only_object(result, 1)
    assert (refused["code"], refused["wait_until"]) == ("missing_here", None)
    assert [one.kid for one in keyfile.load(runner.key_file).keys] == ["2026-11"]
    tell(peer, runner.ring)
    assert runner.run("keys", "rotate", "--keys", runner.key_file, "--peer", str(peer)).exit_code == 0


def test_a_rotation_by_a_wrong_clock_is_refused_by_the_other_sides(runner: CommandRunner, endpoint: Endpoint) -> None:
    """A clock that is behind by a quarter of an hour makes every rotation "add and use at once": the peer's clock tells."""
    endpoint.body = fingerprint(runner.ring, at(NOW + 900)).to_json().encode()
    result = runner.run("keys", "rotate", "--keys", runner.key_file, "--peer", endpoint.url, "--json")
    assert only_object(result, 1)["code"] == "clocks_differ"


def test_json_of_the_doctor_has_no_secret(runner: CommandRunner, peer: Path) -> None:
    """Everything that doctor says may go into a monitoring system."""
    text = json.dumps(doctor(runner, peer))
    assert secret("2026-11").hex()[:12] not in text
