"""Rotations under load: real processes, each with a copy of the key file that comes when it comes, at a clock that is moved."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.rotation import waits
from tests.minter_and_verifier import NOW, at, key
from tests.steered_clock import SteeredClock

pytestmark = pytest.mark.thorough

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 120
PROPAGATION: Final = timedelta(minutes=15)
# The longest that a copy of the file may take, less a second: the worst there is.
LATEST: Final = int(PROPAGATION.total_seconds()) - 1
# The clock's steps, and how many tokens each verifier must have judged in each: the traffic goes on all the time.
STEP_SECONDS: Final = 150
TOKENS: Final = 5


class Told:
    """What the processes have told so far."""

    def __init__(self) -> None:
        self.keys: set[tuple[str, str]] = set()  # whom, which
        self.found: dict[str, Counter[str]] = {"prompt": Counter(), "late": Counter()}
        self.kids: dict[str, set[str]] = {"prompt": set(), "late": set()}
        self.early: Counter[tuple[str, int]] = Counter()  # by whom, and when the token was issued
        self._changed = threading.Condition()

    def note(self, name: str, line: str) -> None:
        """A line of a process."""
        first, *rest = line.split()
        with self._changed:
            if first == "key":
                self.keys.add((name, rest[0]))
            else:
                issued, kid, came = rest
                self.found[name][f"{first} {came}"] += 1
                self.kids[name] |= {kid} if came == "accepted" else set()
                if first == "early":
                    self.early[name, int(issued)] += 1
            self._changed.notify_all()

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Wait until they have told something."""
        with self._changed:
            assert self._changed.wait_for(done, PATIENCE_SECONDS), what


class Stage:
    """A master ring, the copies of one minter and two verifiers, and the tokens that flow between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ring = KeyRing([key("k0")])
        self.told = Told()
        self.clock = SteeredClock.made(folder / "clock", NOW)
        for name in ("minter", "prompt", "late"):
            keyfile.save(self.path(name), self.ring)

    @property
    def now(self) -> int:
        return int(self.clock())

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def start(self, what: str, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.rotation.rotation_process", what, str(self.path(name))]
        return subprocess.Popen(
            [*command, str(self.folder / "clock")], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def bring(self, *names: str) -> None:
        """Bring the ring to these; wait until each has it."""
        for name in names:
            keyfile.save(self.path(name), self.ring)
        kid = self.ring.keys[-1].kid
        self.told.wait_for(lambda: {(name, kid) for name in names} <= self.told.keys, f"{names} do not get {kid}")

    def forward_to(self, moment: float) -> None:
        """Let time pass, with traffic in each part of it."""
        while self.now < moment:
            self.clock.forward(min(STEP_SECONDS, moment - self.now))
            self.see_traffic()

    def see_traffic(self) -> None:
        """Wait until both verifiers have judged tokens that were issued now."""
        now = self.now
        self.told.wait_for(lambda: all(self.told.early[name, now] >= TOKENS for name in self.told.found), "no traffic")

    @contextmanager
    def traffic(self) -> Generator[None]:
        """Both verifiers get every token of the minter."""
        minter = self.start("mint", "minter")
        verifiers = {name: self.start("verify", name) for name in self.told.found}

        def pump() -> None:
            assert minter.stdout is not None
            for line in minter.stdout:
                if line.startswith("key "):
                    self.told.note("minter", line)
                    continue
                for verifier in verifiers.values():
                    assert verifier.stdin is not None
                    verifier.stdin.write(line)
                    verifier.stdin.flush()

        def listen(name: str) -> None:
            stdout = verifiers[name].stdout
            assert stdout is not None
            for line in stdout:
                self.told.note(name, line)

        threads = [threading.Thread(target=pump)]
        threads += [threading.Thread(target=listen, args=(name,)) for name in verifiers]
        for thread in threads:
            thread.start()
        try:
            self.see_traffic()
            yield
        finally:
            assert minter.stdin is not None
            minter.stdin.close()
            minter.wait(PATIENCE_SECONDS)
            threads[0].join()
            for verifier in verifiers.values():
                assert verifier.stdin is not None
                verifier.stdin.close()
                verifier.wait(PATIENCE_SECONDS)
            for thread in threads[1:]:
                thread.join()
            for process in (minter, *verifiers.values()):
                assert process.stdout is not None
                process.stdout.close()


def rotate_by_plan(stage: Stage, number: int) -> None:
    """One rotation when nothing speaks against it, the old keys pruned, and somebody late."""
    while waits(stage.ring, at(stage.now), propagation=PROPAGATION):
        stage.forward_to(stage.now + STEP_SECONDS)
    begun = stage.now
    stage.ring = stage.ring.prune(now=at(begun)).rotate(f"k{number}", now=at(begun), propagation=PROPAGATION)
    # The worst there is: in the fourth a verifier is late, in the seventh the minter.
    late = {4: "late", 7: "minter"}.get(number, "")
    stage.bring(*({"minter", "prompt"} - {late}))
    stage.forward_to(begun + 270)
    stage.bring(*({"late"} - {late}))
    stage.forward_to(begun + LATEST)
    stage.bring(*({late} - {""}))
    stage.forward_to(stage.ring.keys[-1].sign_from.timestamp())


def test_ten_rotations_under_load_refuse_nobody(tmp_path: Path) -> None:
    """Ten rotations, one with a verifier that gets the file when the whole propagation but a second is over: no valid handoff is refused."""
    stage = Stage(tmp_path)
    with stage.traffic():
        for number in range(1, 11):
            rotate_by_plan(stage, number)
        stage.forward_to(stage.now + 2000)
    for name, found in stage.told.found.items():
        assert set(found) == {"early accepted", "late accepted"}, found
        assert found["early accepted"] > 300
        assert found["late accepted"] > 300
        assert stage.told.kids[name] == {f"k{number}" for number in range(11)}


def test_add_and_use_at_once_refuses_handoffs(tmp_path: Path) -> None:
    """The same with a key that signs at once: the verifier that is late refuses valid handoffs. So the test above can fail."""
    stage = Stage(tmp_path)
    with stage.traffic():
        for number in (1, 2):
            begun = stage.now
            stage.ring = stage.ring.rotate(f"k{number}", now=at(begun), propagation=timedelta(0))
            stage.bring("prompt")
            stage.bring("minter")
            stage.forward_to(begun + LATEST)
            stage.bring("late")
            stage.forward_to(begun + LATEST + 1)
    found = stage.told.found["late"]
    assert found["early unknown_key"] > 50, found
    assert stage.told.found["prompt"]["early unknown_key"] == 0
