"""vLLM, and any other server with OpenAI's HTTP API. Bytes pass in both directions without parsing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from pointsman.experts.backend_spec import BackendSetup, BackendSpec
from pointsman.experts.backends.way_options import ClientCertificate, WayOptions, tls_context
from pointsman.experts.errors import (
    ExpertError,
    ExpertMisconfigured,
    ExpertProtocolError,
    ExpertSaturated,
    ExpertStreamBroken,
    ExpertTimeout,
    ExpertUnavailable,
)
from pointsman.experts.http1.client import ConnectionLimits, HttpClient, Timeouts
from pointsman.experts.http1.failures import (
    BodyBroken,
    ClientClosedError,
    ConnectError,
    ConnectTimeout,
    HeadTimeout,
    HttpFailure,
    IdleTimeout,
    PoolTimeout,
)
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.proxy import Proxy
from pointsman.experts.http1.response import Headers, Response, Sink
from pointsman.experts.protocols import Endpoint, ExpertCall
from pointsman.experts.spec import ENDPOINT_CAPABILITIES, Capability, ExpertSpec

#: Request headers this backend writes itself; a client's own never replace or double them.
OWN_HEADERS = frozenset(
    (
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"user-agent",
        b"x-api-key",
    )
)

_PROBE_HEAD_TIMEOUT_S = 5.0
#: The version that Anthropic's API wants named with every request.
_ANTHROPIC_VERSION = b"2023-06-01"
#: Of the answer to a probe, so much is read for the sake of its connection.
_MOST_PROBE_BYTES = 4 * 1024 * 1024


class OpenAIHttpOptions(WayOptions):
    """Options of `openai_http`."""

    probe_path: str | None = Field(default=None, pattern=r"^/[!-~]*$")
    """Where the server says whether it is well, such as `/healthz`, from its root. Any answer but a 2xx
    then counts as unwell. When left out: `/health`, then the list of models, and a 5xx alone counts as unwell."""


class OpenAIHttpExpert:
    """An expert behind OpenAI's HTTP API.

    `base_url` is what OpenAI's own client takes: `https://host/v1beta/openai` sends a chat to
    `/v1beta/openai/chat/completions`. A host without a path means `/v1`: `http://host:8000` and `http://host:8000/v1/`
    both send a chat to `http://host:8000/v1/chat/completions`.

    Args:
        spec: What it is; `spec.model` is the id the server knows, and stands in the body already.
        base_url: `http://`, `https://` or `http+unix://` (socket path percent-encoded as the host).
        api_key: Sent as a bearer token; None for none. A client's own credentials are never passed on.
        headers: Further headers for every request.
        timeouts: Of connecting, queueing, and waiting for bytes.
        max_connections: Open connections to the server; calls beyond wait in line. None for as many as there are calls.
        verify_tls: False accepts any certificate (a lab with self-signed ones); a string is a path to a CA bundle.
        probe_path: The one path to probe, from the server's root; None for `/health`, then the list of models.
        proxy: The forward proxy to go through; None for none.
        client_certificate: Paths of a certificate to show and of its key; None for the key where one file holds both.

    Raises:
        ExpertMisconfigured: The URL, a header or the CA bundle is unusable.
    """

    def __init__(
        self,
        spec: ExpertSpec,
        base_url: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int | None = None,
        verify_tls: bool | str = True,
        probe_path: str | None = None,
        proxy: Proxy | None = None,
        client_certificate: ClientCertificate | None = None,
    ) -> None:
        self._spec = spec
        self._probe_path = probe_path
        try:
            origin = Origin.parse(base_url)
            if not origin.path:
                origin = replace(origin, path="/v1")
            fixed, tls = _fixed_headers(api_key, headers or {}), tls_context(origin, verify_tls, client_certificate)
            self._client = HttpClient(
                origin,
                headers=fixed,
                timeouts=timeouts,
                limits=ConnectionLimits(max_connections),
                tls=tls,
                proxy=proxy,
                translate=self._translate,
            )
            # A connection apart: a server that is busy with every other one is not sick.
            self._probe_client = HttpClient(
                replace(origin, path=""),
                headers=fixed,
                timeouts=timeouts,
                limits=ConnectionLimits(1),
                tls=tls,
                proxy=proxy,
                translate=self._translate,
            )
            self._prepared = {
                endpoint: self._client.prepare("POST", f"/{endpoint}", _endpoint_headers(endpoint, api_key))
                for endpoint in Endpoint
            }
            usual = (f"{origin.path.removesuffix('/v1')}/health", f"{origin.path}/models")
            headers_of_probe = _probe_headers(spec, api_key)
            self._probes = tuple(
                self._probe_client.prepare("GET", path, headers_of_probe)
                for path in ((probe_path,) if probe_path else usual)
            )
        except (ValueError, OSError) as error:
            raise ExpertMisconfigured(spec.name, f"cannot be reached as configured: {error}") from error

    @property
    def spec(self) -> ExpertSpec:
        """What it is."""
        return self._spec

    async def start(self) -> None:
        """Nothing to prepare: connections open with the calls that need them."""

    async def call(self, call: ExpertCall) -> Response:
        """Send the body as it is and return when the head of the answer is here. The reply's bytes are the server's."""
        response = Response(asyncio.get_running_loop())
        self.send(call, response)
        try:
            await response.head()
        except ExpertError as error:
            error.sent_twice = response.sent_twice
            raise
        return response

    def send(self, call: ExpertCall, sink: Sink) -> None:
        """As `call`, without waiting: each piece of the reply goes to a sink when it arrives.

        Raises:
            ExpertError: The request cannot be sent.
        """
        try:
            self._client.send(
                self._prepared[call.endpoint],
                _headers_of(call),
                call.body,
                sink,
                head_timeout_s=call.head_timeout_s,
                idle_timeout_s=call.idle_timeout_s,
            )
        except ValueError as error:  # a header value with a line break in it
            raise ExpertError(self._spec.name, f"request refused: {error}", sent=False) from error

    async def probe(self) -> str | None:
        """GET /health as vLLM answers it; where that says nothing, GET the list of models.

        A server that has neither page, or keeps it from us, answers all the same: what its calls bring says the rest.
        """
        for prepared in self._probes:
            try:
                async with asyncio.timeout(_PROBE_HEAD_TIMEOUT_S):
                    reply = await self._probe_client.request(prepared)
                    try:
                        await _read_some(reply)
                    finally:
                        await reply.aclose()
            except TimeoutError:
                return f"no answer to a probe within {_PROBE_HEAD_TIMEOUT_S:g} s"
            except ExpertError as error:
                return error.message
            if 200 <= reply.status < 300:
                return None
            if self._probe_path or (reply.status >= 500 and reply.status != 501):
                return f"answers a probe with HTTP {reply.status}"
        return None

    async def aclose(self) -> None:
        """Close every connection, busy ones too."""
        await self._client.aclose()
        await self._probe_client.aclose()

    def _translate(self, failure: HttpFailure) -> ExpertError:
        name, message = self._spec.name, str(failure)
        match failure:
            case PoolTimeout():
                return ExpertSaturated(name, message)
            case ConnectTimeout():
                return ExpertTimeout(name, message, sent=False)
            case HeadTimeout() | IdleTimeout():
                return ExpertTimeout(name, message)
            case ClientClosedError():
                return ExpertUnavailable(name, message)
            case ConnectError():
                return ExpertUnavailable(name, f"cannot connect: {message}", sent=False)
            case BodyBroken():
                return ExpertStreamBroken(name, message)
            case _:  # ConnectionLostError, BadResponse: something was answered, or began to be, that is no response
                return _before_head(name, failure)


async def _read_some(reply: Response) -> None:
    """Read an answer of which only the status matters: to its end, unless that is far."""
    size = 0
    async for piece in reply:
        size += len(piece)
        if size > _MOST_PROBE_BYTES:
            return


def _headers_of(call: ExpertCall) -> Headers:
    """The client's headers that travel on, and an id by which the logs of both sides can be joined."""
    names = [name for name, _ in call.headers]
    headers = call.headers
    if not OWN_HEADERS.isdisjoint(names):
        headers = tuple(pair for pair in headers if pair[0] not in OWN_HEADERS)
    if b"x-request-id" not in names:
        headers = (*headers, (b"x-request-id", call.request_id.encode()))
    return headers


def _before_head(name: str, failure: HttpFailure) -> ExpertError:
    if getattr(failure, "received", True):
        return ExpertProtocolError(name, str(failure))
    return ExpertUnavailable(name, str(failure))


def _fixed_headers(api_key: str | None, headers: Mapping[str, str]) -> Headers:
    try:
        further = tuple((key.lower().encode("ascii"), value.encode("latin-1")) for key, value in headers.items())
        key = () if api_key is None else ((b"authorization", f"Bearer {api_key}".encode("ascii")),)
    except UnicodeEncodeError:
        # Without the value: it may be a key.
        raise ValueError("a header or the API key holds characters that HTTP headers cannot") from None
    named = {name for name, _ in further}
    reserved = named & (OWN_HEADERS - {b"authorization", b"user-agent"})
    if reserved:
        raise ValueError(f"the headers {sorted(name.decode() for name in reserved)} are written by the gateway itself")
    if key and b"authorization" in named:
        raise ValueError("both an API key and an authorization header are given")
    own: Headers = ((b"accept-encoding", b"identity"),)
    if b"user-agent" not in named:
        own = (*own, (b"user-agent", b"pointsman"))
    return (*own, *key, *further)


def _endpoint_headers(endpoint: Endpoint, api_key: str | None) -> Headers:
    """Anthropic's API takes keys in a header of its own; other servers with that API take a bearer token as well."""
    headers: Headers = ((b"content-type", b"application/json"),)
    if api_key is None or endpoint not in (Endpoint.MESSAGES, Endpoint.COUNT_TOKENS):
        return headers
    return (*headers, (b"x-api-key", api_key.encode("ascii")))


def _probe_headers(spec: ExpertSpec, api_key: str | None) -> Headers:
    """What Anthropic's API wants of every request, where the expert speaks it."""
    if Capability.MESSAGES not in spec.capabilities:
        return ()
    version = (b"anthropic-version", _ANTHROPIC_VERSION)
    return (version,) if api_key is None else (version, (b"x-api-key", api_key.encode("ascii")))


def _build(setup: BackendSetup[OpenAIHttpOptions]) -> OpenAIHttpExpert:
    if setup.base_url is None:
        raise ValueError("base_url is missing")
    options = setup.options
    return OpenAIHttpExpert(
        setup.spec,
        setup.base_url,
        api_key=setup.api_key,
        headers=setup.headers,
        timeouts=setup.timeouts,
        max_connections=setup.max_connections,
        verify_tls=options.trusted,
        probe_path=options.probe_path,
        proxy=options.proxy_to(setup.base_url, setup.env),
        client_certificate=options.client_certificate,
    )


BACKEND = BackendSpec(
    reaches="vLLM, any OpenAI-compatible server",
    options=OpenAIHttpOptions,
    build=_build,
    address="required",
    endpoints=ENDPOINT_CAPABILITIES,
    answers="byte for byte the server's",
    probe="`GET /health`, else the list of models; or `options.probe_path`",
    when_left="closes the connection",
)
