"""The check: each aggregate, planted in each spelling, is found at its line; what is no entry does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghasi_handoff.sync_contract import BFF_CONSUMER, check_registry, read_registry

from .registries import AGGREGATES, FIXTURES, SERVICE, SPELLINGS, entry, json_spellings, module, names, read, write

LISTED = [
    ("reservation-service", "Reservation"),
    ("reservation-service", "GroupBlock"),
    ("housekeeping-service", "RoomStatus"),
    ("housekeeping-service", "CleaningTask"),
    ("front-desk-service", "ShiftHandover"),
    ("property-service", "RoomType"),
]


@pytest.mark.parametrize("name", ["registry.ts", "registry.json"])
def test_realistic_registry_is_read_and_passes(name: str) -> None:
    """A registry as the platform has it: all its entries are read, by both readers alike, and none is a finding."""
    assert names(read_registry(FIXTURES / name)) == LISTED
    assert check_registry(FIXTURES / name) == ()


def test_scope_and_policy_are_read_too() -> None:
    """What an entry says besides its names is read, through a spread and a constant of the same file."""
    first = read_registry(FIXTURES / "registry.ts")[0]
    assert (first.scope, first.conflict_policy) == ("property", "LWW_DIFF")
    assert {(one.scope, one.conflict_policy) for one in read_registry(FIXTURES / "registry.json")} == {
        ("property", "lww+diff"),
        ("tenant", "n/a"),
    }


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_planted_aggregate_is_found_in_each_spelling(tmp_path: Path, spelling: str, aggregate: str) -> None:
    """An aggregate of bff-consumer-service fails the check, however TypeScript writes it, and whoever claims it."""
    for service in (SERVICE, "guest-service"):
        text = SPELLINGS[spelling](service, aggregate)
        path = write(tmp_path, text)
        (finding,) = check_registry(path)
        assert (finding.service_name, finding.aggregate, finding.rule) == (service, aggregate, "bff-consumer-aggregate")
        assert finding.reason.endswith({one.name: one.reason for one in BFF_CONSUMER.aggregates}[aggregate])
        assert finding.at.file == str(path)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_planted_service_is_found_in_each_spelling(tmp_path: Path, spelling: str) -> None:
    """Whatever bff-consumer-service puts there fails the check, also an aggregate that nobody has heard of."""
    (finding,) = check_registry(write(tmp_path, SPELLINGS[spelling](SERVICE, "SomethingNew")))
    assert (finding.rule, finding.aggregate) == ("bff-consumer-service", "SomethingNew")
    assert all(reason in finding.reason for reason in BFF_CONSUMER.reasons)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_services_pass_in_each_spelling(tmp_path: Path, spelling: str) -> None:
    """The spelling alone is no finding: an entry that belongs there is read and passes."""
    path = write(tmp_path, SPELLINGS[spelling]("room-service", "RoomStatus"))
    assert ("room-service", "RoomStatus") in names(read_registry(path))
    assert check_registry(path) == ()


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_planted_aggregate_is_found_in_json(tmp_path: Path, aggregate: str) -> None:
    """The same in JSON, in each form of it."""
    for service in (SERVICE, "guest-service"):
        for _, text in json_spellings(service, aggregate):
            (finding,) = check_registry(write(tmp_path, text, "registry.json"))
            assert (finding.service_name, finding.aggregate) == (service, aggregate)


SLIPPING_IN = {
    "bff-consumer-name": [
        *(("guest-service", f"{name}Anything") for name in ("bff-consumer.", "BFF-Consumer.", "bff-consumer-service.")),
        *(("guest-service", "bff-consumer."), (SERVICE, "bff-consumer.Wishlist")),
    ],
    "bff-consumer-service": [("BFF-CONSUMER-SERVICE", "Anything"), ("bff-consumer", "Anything")],
    "bff-consumer-aggregate": [("guest-service", "wishlist")],
}


@pytest.mark.parametrize(
    ("rule", "service", "aggregate"), [(rule, *names) for rule, every in SLIPPING_IN.items() for names in every]
)
def test_name_by_which_it_could_slip_in_is_found(tmp_path: Path, rule: str, service: str, aggregate: str) -> None:
    """Names with the service's prefix, its short name, or other capitals are meant too."""
    (finding,) = check_registry(write(tmp_path, module(entry(service, aggregate))))
    assert finding.rule == rule


@pytest.mark.parametrize(
    ("service", "aggregate"),
    [
        ("bff-tenant-booking-service", "Booking"),
        ("bff-consumer-service-2", "Room"),
        ("room-service", "WishlistItem"),
        ("room-service", "bff-consumers.Room"),
        ("room-service", "rooms.bff-consumer"),
    ],
)
def test_name_that_only_looks_alike_passes(tmp_path: Path, service: str, aggregate: str) -> None:
    """A name is compared whole: no other service pays for the likeness of its name."""
    assert check_registry(write(tmp_path, module(entry(service, aggregate)))) == ()


def test_finding_names_file_line_and_column(tmp_path: Path) -> None:
    """A pull request can show the finding at the name that is wrong, behind letters of any width too."""
    lines = [
        "const größe = '🛏'; export const syncRegistry = [",
        "  { /* 🛏️é */ serviceName: 'bff-consumer-service', aggregate: 'X', scope: '', conflictPolicy: '' },",
        "  {",
        "    serviceName: 'room-service',",
        "    scope: '', conflictPolicy: '',",
        "    aggregate: 'BotScore',",
        "  },",
        "];",
    ]
    first, second = check_registry(write(tmp_path, "\n".join(lines)))
    assert (first.at.line, first.at.column) == (2, lines[1].index("serviceName") + 1)
    assert (second.at.line, second.at.column) == (6, 5)


def test_finding_in_a_spread_constant_is_at_the_constant(tmp_path: Path) -> None:
    """The line to change is where the entry is written, not where it is spread."""
    text = "const MORE = [\n\n" + entry(SERVICE, "X") + ",\n];\nexport const syncRegistry = [...MORE];\n"
    (finding,) = check_registry(write(tmp_path, text))
    assert finding.at.line == 3


@pytest.mark.parametrize("indent", [None, 2])
def test_finding_in_json_names_line_and_column(tmp_path: Path, indent: int | None) -> None:
    """JSON too, on its first line as on any other."""
    text = next(text for name, text in json_spellings(SERVICE, "Wishlist") if name == "array")
    if indent:
        text = text.replace(", {", ",\n  {")
    (finding,) = check_registry(write(tmp_path, text, "r.json"))
    line = text.split("\n")[finding.at.line - 1]
    assert line[finding.at.column - 1 :].startswith('"aggregate": "Wishlist"')


@pytest.mark.parametrize(
    "text",
    [
        f"// {entry(SERVICE, 'Wishlist')}\n" + module(),
        f"/* {entry(SERVICE, 'Wishlist')} */" + module(),
        module(before=f"/** {entry(SERVICE, 'Wishlist')}\n */\n"),
        module(f"// {entry(SERVICE, 'Wishlist')}\n" + entry("room-service", "Bed")),
        module(f"/* {entry(SERVICE, 'Wishlist')}, */ " + entry("room-service", "Bed")),
        module(before=f'const text = "{entry(SERVICE, "Wishlist")}";\n'),
        module(before=f"const text = `[{entry(SERVICE, 'Wishlist')}]`;\n"),
        module(before=f"const notSynced = [{entry(SERVICE, 'Wishlist')}];\n"),
        module(before=f"namespace Old {{ export const notSynced = [{entry(SERVICE, 'Wishlist')}]; }}\n"),
        module(before=f"function f() {{ const other = [{entry(SERVICE, 'Wishlist')}]; return other; }}\n"),
        module(before=f"type Never = {entry(SERVICE, 'Wishlist').replace(',', ';')};\n"),
        module(
            "{ serviceName: 'room-service', aggregate: 'Bed', scope: 'Wishlist', conflictPolicy: 'bff-consumer.x' }"
        ),
        module(
            "{ nested: { serviceName: 'bff-consumer-service' }, serviceName: 'a', aggregate: 'b', scope: '', conflictPolicy: '' }"
        ),
        module(
            "{ serviceName: 'bff-consumer-service', aggregate: 'b', scope: '', conflictPolicy: '', serviceName: 'a' }"
        ),
    ],
)
def test_what_is_no_entry_does_not_count(tmp_path: Path, text: str) -> None:
    """Comments, strings, types, other arrays and other members name bff-consumer, and nothing of it is replicated."""
    assert check_registry(write(tmp_path, text)) == ()


def test_empty_registry_is_read(tmp_path: Path) -> None:
    """A registry that is written out as empty replicates nothing, and that is certain."""
    assert read(tmp_path, "export const syncRegistry: Entry[] = [];") == []
    assert read(tmp_path, "[]", "registry.json") == []


def test_all_findings_are_told(tmp_path: Path) -> None:
    """Every entry of bff-consumer-service is a finding of its own, in the order of the file."""
    path = write(tmp_path, module(*(entry(SERVICE, aggregate) for aggregate in AGGREGATES)))
    assert [finding.aggregate for finding in check_registry(path)] == AGGREGATES
