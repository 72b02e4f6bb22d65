"""The way to the endpoint, below openai's client: the key is put on here, and what comes back is bounded here.

openai's client, its log lines and its exceptions thus know neither the key nor an endless answer. This module imports the HTTP
library: import it where it is needed, not at the top of a module.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import httpx2

from pipelines.gateways.llm.settings import LlmSettings
from pipelines.gateways.secret import Secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# An answer of 32,768 tokens is some 130 kB.
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024

# At DEBUG they log the headers of answers as they came, in which an endpoint may repeat the key.
_TALKATIVE = ("httpcore2.connection", "httpcore2.http11", "httpcore2.http2", "httpcore2.proxy", "httpcore2.socks")


class _Guarded(httpx2.AsyncBaseTransport):
    """Signs requests, reads answers up to LARGEST_ANSWER_BYTES, and refuses packed ones, whose size nobody can know."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, key: Secret | None) -> None:
        self._inner = inner
        self._key = key

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = request.headers.copy()
        headers["Accept-Encoding"] = "identity"
        headers.pop("Authorization", None)
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        signed = httpx2.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )
        response = await self._inner.handle_async_request(signed)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        return httpx2.Response(response.status_code, headers=response.headers, content=body)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _read(response: httpx2.Response) -> bytes:
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise httpx2.RemoteProtocolError("the answer is packed, though it was asked for plain")
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_ANSWER_BYTES:
            raise httpx2.RemoteProtocolError("the answer is too large")
    return b"".join(chunks)


def open_client(settings: LlmSettings, key: Secret | None) -> AsyncOpenAI:
    """openai's client over the guarded transport, through a proxy where the system names one. It never retries by itself."""
    from openai import AsyncOpenAI

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.INFO)
    url = httpx2.URL(settings.base_url)
    proxy = None if proxy_bypass(url.host) else getproxies().get(url.scheme)
    limits = httpx2.Limits(max_connections=settings.workers, max_keepalive_connections=settings.workers)
    # Loading the system's certificates takes longer than a call on this machine; http has no use for them.
    network = httpx2.AsyncHTTPTransport(verify=url.scheme == "https", limits=limits, proxy=proxy)
    # A redirect would carry the key to another host.
    http = httpx2.AsyncClient(
        transport=_Guarded(network, key), timeout=settings.timeout_s, follow_redirects=False, trust_env=False
    )
    return AsyncOpenAI(
        api_key="put on by the transport",
        base_url=settings.base_url.rstrip("/"),
        max_retries=0,
        timeout=settings.timeout_s,
        http_client=http,
    )
