"""What the story's steps are called, why they are told, and what each of them does. `STEPS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ghasi_handoff.demo.story import ROOM, Happened, Story

INTRODUCTION: Final = (
    "A guest picks a room on the consumer site (bff-consumer) and is sent on to the hotel's own booking site"
    " (bff-tenant-booking). The link carries a handoff token: what the guest chose, signed, valid for minutes, good"
    " for one browser. Below, both services run as processes of their own on this machine, two browsers ask them over"
    " HTTP, and every answer is checked. Lines with | are from their logs, shortened."
)


class Step(NamedTuple):
    """A step of the story. `why` is one sentence that fits on one line, `call` the request or command to try."""

    title: str
    why: str
    call: str
    run: Callable[[Story], Happened]


STEPS: Final = (
    Step(
        "Two services",
        "Each is a process with a database of its own; they share a ring of keys.",
        "uvicorn --factory ghasi_handoff.demo.consumer:create_app   # and booking:create_app",
        Story.start,
    ),
    Step(
        "Book",
        "bff-consumer signs what the guest chose, writes it into its handoff log, and sends the guest on.",
        f"POST /book with room={ROOM}, two adults, three nights",
        Story.book,
    ),
    Step(
        "The landing page",
        "A GET verifies and changes nothing, so a link scanner's visit is harmless.",
        "HEAD, then GET /aurora/handoff?handoff=ghasi1...",
        Story.land,
    ),
    Step(
        "Redeemed",
        "The form gives the handoff to the browser with this cookie, and bff-consumer is told.",
        "POST /aurora/handoff",
        Story.redeem,
    ),
    Step(
        "The booking",
        "The guest is there, and the token is gone from the address.",
        "GET /aurora/booking/...",
        Story.see,
    ),
    Step(
        "A refresh and a double click",
        "The same browser may repeat everything: it finds its own booking, not a second one.",
        "GET /aurora/handoff?handoff=ghasi1..., then POST twice at once",
        Story.repeat,
    ),
    Step(
        "Another browser",
        "Whoever else finds the link, in a log or a chat, comes too late.",
        "GET /aurora/handoff?handoff=ghasi1..., then POST, with another cookie",
        Story.another_browser,
    ),
    Step(
        "Somebody else's booking",
        "The booking page belongs to the browser that redeemed; its address alone opens nothing.",
        "GET /aurora/booking/... from the other browser",
        Story.anothers_booking,
    ),
    Step(
        "A tampered token",
        "Somebody turns 2 adults into 9; without the secret, nobody can make a MAC that matches.",
        "GET and POST /aurora/handoff with the altered token",
        Story.tampered,
    ),
    Step(
        "A token for another hotel",
        "Both hotels' sites are one service; the page tells an outsider nothing, the log says it all.",
        "GET /borealis/handoff?handoff=ghasi1...",
        Story.another_hotel,
    ),
    Step(
        "A form on another site",
        "No other site can redeem for the guest: its form brings no cookie, and is refused.",
        "POST /aurora/handoff with Sec-Fetch-Site: cross-site",
        Story.cross_site,
    ),
    Step(
        "A cancelled handoff",
        "An operator revokes it in the handoff log before the guest has pressed the button.",
        "ghasi-handoff handoff revoke ID, then POST /aurora/handoff",
        Story.revoked,
    ),
    Step(
        "bff-consumer dies",
        "The booking side has the handoff already: it stays the guest's, and nobody else gets it.",
        "kill -9, then POST /aurora/handoff",
        Story.consumer_dies,
    ),
    Step(
        "bff-consumer is back",
        "The same browser tries again and succeeds.",
        "POST /aurora/handoff",
        Story.consumer_is_back,
    ),
    Step(
        "What became of it",
        "Both logs together tell support what happened to the first handoff.",
        "ghasi-handoff handoff trace ID",
        Story.trace,
    ),
    Step(
        "What the logs do not say",
        "Whoever reads a log must not be able to redeem, to book or to sign.",
        "grep ghasi1. bff-consumer.log bff-tenant-booking.log",
        Story.no_secrets,
    ),
)
