"""The published vectors of the consume call: the library and two independent programs agree, and notice a wrong one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.test_grammar import expression, rules_of
from tests.published_vectors import (
    FOLDER,
    PROGRAMS,
    ROOT,
    assert_agrees,
    assert_rejects_each,
    assert_written_by,
    flip,
    load,
    ring_of,
)

from ghasi_handoff import handshake
from ghasi_handoff.handshake import ConsumeCall, SQLiteHandoffLog, consume_signing_string
from ghasi_handoff.handshake._consume_call import RefusedCall, named_kid, verify_call

VECTORS = sorted((FOLDER / "consume").glob("*.json"))
RULES = {
    **rules_of((ROOT / "docs" / "spec" / "v1.md").read_text("utf-8")),
    "DQUOTE": '%x22',
    **rules_of((ROOT / "docs" / "spec" / "consume-v1.md").read_text("utf-8")),
}  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteHandoffLog]:
    """A log for all vectors: a new file for each would cost more than all that is tested."""
    with SQLiteHandoffLog(tmp_path_factory.mktemp("log") / "log.db") as opened:
        opened.create_schema()
        yield opened


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_library_agrees_with_the_vector(path: Path, log: SQLiteHandoffLog) -> None:
    """Status, code, the row afterwards and the signing string are what the vector says."""
    vector = load(path)
    keys, now = ring_of(vector), vector["now"]
    body = vector["body"].encode("utf-8", "surrogatepass")
    call = verify_call(vector["authorization"], body, keys, int(now))
    assert isinstance(call, RefusedCall) is (vector["expect"]["status"] == 401)
    if isinstance(call, ConsumeCall):
        kid = vector["authorization"][0].split("kid=")[1].split(",")[0]
        assert named_kid(vector["authorization"]) == kid
        assert consume_signing_string(kid=kid, **call._asdict()).decode() == vector["signing_string"]
    with log._file.session() as connection:
        connection.execute("DELETE FROM handoff_log")
    handoff = call.handoff_id if isinstance(call, ConsumeCall) else "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"
    put(log, handoff, vector["row"])
    request = handshake.ConsumeRequest(path_id=vector["path_id"], authorization=vector["authorization"], body=body)
    answer = handshake.answer_consume(request, log=log, keys=keys, clock=lambda: now)
    assert {"status": answer.status, "code": answer.code} == vector["expect"]
    assert taken(log.find(handoff)) == vector["row_after"]


@pytest.mark.parametrize(
    "authorization", [(), ("GHASI-CONSUME kid=k, mac=x", "GHASI-CONSUME kid=k, mac=x"), ("kid=k",)]
)
def test_a_call_names_a_key_in_one_header_of_its_own_shape(authorization: tuple[str, ...]) -> None:
    """A missing header, two headers and a header of another shape name no key to read the key file again for."""
    assert named_kid(authorization) is None


def put(log: SQLiteHandoffLog, handoff: str, row: dict[str, Any] | None) -> None:
    """Bring the log's row into the vector's state, by the log's own ways."""
    if row is None:
        return
    record = handshake.HandoffRecord(
        handoff_id=handoff, issuer=row["issuer"], audience=row["audience"], tenant="tn_aurora", kid="k", issued_at=0,
        expires_at=row["expires_at"],
    )  # fmt: skip
    log.record(record)
    if row["state"] == "revoked":
        log.revoke(handoff)
    elif row["state"] == "consumed":
        at = row["consumed_at"]
        log.consume(ConsumeCall(row["issuer"], row["audience"], handoff, row["redemption_id"], at, at), at)


def taken(record: handshake.HandoffRecord | None) -> dict[str, Any] | None:
    """A row of the log as a vector has it."""
    if record is None:
        return None
    names = ("issuer", "audience", "expires_at", "state", "redemption_id", "consumed_at")
    return {name: getattr(record, name) for name in names} | {"state": handshake.HandoffState(record.state).value}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_independent_program_agrees_with_every_vector(program: str) -> None:
    """A program that shares no code with the library comes to the same answer, for all vectors."""
    assert_agrees(program, VECTORS)


def test_there_are_vectors_of_every_kind() -> None:
    """Enough of each: a folder that lost its files would pass everything else."""
    counts = Counter((load(path)["expect"]["status"], load(path)["expect"]["code"]) for path in VECTORS)
    assert set(counts) == {
        (200, None), (401, "unauthenticated_call"), (404, "unknown_handoff"), (409, "replayed"), (410, "revoked_handoff"), (410, "expired"),
    }  # fmt: skip
    assert counts[200, None] >= 15
    assert counts[401, "unauthenticated_call"] >= 120
    assert counts[404, "unknown_handoff"] >= 15
    assert min(counts.values()) >= 2


def test_the_vectors_are_what_their_program_writes(tmp_path: Path) -> None:
    """Nobody edits a vector by hand: the program writes the same files again."""
    assert_written_by("make_consume_vectors", VECTORS, tmp_path)


def test_the_grammar_of_the_page_agrees() -> None:
    """The page's ABNF, turned into a recogniser, takes header and body of every authentic vector, and refuses what is malformed."""
    header, body = (re.compile(expression(RULES, name)).fullmatch for name in ("authorization", "body"))
    for path in VECTORS:
        vector = load(path)
        name = path.stem
        if vector["expect"]["status"] != 401:
            assert header(vector["authorization"][0]), name
            assert body(vector["body"]), name
            assert re.fullmatch(expression(RULES, "signing-string"), vector["signing_string"]), name
        elif name.startswith("refuse-401-header-") and len(vector["authorization"]) == 1:
            assert not header(vector["authorization"][0]), name
        elif name.startswith("refuse-401-body-") and not name.endswith(("too-large", "over-1024")):
            assert not body(vector["body"]), name


# What may be wrong with a vector, each planted into good ones.
PLANTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "status": lambda v: v | {"expect": {"status": 409 if v["expect"]["status"] != 409 else 404, "code": "replayed" if v["expect"]["status"] != 409 else "unknown_handoff"}},
    "code": lambda v: v | {"expect": v["expect"] | {"code": "nonsense"}},
    "row-after-state": lambda v: v | {"row_after": (v["row_after"] or v["row"] or {}) | {"state": "revoked", "redemption_id": None, "consumed_at": None}},
    "row-after-redemption": lambda v: v | {"row_after": v["row_after"] | {"redemption_id": "2" * 64}},
    "row-after-consumed-at": lambda v: v | {"row_after": v["row_after"] | {"consumed_at": v["row_after"]["consumed_at"] + 1}},
    "row-after-untouched": lambda v: v | {"row_after": v["row"]},
    "row-after-gone": lambda v: v | {"row_after": None},
    "signing-string": lambda v: v | {"signing_string": v["signing_string"] + "\n"},
    "signing-string-missing": lambda v: {name: value for name, value in v.items() if name != "signing_string"},
    "body-bit": lambda v: v | {"body": flip(v["body"], 20)},
    "header-kid": lambda v: v | {"authorization": [v["authorization"][0].replace("2026-11a", "2026-11b")]},
    "header-twice": lambda v: v | {"authorization": v["authorization"] * 2},
    "mac-bit": lambda v: v | {"authorization": [flip(v["authorization"][0], len(v["authorization"][0]) - 9)]},
    "secret": lambda v: v | {"keys": [k | {"secret_hex": flip(k["secret_hex"], 5)} for k in v["keys"]]},
    "revoked": lambda v: v | {"keys": [k | {"revoked_at": 1} for k in v["keys"]]},
    "clock-ahead": lambda v: v | {"now": v["now"] + 5000},
    "clock-behind": lambda v: v | {"now": v["now"] - 5000},
    "path": lambda v: v | {"path_id": flip(v["path_id"], 30)},
    "row-issuer": lambda v: v | {"row": v["row"] | {"issuer": "other"}},
    "row-audience": lambda v: v | {"row": v["row"] | {"audience": "other"}},
    "row-revoked": lambda v: v | {"row": v["row"] | {"state": "revoked"}},
    "row-over": lambda v: v | {"row": v["row"] | {"expires_at": 60}, "row_after": v["row_after"] | {"expires_at": 60}},
    "row-expires": lambda v: v | {"row": v["row"] | {"expires_at": v["row"]["expires_at"] + 1}},
    "row-holder": lambda v: v | {"row": v["row"] | {"state": "consumed", "redemption_id": "2" * 64, "consumed_at": 1}},
    "row-gone": lambda v: v | {"row": None},
    "member-missing": lambda v: {name: value for name, value in v.items() if name != "path_id"},
    "member-unknown": lambda v: v | {"comment": "x"},
    "row-inconsistent": lambda v: v | {"row": v["row"] | {"state": "issued", "redemption_id": "2" * 64}},
}  # fmt: skip


def with_row(vector: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return vector | {name: vector[name] | facts for name in ("row", "row_after")}


# What is wrong with the file itself, planted into a refused call with a consumed row: the answer alone would not show it.
MALFORMED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "description-empty": lambda v: v | {"description": ""},
    "clock-true": lambda v: v | {"now": True},
    "path-number": lambda v: v | {"path_id": 1},
    "authorization-text": lambda v: v | {"authorization": v["authorization"][0]},
    "authorization-number": lambda v: v | {"authorization": [1]},
    "body-object": lambda v: v | {"body": json.loads(v["body"])},
    "status-text": lambda v: v | {"expect": v["expect"] | {"status": str(v["expect"]["status"])}},
    "expect-member": lambda v: v | {"expect": v["expect"] | {"reason": "stale"}},
    "signing-string-too-many": lambda v: v | {"signing_string": ""},
    "row-list": lambda v: v | {"row": [], "row_after": []},
    "row-member": lambda v: with_row(v, tenant="tn_aurora"),
    "row-state": lambda v: with_row(v, state="late"),
    "row-name": lambda v: with_row(v, issuer="bff consumer"),
    "row-redemption": lambda v: with_row(v, redemption_id=v["row"]["redemption_id"].upper()),
    "row-consumed-at": lambda v: with_row(v, consumed_at=-1),
    "row-expires-at": lambda v: with_row(v, expires_at=253402300800),
    "row-expires-true": lambda v: with_row(v, expires_at=True),
    "key-date": lambda v: v | {"keys": [k | {"revoked_at": -1} for k in v["keys"]]},
    "key-member": lambda v: v | {"keys": [k | {"note": ""} for k in v["keys"]]},
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_planted_wrong_vector_is_rejected(program: str, tmp_path: Path) -> None:
    """Each way in which a vector can be wrong is noticed, file by file."""
    worked = load(FOLDER / "consume" / "confirm-worked-example.json")
    planted = {name: change(worked) for name, change in PLANTED.items()}
    firsts: dict[str, dict[str, Any]] = {}
    for path in VECTORS:
        vector = load(path)
        firsts.setdefault(str(vector["expect"]), vector)
    for n, vector in enumerate(firsts.values()):
        planted |= {f"{name}-{n}": PLANTED[name](vector) for name in ("status", "code", "member-unknown")}
        if vector["row"] is not None and vector["row_after"] is not None and vector["row"]["state"] != "revoked":
            planted[f"row-after-state-{n}"] = PLANTED["row-after-state"](vector)
    stale = load(FOLDER / "consume" / "refuse-401-stale-repetition.json")
    planted |= {f"malformed-{name}": change(stale) for name, change in MALFORMED.items()}
    texts = {name: json.dumps(vector) for name, vector in planted.items()}
    texts["not-json"] = json.dumps(worked)[:-1]
    texts["member-twice"] = json.dumps(worked)[:-1] + ', "now": 1}'
    assert_rejects_each(program, texts, tmp_path)
