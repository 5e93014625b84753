"""``?handoff=TOKEN`` -> a verified handoff, as a dependency. `verified_handoff`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Query, Request

from ghasi_handoff._require import require_callables
from ghasi_handoff._verify import VerifiedHandoff, Verifier
from ghasi_handoff.errors import MalformedTokenError
from ghasi_handoff.integrations.fastapi._problems import UnknownTenantError
from ghasi_handoff.integrations.fastapi._starlette import Tenant, called, hide_query_in_span
from ghasi_handoff.keyfile import catch_up
from ghasi_handoff.landing._guest_request import named_kid
from ghasi_handoff.payload import HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)


def verified_handoff(
    verifier: Verifier[_PayloadT], *, tenant: Tenant
) -> Callable[..., Awaitable[VerifiedHandoff[_PayloadT]]]:
    """A dependency that reads the query's ``handoff`` and gives the `VerifiedHandoff`; nothing is consumed.

    For a page or API that may look at a handoff but not use it up: a preview of the price, say. Anybody who has the
    token can do so as often as they like. What is refused is raised; see `install_error_handlers`.

    Args:
        verifier: Judges the token.
        tenant: Gives the hotel whose site was asked, by host or path; None is a 404.

    Raises:
        ConfigurationError: `tenant` cannot be called.

    >>> from typing import Annotated
    >>> from fastapi import Depends, FastAPI
    >>> from ghasi_handoff import BookingHandoff, KeyRing, VerifiedHandoff
    >>> verifier = Verifier(KeyRing.generate(), issuer="bff-consumer", audience="bff-tenant-booking")
    >>> handoff = verified_handoff(verifier, tenant=lambda request: "tn_aurora")
    >>> app = FastAPI()
    >>> @app.get("/preview")
    ... async def preview(handoff: Annotated[VerifiedHandoff[BookingHandoff], Depends(handoff)]) -> int:
    ...     return handoff.payload.adults
    """
    require_callables(tenant=tenant)

    async def dependency(
        request: Request,
        handoff: Annotated[list[str], Query(description="The handoff token, exactly once.")] = [],  # noqa: B006
    ) -> VerifiedHandoff[_PayloadT]:
        hide_query_in_span(request.scope)
        site = await called(tenant, request)
        if site is None:
            raise UnknownTenantError
        if len(handoff) != 1:  # two readers of two could differ
            raise MalformedTokenError("the query must have the parameter handoff exactly once")
        await catch_up(verifier.key_source, named_kid(handoff[0]))
        return verifier.verify(handoff[0], tenant=site)

    return dependency
