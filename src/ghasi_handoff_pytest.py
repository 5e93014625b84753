"""pytest -p ghasi_handoff_pytest --sync-registry PATH -> a test a registry: nothing of bff-consumer-service is in it.

Beside the package, not in it: the package is imported when a registry is checked, and not when pytest starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest._code.code import ExceptionInfo, TerminalRepr

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option, in a group of its own."""
    parser.getgroup("ghasi-handoff").addoption(
        "--sync-registry",
        metavar="PATH",
        action="append",
        default=[],
        help="Check that this sync registry (.ts, .json) has nothing of bff-consumer-service. May be repeated.",
    )


@pytest.hookimpl(trylast=True)  # after -k and -m: who names a registry wants it checked, whatever else is chosen
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each registry that was named."""
    registries: list[str] = config.getoption("sync_registry") or []
    for registry in registries:
        path = (config.invocation_params.dir / registry).resolve()
        items.append(_Registry.from_parent(session, name=f"sync-registry[{registry}]", registry=path))


class _BrokenContractError(Exception):
    """The registry has findings, or can't be read: the message says all."""


class _Registry(pytest.Item):
    """The check of one registry."""

    def __init__(self, *, registry: Path, **others: Any) -> None:
        super().__init__(**others)
        self.registry = registry

    def runtest(self) -> None:
        from ghasi_handoff.sync_contract import UnreadableError, check_registry

        try:
            findings = check_registry(self.registry)
        except (UnreadableError, ModuleNotFoundError) as exc:
            raise _BrokenContractError(str(exc)) from exc
        if findings:
            raise _BrokenContractError(
                "\n".join(f"{finding.at.file}:{finding.at.line}: {finding.reason}" for finding in findings)
            )

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        if isinstance(excinfo.value, _BrokenContractError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.registry, None, self.name
