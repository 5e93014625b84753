"""TLS connection -> the site whose name it asks for -> plain HTTP on loopback, as an ingress does.

python -m tests.browser.front PORT CERTIFICATE NAME=PORT NAME=PORT ...
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys


async def serve(port: int, certificate: str, sites: dict[str, int]) -> None:
    """Serve until the process ends."""
    names: dict[int, str] = {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: names.__setitem__(id(connection), name or "")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = names.pop(id(writer.get_extra_info("ssl_object")))
        with contextlib.suppress(OSError):
            # A site that is down: the connection is closed, as by an ingress without a healthy backend.
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", sites[name])
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=context)
    async with server:
        await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    _pairs = (argument.rsplit("=", 1) for argument in sys.argv[3:])
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], {name: int(inner) for name, inner in _pairs}))
