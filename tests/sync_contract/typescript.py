"""A Node that runs registries, to say what they really hold. It comes with the locked dependencies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..node import node

# Node takes the types off and runs the rest.
_PROGRAM = """
import { createInterface } from 'node:readline';
for await (const path of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { syncRegistry } = await import(path);
    answer = { names: syncRegistry.map(({ serviceName, aggregate }) => [serviceName, aggregate]) };
  } catch (error) {
    answer = { error: String(error).slice(0, 300) };
  }
  console.log(JSON.stringify(answer));
}
"""


class Runner:
    """One process for as many modules as you like."""

    def __enter__(self) -> Self:
        command = [node(), "--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def names(self, path: Path) -> list[tuple[Any, Any]] | None:
        """What the module exports, or None if it does not run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(path.as_uri() + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return [tuple(pair) for pair in answer["names"]] if "names" in answer else None
