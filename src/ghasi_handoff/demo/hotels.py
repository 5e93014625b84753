"""What both services know of the hotels: data, and nothing else."""

from __future__ import annotations

from typing import Final, NamedTuple


class Room(NamedTuple):
    """A room that can be booked. Its price is in euro cents."""

    name: str
    property_id: str
    room_type_id: str
    cents_a_night: int


class Hotel(NamedTuple):
    """A hotel with a booking site of its own. Its rooms stand under the id that the form sends."""

    name: str
    tenant: str
    rooms: dict[str, Room]


# By the first part of the path of its booking site.
HOTELS: Final = {
    "aurora": Hotel(
        "Hotel Aurora",
        "tn_aurora",
        {
            "aurora-double": Room("Double room with a view of the fjord", "htl_0042", "rt_double", 15300),
            "aurora-family": Room("Family room under the roof", "htl_0042", "rt_family", 21900),
        },
    ),
    "borealis": Hotel(
        "Borealis Lodge",
        "tn_borealis",
        {"borealis-cabin": Room("Cabin by the lake", "htl_0077", "rt_cabin", 18400)},
    ),
}
