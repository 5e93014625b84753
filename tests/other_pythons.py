"""Run `make test` on each other supported CPython of this machine, in an environment of its own. Called by `make test-others`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests import servers

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def candidates(version: str) -> list[str]:
    """Where a Python of this version may be: on PATH, or among pyenv's."""
    name = f"python{version}"
    found = [found for folder in os.get_exec_path() if (found := shutil.which(name, path=folder))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found += sorted(str(path) for path in pyenv.glob(f"versions/{version}*/bin/{name}"))
    return found


def works(python: str, version: str) -> bool:
    """Whether it starts, is that CPython, and can make an environment. pyenv stand-ins on PATH may not."""
    probe = (
        "import ensurepip, platform, sys, venv; print(platform.python_implementation(), '%d.%d' % sys.version_info[:2])"
    )
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.split() == ["CPython", version]


def server_folders() -> dict[str, str]:
    """Where this Python's environment has the servers of the tests: not every Python has a wheel with them."""
    kinds = (servers.POSTGRES, servers.REDIS)
    return {f"{kind.variable}_BIN": str(servers.executable(kind).parent) for kind in kinds}


def main() -> int:
    """Run the suites, and say what was run and what was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--make", default="make", help="the make to call")
    options = parser.parse_args()
    own = sysconfig.get_python_version()
    failed, missing = [], []
    for version in SUPPORTED:
        if version == own:
            continue
        python = next((found for found in candidates(version) if works(found, version)), None)
        if python is None:
            missing.append(version)
            continue
        print(f"--- CPython {version}", flush=True)
        command = [
            *options.make.split(),
            "--no-print-directory",
            "test",
            f"PYTHON={python}",
            f"VENV=.venv-{version}",
            "COVERAGE=",  # measured on the main Python
            "PYTEST_ARGS=--no-skips",
        ]
        environment = server_folders() | os.environ
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            failed.append(version)
    if missing:
        print(f"not on this machine, so not run: CPython {', '.join(missing)}")
    if failed:
        print(f"failed: CPython {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
