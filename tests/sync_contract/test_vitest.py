"""The vitest spec of the how-to page, run: Node takes the types off, and a few lines stand in for vitest."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ..node import node
from .registries import AGGREGATES, FIXTURES, SERVICE, entry, module

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "check-the-sync-contract.md"
(SPEC,) = re.findall(r"^```ts\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)

# What the spec uses of vitest, and the resolution of './registry' that vitest has and Node has not.
_RUN = """
import assert from 'node:assert';
import { registerHooks } from 'node:module';
const vitest = `
  export const expect = (value) => ({ toEqual: (other) => globalThis.same(value, other) });
  export const it = (name, test) => { test(); console.log('passed: ' + name); };
`;
globalThis.same = assert.deepStrictEqual;
registerHooks({
  resolve: (name, context, next) => next(
    name === 'vitest' ? 'data:text/javascript,' + encodeURIComponent(vitest)
    : name === './registry' ? './registry.mts' : name, context),
});
await import(process.argv[1]);
"""


def run_spec(folder: Path, registry: str) -> subprocess.CompletedProcess[str]:
    (folder / "registry.mts").write_text(registry, "utf-8")
    spec = folder / "registry.spec.mts"
    spec.write_text(SPEC, "utf-8")
    command = [node(), "--input-type=module", "--eval", _RUN, spec.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_spec_passes_on_the_realistic_registry(tmp_path: Path) -> None:
    """A registry without bff-consumer passes the platform's own test."""
    done = run_spec(tmp_path, (FIXTURES / "registry.ts").read_text("utf-8"))
    assert (done.returncode, done.stdout.strip()) == (0, "passed: replicates nothing of bff-consumer-service"), (
        done.stderr
    )


@pytest.mark.parametrize(
    ("service", "aggregate"),
    [
        *(("guest-service", aggregate) for aggregate in AGGREGATES),
        (SERVICE, "Room"),
        ("bff-consumer", "Room"),
        ("guest-service", "bff-consumer.Room"),
        ("guest-service", "wishlist"),
    ],
)
def test_spec_fails_on_a_planted_entry(tmp_path: Path, service: str, aggregate: str) -> None:
    """It finds what this library's check finds, by the same seven names."""
    done = run_spec(tmp_path, module(entry(service, aggregate)))
    assert done.returncode != 0
    assert "passed" not in done.stdout
    assert "AssertionError" in done.stderr


def test_spec_sees_what_another_file_adds(tmp_path: Path) -> None:
    """What no reading of one file can see: an entry that is pushed when the platform runs."""
    (tmp_path / "more.mts").write_text(f"export const more = [{entry(SERVICE, 'Wishlist')}];", "utf-8")
    done = run_spec(tmp_path, "import { more } from './more.mts';\n" + module("...more"))
    assert done.returncode != 0
    assert "AssertionError" in done.stderr


def test_spec_names_the_seven() -> None:
    """Its list is the contract's, in the contract's order."""
    assert re.findall(r"^  '(\w+)',$", SPEC, re.M) == AGGREGATES
