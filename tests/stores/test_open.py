"""A URL opens the store or the handoff log of its product, for threads and for asyncio, and repeats no password."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ghasi_handoff import ConfigurationError, Consumption, HandoffError, HandoffLogError, ReplayStoreError
from ghasi_handoff.replay import ReplayRecord, StoreStats
from ghasi_handoff.stores import _open, _open_async
from ghasi_handoff.stores._maintained import MaintainedStore
from ghasi_handoff.stores._maintained_async import AsyncMaintainedStore
from ghasi_handoff.stores._open import PRODUCTS, Kind, make_log, make_store, product_of
from ghasi_handoff.stores._opening import Opening
from ghasi_handoff.stores.postgres import _from_url as postgres
from ghasi_handoff.stores.postgres import _from_url_async as postgres_async
from ghasi_handoff.stores.redis import _from_url as redis
from ghasi_handoff.stores.redis import _from_url_async as redis_async
from ghasi_handoff.stores.sqlite import _from_url as sqlite
from ghasi_handoff.stores.sqlite import _from_url_async as sqlite_async

from .entries import NOW, SCOPE, entry, handoff_id, redemption_id

PASSWORD = "geheim-4711"
# The type checkers read these: each product makes what the table says. A store's makers first, then a log's.
STORES: list[Callable[[str, Opening], tuple[MaintainedStore, AbstractContextManager[None]]]]
STORES = [sqlite.make_store, postgres.make_store, redis.make_store]
ASYNC_STORES: list[Callable[[str, Opening], tuple[AsyncMaintainedStore, AbstractAsyncContextManager[None]]]]
ASYNC_STORES = [sqlite_async.make_store, postgres_async.make_store, redis_async.make_store]
LOGS: list[Callable[[str, Opening], object]] = [sqlite.make_log, postgres.make_log]
ASYNC_LOGS: list[Callable[[str, Opening], object]] = [sqlite_async.make_log, postgres_async.make_log]

Seen: TypeAlias = tuple[Consumption, StoreStats, ReplayRecord | None, ReplayRecord | None, int, bool]
awaited_or_not = pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])


def maintain(store: MaintainedStore) -> Seen:
    """Everything that a store can be asked, of whichever product."""
    store.create_schema()
    consumption = store.consume(handoff_id(NOW), **entry(1))
    assert store.check().server
    trace, traces = store.trace(handoff_id(NOW), SCOPE), store.trace(handoff_id(NOW))
    assert trace is not None
    has_outbox = store.outbox is not None and len(store.outbox.entries(limit=9)) == 1
    removed = store.purge(NOW, progress=lambda count: None)
    record = traces.records[0] if traces is not None else None
    return consumption, store.stats(), trace.records[0], record, removed, has_outbox


async def maintain_async(store: AsyncMaintainedStore) -> Seen:
    """As `maintain`."""
    await store.create_schema()
    consumption = await store.consume(handoff_id(NOW), **entry(1))
    assert (await store.check()).server
    trace, traces = await store.trace(handoff_id(NOW), SCOPE), await store.trace(handoff_id(NOW))
    assert trace is not None
    has_outbox = store.outbox is not None and len(await store.outbox.entries(limit=9)) == 1
    removed = await store.purge(NOW, progress=lambda count: None)
    record = traces.records[0] if traces is not None else None
    return consumption, await store.stats(), trace.records[0], record, removed, has_outbox


def use_store(url: str, opening: Opening, *, awaited: bool) -> Seen:
    """Open a store, and ask it everything."""
    if not awaited:
        store, running = make_store(url, opening)
        with running:
            return maintain(store)

    async def use() -> Seen:
        store, running = _open_async.make_store(url, opening)
        async with running:
            return await maintain_async(store)

    return asyncio.run(use())


def use_log(url: str, opening: Opening, *, awaited: bool) -> object:
    """Open a handoff log, make its tables, purge it, and look for a handoff in it."""
    if not awaited:
        log, running = make_log(url, opening)
        with running:
            log.create_schema()
            return log.purge(NOW), log.find(handoff_id(NOW))

    async def use() -> object:
        log, running = _open_async.make_log(url, opening)
        async with running:
            await log.create_schema()
            return await log.purge(NOW), await log.find(handoff_id(NOW))

    return asyncio.run(use())


@pytest.fixture(params=["sqlite", "postgresql", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, of each product in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/one%20store.db"
    found: str = request.getfixturevalue("redis_url" if request.param == "redis" else "postgres_url")
    return found if request.param == "redis" else f"{request.param}://{found.partition('://')[2]}"


@awaited_or_not
def test_a_url_opens_a_store_with_all_that_its_operator_needs(url: str, awaited: bool) -> None:
    """Each product answers the same questions in the same words. Redis has no outbox, and needs a scope to trace."""
    opening = Opening(create=True, outbox=True, clock=lambda: NOW)
    record = ReplayRecord(SCOPE, redemption_id(1), NOW)
    for first in (True, False):  # opened a second time, the store knows the holder
        consumption, stats, traced, traced_without_scope, removed, has_outbox = use_store(url, opening, awaited=awaited)
        assert consumption == Consumption(redemption_id(1), first, NOW)
        assert (stats.entries, traced, removed) == (1, record, 0)
        assert (traced_without_scope, has_outbox) == ((None, False) if url.startswith("redis") else (record, True))


@awaited_or_not
def test_a_closed_store_says_so_in_the_same_words(url: str, awaited: bool) -> None:
    """Each product refuses a consume after closing with one text."""

    async def use_async() -> None:
        store, running = _open_async.make_store(url, Opening(create=True))
        async with running:
            pass
        await store.consume(handoff_id(NOW), **entry(1))

    def use() -> None:
        store, running = make_store(url, Opening(create=True))
        with running:
            pass
        store.consume(handoff_id(NOW), **entry(1))

    with pytest.raises(ReplayStoreError, match="^the replay store is closed$"):
        asyncio.run(use_async()) if awaited else use()


@awaited_or_not
@pytest.mark.parametrize("product", ["sqlite", "postgresql"])
def test_a_url_opens_a_handoff_log(request: pytest.FixtureRequest, tmp_path: Path, product: str, awaited: bool) -> None:
    """SQLite and PostgreSQL can keep a handoff log."""
    url = f"sqlite:///{tmp_path}/log.db" if product == "sqlite" else request.getfixturevalue("postgres_url")
    assert use_log(url, Opening(create=True), awaited=awaited) == (0, None)


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("sqlite", "sqlite"),
        ("postgresql", "postgresql"),
        ("postgres", "postgresql"),
        ("redis", "redis"),
        ("rediss", "redis"),
        ("unix", "redis"),
    ],
)
def test_each_scheme_names_its_product(scheme: str, name: str) -> None:
    """The schemes of the drivers' own URLs all work."""
    assert product_of(f"{scheme}:///any", "store").name == name
    make_store(f"{scheme}:///any", Opening(create=True))  # connects to nothing


def test_each_product_of_the_table_has_what_its_row_says() -> None:
    """A row without its folder, or a folder without its row, is found here."""
    for name, stores, logs in (("_from_url", STORES, LOGS), ("_from_url_async", ASYNC_STORES, ASYNC_LOGS)):
        modules = {product: import_module(f"ghasi_handoff.stores.{product.folder}.{name}") for product in PRODUCTS}
        assert [module.make_store for module in modules.values()] == stores
        assert [module.make_log for product, module in modules.items() if product.has_log] == logs
        assert [hasattr(module, "make_log") for module in modules.values()] == [each.has_log for each in PRODUCTS]
    folders = {path.parent.name for path in Path(_open.__file__).parent.glob("*/__init__.py")}
    assert folders == {product.folder for product in PRODUCTS} | {"memory"}  # which has no URL


@awaited_or_not
@pytest.mark.parametrize(
    ("kind", "url"),
    [
        *((kind, url) for kind in ("store", "log") for url in (
            "",
            "log.db",
            "sqlite://",
            "sqlite:///",
            f"sqlite://{PASSWORD}",
            f"mysql://u:{PASSWORD}@h/d",
            f"http://{PASSWORD}",
            f"postgresql://u:{PASSWORD}@[::1/d",
            f"postgresql://u:{PASSWORD}@h/d?nonsense=1",
        )),
        ("log", f"redis://:{PASSWORD}@h"),
        ("store", f"redis://:{PASSWORD}/x@h:6379"),
        ("store", f"redis://:{PASSWORD}@h:bad/0"),
        ("store", f"redis://:{PASSWORD}@[::1/0"),
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_and_not_repeated(
    caplog: pytest.LogCaptureFixture, kind: Kind, url: str, awaited: bool
) -> None:
    """Another product or a mistyped URL: a ConfigurationError before anything is opened, and no password anywhere."""
    makers: dict[tuple[Kind, bool], Callable[[str, Opening], Any]] = {
        ("store", False): make_store,
        ("store", True): _open_async.make_store,
        ("log", False): make_log,
        ("log", True): _open_async.make_log,
    }
    with pytest.raises(ConfigurationError) as caught:
        makers[kind, awaited](url, Opening(create=True))
    assert PASSWORD not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@awaited_or_not
@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_server_that_does_not_answer_is_an_error_without_the_password(
    caplog: pytest.LogCaptureFixture, scheme: str, awaited: bool
) -> None:
    """Nobody listens there: a ReplayStoreError, and no driver logs the password."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ReplayStoreError) as caught:
        use_store(f"{scheme}://u:{PASSWORD}@127.0.0.1:1/0", Opening(timeout=0.5), awaited=awaited)
    assert PASSWORD not in str(caught.value) + caplog.text


@awaited_or_not
@pytest.mark.parametrize(("use", "error"), [(use_store, ReplayStoreError), (use_log, HandoffLogError)])
def test_a_server_that_accepts_and_never_answers_is_an_error(
    use: Callable[..., object], error: type[HandoffError], awaited: bool
) -> None:
    """A silent PostgreSQL: the right error, and the call ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(error, match="PostgreSQL") as caught:
        use(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/any", Opening(timeout=0.2), awaited=awaited)
    assert type(caught.value) is error


@pytest.mark.parametrize(("module", "pool"), [(postgres, "ConnectionPool"), (postgres_async, "AsyncConnectionPool")])
@pytest.mark.parametrize("maker", ["make_store", "make_log"])
@pytest.mark.parametrize(("timeout", "seconds"), [(0.2, 2), (7.9, 7)])
def test_a_pool_gives_up_connecting_in_time(
    monkeypatch: pytest.MonkeyPatch, module: Any, pool: str, maker: str, timeout: float, seconds: int
) -> None:
    """Libpq is told to give up within the timeout, or within its own least of 2 s: closing waits for no silent server."""
    told: list[Any] = []
    original = getattr(module, pool)

    class Recording(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **settings: Any) -> None:
            told.append(settings["kwargs"])
            super().__init__(*args, **settings)

    monkeypatch.setattr(module, pool, Recording)
    getattr(module, maker)("postgresql://127.0.0.1:1/any", Opening(timeout=timeout))
    assert told == [{"connect_timeout": seconds}]


@awaited_or_not
@pytest.mark.parametrize(("use", "error"), [(use_store, ReplayStoreError), (use_log, HandoffLogError)])
def test_a_mistyped_path_makes_no_file(
    tmp_path: Path, use: Callable[..., object], error: type[HandoffError], awaited: bool
) -> None:
    """Unless told to create it, a file that is not there is an error that names the command which makes it."""
    url = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(error, match=r"ghasi-handoff (store|handoff) init") as caught:
        use(url, Opening(), awaited=awaited)
    assert type(caught.value) is error
    assert list(tmp_path.iterdir()) == []
    use(url, Opening(create=True), awaited=awaited)
    use(url, Opening(), awaited=awaited)
    assert (tmp_path / "none.db").exists()


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install. SQLite needs nothing."""
    monkeypatch.setattr(_open, "find_spec", lambda name: None if name in ("redis", "psycopg_pool") else find_spec(name))
    for scheme, extra in (("redis", "redis"), ("postgresql", "postgres")):
        with pytest.raises(ConfigurationError, match=rf"install ghasi-handoff\[{extra}\]"):
            product_of(f"{scheme}://h", "store")
    assert product_of("sqlite:///replay.db", "store").driver is None
