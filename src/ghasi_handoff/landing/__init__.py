"""The page where a guest arrives, for any web framework: a request's facts in, an answer out.

`Landing` is for threads, `AsyncLanding` for asyncio. An adapter reads a `GuestRequest`, and sends the `Answer`.
`ghasi_handoff.integrations.fastapi.landing_router` is one.
"""

from ghasi_handoff.landing._answer import Answer
from ghasi_handoff.landing._guest_request import GuestRequest
from ghasi_handoff.landing._landing import Landing
from ghasi_handoff.landing._landing_async import AsyncLanding
from ghasi_handoff.landing._pages import Page
from ghasi_handoff.landing._texts import TEXTS, Message, PageTexts

__all__ = ["TEXTS", "Answer", "AsyncLanding", "GuestRequest", "Landing", "Message", "Page", "PageTexts"]
