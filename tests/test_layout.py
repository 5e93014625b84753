"""The tests mirror the source, so that whoever changes a module finds its tests by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
PACKAGE: Final = TESTS.parent / "src" / "ghasi_handoff"
# Modules of the core without a test module of their name, each with the reason.
WITHOUT: Final = {
    "__init__": "re-exports: test_public_names.py",
    "_handoff": "what MintedHandoff and VerifiedHandoff share: test_mint.py, test_verify.py",
    "_outbox": "values and a protocol: each store's own tests",
    "_outbox_async": "the same",
    "_version": "one literal",
}
# Modules of folders that are tested through another: the test module, and the name by which it uses them, theirs or that
# of a module of their folder that imports them. A module `x` and its source `x_async` are one row.
THROUGH: Final = {
    "cli/_demo": ("cli/test_group.py", "demo"),
    "cli/_input": ("cli/test_verify.py", "verify"),
    "cli/_options": ("cli/test_verify.py", "verify"),
    "cli/_output": ("cli/test_verify.py", "verify"),
    "demo/hotels": ("demo/test_story_faults.py", "hotels"),
    "demo/pages": ("demo/test_booking.py", "page"),
    "demo/service_process": ("demo/test_rotation.py", "service_process"),
    "demo/services": ("demo/test_serve.py", "services"),
    "demo/steps": ("demo/test_story.py", "steps"),
    "handshake/_consume": ("handshake/test_consume_answers.py", "answer_consume"),
    "handshake/_consume_http": ("handshake/test_client.py", "_consume_http"),
    "handshake/_deliveries": ("handshake/test_outbox.py", "_deliveries"),
    "handshake/_events": ("handshake/test_handshake.py", "HandoffRefused"),
    "handshake/_loop_thread": ("handshake/test_client.py", "ConsumeClient"),
    "handshake/_steps": ("handshake/test_crashes.py", "_steps"),
    "integrations/fastapi/_fingerprint": ("integrations/fastapi/test_watched.py", "fingerprint_router"),
    "integrations/fastapi/_problems": ("integrations/fastapi/test_verified.py", "install_error_handlers"),
    "integrations/fastapi/_router": ("integrations/fastapi/test_landing.py", "landing_router"),
    "integrations/fastapi/_starlette": ("integrations/fastapi/test_landing.py", "landing_router"),
    "keyfile/_events": ("keyfile/test_watch.py", "KeyRingReloaded"),
    "keyfile/_open": ("keyfile/test_sources.py", "_open"),
    "landing/_answer": ("landing/test_landing.py", "Answer"),
    "landing/_guest_request": ("landing/test_landing.py", "GuestRequest"),
    "landing/_places": ("landing/test_landing.py", "sent_on"),
    "landing/_refusals": ("landing/test_landing.py", "Landing"),
    "landing/_texts": ("landing/test_pages.py", "PageTexts"),
    "stores/_batches": ("stores/test_group_commit.py", "Batches"),
    "stores/_maintained": ("stores/test_open.py", "MaintainedStore"),
    "stores/_opening": ("stores/test_open.py", "Opening"),
    "stores/_shared_sql": ("stores/sqlite/test_replay_store.py", "SQLiteReplayStore"),
    "stores/memory/_replay_store": ("stores/test_memory.py", "MemoryReplayStore"),
    "stores/postgres/_from_url": ("stores/test_open.py", "make_store"),
    "stores/postgres/_guards": ("stores/postgres/test_pool.py", "PostgresReplayStore"),
    "stores/postgres/_handoff_log": ("stores/test_handoff_log.py", "PostgresHandoffLog"),
    "stores/postgres/_statements": ("stores/postgres/test_replay_store.py", "_statements"),
    "stores/redis/_client": ("stores/redis/test_replay_store.py", "RedisReplayStore"),
    "stores/redis/_entries": ("stores/redis/test_replay_store.py", "_entries"),
    "stores/redis/_examination": ("stores/redis/test_replay_store.py", "RedisReplayStore"),
    "stores/redis/_from_url": ("stores/test_open.py", "make_store"),
    "stores/redis/_hazards": ("stores/redis/test_replay_store.py", "RedisReplayStore"),
    "stores/redis/_task_servers": ("stores/redis/test_failures.py", "_task_servers"),
    "stores/redis/_thread_servers": ("stores/redis/test_failures.py", "_thread_servers"),
    "stores/sqlite/_connection": ("stores/sqlite/test_file.py", "_connection"),
    "stores/sqlite/_from_url": ("stores/test_open.py", "make_store"),
    "stores/sqlite/_handoff_log": ("stores/test_handoff_log.py", "SQLiteHandoffLog"),
    "stores/sqlite/_outbox": ("handshake/test_outbox.py", "AsyncSQLiteReplayStore"),
    "stores/sqlite/_transactions": ("stores/sqlite/test_replay_store.py", "SQLiteReplayStore"),
    "sync_contract/_literals": ("sync_contract/test_unreadable.py", "_literals"),
    "sync_contract/_models": ("sync_contract/test_matrix.py", "UnreadableError"),
    "sync_contract/_registry": ("sync_contract/test_unreadable.py", "read_registry"),
    "sync_contract/_source": ("sync_contract/test_unreadable.py", "read_registry"),
    "sync_contract/_tables": ("sync_contract/test_matrix.py", "build_matrix"),
    "sync_contract/_uses": ("sync_contract/test_unreadable.py", "read_registry"),
    "testing/_clock": ("testing/test_tokens.py", "FrozenClock"),
    "testing/_consumer": ("testing/test_fake_consumer.py", "FakeConsumer"),
    "testing/_cookies": ("testing/test_browser.py", "HandoffBrowser"),
    "testing/_entries": ("testing/test_conformance.py", "handoff_id_at"),
    "testing/_processes": ("testing/test_conformance.py", "ReplayStoreConformance"),
    "testing/_promises": ("testing/test_mutants.py", "Promises"),
    "testing/_stage": ("testing/test_conformance.py", "ReplayStoreConformance"),
    "testing/strategies/_handoffs": ("testing/test_strategies.py", "bad_tokens"),
    "testing/strategies/_key_rings": ("testing/test_strategies.py", "key_rings"),
    "testing/strategies/_payloads": ("testing/test_strategies.py", "payloads"),
    "testing/strategies/_texts": ("testing/test_strategies.py", "hostile_texts"),
}
FOLDERS: Final = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


def test_each_module_of_the_core_has_its_tests() -> None:
    """``_token.py`` is tested by ``tests/test_token.py``, and so on; nothing is excused that has a test module."""
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    tested = {name for name in modules if (TESTS / f"test_{name.strip('_')}.py").exists()}
    assert modules - tested == WITHOUT.keys()


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_of_the_package_has_its_tests(folder: str) -> None:
    """The tests of ``ghasi_handoff/stores/`` are in ``tests/stores/``, and so on."""
    assert list((TESTS / folder).rglob("test_*.py"))


def modules_of_folders() -> dict[str, Path]:
    """Every module outside the core, by its path without ending; a source for asyncio under its twin's name."""
    paths = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*.py"), reverse=True)}
    return {
        relative.with_suffix("").as_posix().removesuffix("_async"): path
        for relative, path in paths.items()
        if len(relative.parts) > 1 and path.stem not in ("__init__", "__main__")
    }


def names_of(path: Path) -> set[str]:
    """The names that a module is known by: its own, and what it defines."""
    defined = ast.parse(path.read_text("utf-8")).body
    names = {node.name for node in defined if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))}
    return names | {path.stem.removesuffix("_async")}


def importers_of(path: Path) -> set[Path]:
    """The module, its source for asyncio, and those of its folder that import them, directly or not."""
    folder = PACKAGE / path.relative_to(PACKAGE).parts[0]
    source = path.with_name(f"{path.stem}_async.py")
    found = {path, source} if source.exists() else {path}
    new = set(found)
    while new:
        dotted = {".".join(("ghasi_handoff", *one.relative_to(PACKAGE).with_suffix("").parts)) for one in new}
        dotted = {name.removesuffix(".__init__") for name in dotted}
        imports = re.compile(rf"^\s*from ({'|'.join(map(re.escape, dotted))}) import", re.M)
        new = {other for other in folder.rglob("*.py") if imports.search(other.read_text("utf-8"))} - found
        found |= new
    return found


def test_each_module_of_a_folder_has_its_tests() -> None:
    """``stores/sqlite/_file.py`` is tested by ``tests/stores/sqlite/test_file.py``, or has a row in the table."""
    modules = modules_of_folders()
    tested = {
        name for name in modules
        if (TESTS / name).with_name(f"test_{name.rpartition('/')[2].strip('_')}.py").exists()
    }  # fmt: skip
    assert modules.keys() - tested == THROUGH.keys()


@pytest.mark.parametrize("module", THROUGH)
def test_what_is_tested_through_another_is_used_there(module: str) -> None:
    """The test module of the table is there, and uses the module by its own name or by that of one that imports it."""
    test, name = THROUGH[module]
    assert re.search(rf"\b{name}\b", (TESTS / test).read_text("utf-8"))
    assert name in set().union(*map(names_of, importers_of(modules_of_folders()[module])))
