"""The published vectors: the library and two independent programs agree on each, and the programs notice a wrong one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import HandoffError, Verifier, signing_string
from tests.minter_and_verifier import at
from tests.published_vectors import (
    FOLDER,
    PROGRAMS,
    assert_agrees,
    assert_rejects_each,
    assert_written_by,
    check,
    flip,
    load,
    ring_of,
)

VECTORS = sorted(FOLDER.glob("*.json"))


def verifier_of(vector: dict[str, Any]) -> Verifier:
    return Verifier(
        ring_of(vector),
        issuer=vector["issuer"],
        audience=vector["audience"],
        leeway=timedelta(seconds=vector["leeway"]),
        max_lifetime=timedelta(seconds=vector["max_lifetime"]),
        clock=lambda: vector["now"],
    )


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_library_agrees_with_the_vector(path: Path) -> None:
    """The result, or the code of the refusal, is what the vector says."""
    vector = load(path)
    verifier = verifier_of(vector)
    if vector["expect"] != "accepted":
        with pytest.raises(HandoffError) as caught:
            verifier.verify(vector["token"], tenant=vector["tenant"])
        assert caught.value.code == vector["expect"]
        return
    handoff = verifier.verify(vector["token"], tenant=vector["tenant"])
    facts: dict[str, Any] = {
        "handoff_id": handoff.handoff_id,
        "issued_at": vector["issued_at"],
        "expires_at": vector["expires_at"],
    }
    assert facts["handoff_id"] == vector["handoff_id"]
    assert handoff.issued_at == at(vector["issued_at"])
    assert handoff.expires_at == at(vector["expires_at"])
    assert json.loads(handoff.payload.model_dump_json(exclude_defaults=True)) == vector["payload"]
    lines = vector["signing_string"].split("\n", 9)
    payload = lines[9].encode()
    addressee: dict[str, Any] = {"issuer": handoff.issuer, "audience": handoff.audience, "tenant": handoff.tenant}
    assert signing_string(kid=handoff.kid, payload=payload, **addressee, **facts).decode() == vector["signing_string"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_independent_program_agrees_with_every_vector(program: str) -> None:
    """A verifier that shares no code with the library comes to the same result, for all vectors."""
    assert_agrees(program, VECTORS)


def test_there_are_vectors_of_every_kind() -> None:
    """Enough of each: a folder that lost its files would pass everything else."""
    counts = Counter(load(path)["expect"] for path in VECTORS)
    assert counts["accepted"] >= 25
    assert counts.total() - counts["accepted"] >= 80
    assert set(counts) == {
        "accepted", "malformed", "unknown_key", "revoked_key", "retired_key", "invalid_mac", "wrong_issuer", "wrong_audience", "wrong_tenant",
        "lifetime_too_long", "not_yet_valid", "expired", "invalid_payload",
    }  # fmt: skip
    assert min(counts.values()) >= 5


def test_the_vectors_are_what_their_program_writes(tmp_path: Path) -> None:
    """Nobody edits a vector by hand: the program writes the same files again."""
    assert_written_by("make_vectors", VECTORS, tmp_path)


# What may be wrong with a vector, each planted into a good one. Accepted and refused ones are tried apart.
PLANTED_IN_ACCEPTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "refused-instead": lambda v: {name: v[name] for name in list(v)[: list(v).index("expect")]} | {"expect": "expired"},
    "signing-string": lambda v: v | {"signing_string": v["signing_string"].replace("\n", "\n ", 1)},
    "handoff-id": lambda v: v | {"handoff_id": flip(v["handoff_id"], 30)},
    "issued-at": lambda v: v | {"issued_at": v["issued_at"] + 1},
    "expires-at": lambda v: v | {"expires_at": v["expires_at"] - 1},
    "payload-value": lambda v: v | {"payload": v["payload"] | {"adults": v["payload"]["adults"] + 1}},
    "payload-type": lambda v: v | {"payload": v["payload"] | {"adults": True}},
    "payload-member": lambda v: v | {"payload": v["payload"] | {"extra": 1}},
    "token-body": lambda v: v | {"token": flip(v["token"], len(v["token"]) // 2)},
    "token-mac": lambda v: v | {"token": flip(v["token"], len(v["token"]) - 10)},
    "token-version": lambda v: v | {"token": v["token"].replace("ghasi1", "ghasi2")},
    "token-kid": lambda v: v | {"token": v["token"].replace(".", ".z", 1)},
    "secret": lambda v: v | {"keys": [k | {"secret_hex": flip(k["secret_hex"], 5)} for k in v["keys"]]},
    "revoked": lambda v: v | {"keys": [k | {"revoked_at": 1} for k in v["keys"]]},
    "issuer": lambda v: v | {"issuer": "other"},
    "audience": lambda v: v | {"audience": "other"},
    "tenant": lambda v: v | {"tenant": "other"},
    "clock-ahead": lambda v: v | {"now": v["now"] + 5000},
    "clock-behind": lambda v: v | {"now": v["now"] - 5000},
    "max-lifetime": lambda v: v | {"max_lifetime": 1},
    "member-missing": lambda v: {name: value for name, value in v.items() if name != "signing_string"},
    "member-unknown": lambda v: v | {"comment": "x"},
}
PLANTED_IN_REFUSED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "other-code": lambda v: v | {"expect": "expired" if v["expect"] != "expired" else "not_yet_valid"},
    "unknown-code": lambda v: v | {"expect": "rejected"},
    "accepted-instead": lambda v: v | {"expect": "accepted", "signing_string": "", "handoff_id": "", "issued_at": 0, "expires_at": 0, "payload": {}},
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_planted_wrong_vector_is_rejected(program: str, tmp_path: Path) -> None:
    """Each way in which a vector can be wrong is noticed, file by file: a checker that nods everything through would not be one."""
    worked = load(FOLDER / "accept-worked-example.json")
    planted = {f"accept-{name}": change(worked) for name, change in PLANTED_IN_ACCEPTED.items()}
    firsts: dict[str, dict[str, Any]] = {}
    for path in VECTORS:
        vector = load(path)
        firsts.setdefault(vector["expect"], vector)
    for code, vector in firsts.items():
        if code != "accepted":
            planted |= {f"{code}-{name}": change(vector) for name, change in PLANTED_IN_REFUSED.items()}
            planted[f"{code}-accepted-token"] = vector | {name: worked[name] for name in ("keys", "issuer", "audience", "leeway", "max_lifetime", "tenant", "now", "token")}  # fmt: skip
    texts = {name: json.dumps(vector) for name, vector in planted.items()}
    assert_rejects_each(program, texts | {"not-json": "{"}, tmp_path)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_say_how_they_are_used(program: str) -> None:
    """Without files they exit with 2 and say what they expect."""
    done = check(program, [])
    assert done.returncode == 2
    assert done.stderr + done.stdout
