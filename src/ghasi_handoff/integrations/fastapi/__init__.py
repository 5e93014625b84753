"""The handshake on the web, for FastAPI. Needs the extra ``[fastapi]``.

bff-consumer includes `consumer_router`, and issues where its own pages need it. bff-tenant-booking includes
`landing_router`; an API that only reads a token depends on `verified_handoff`. Both may show which keys they have, by
`fingerprint_router`. `install_error_handlers` turns the library's errors into problem details.
"""

from ghasi_handoff.integrations.fastapi._access_log import AccessLogFilter
from ghasi_handoff.integrations.fastapi._consumer import consumer_router
from ghasi_handoff.integrations.fastapi._fingerprint import fingerprint_router
from ghasi_handoff.integrations.fastapi._problems import install_error_handlers
from ghasi_handoff.integrations.fastapi._router import landing_router
from ghasi_handoff.integrations.fastapi._settings import BookingSettings, ConsumerSettings
from ghasi_handoff.integrations.fastapi._verified import verified_handoff
from ghasi_handoff.landing import TEXTS, Page, PageTexts

__all__ = [
    "TEXTS",
    "AccessLogFilter",
    "BookingSettings",
    "ConsumerSettings",
    "Page",
    "PageTexts",
    "consumer_router",
    "fingerprint_router",
    "install_error_handlers",
    "landing_router",
    "verified_handoff",
]
