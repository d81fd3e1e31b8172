"""Options on the way to a server: whom to trust, what to show, and which proxy to go through."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator

from pointsman.experts.backend_spec import BackendOptions
from pointsman.experts.http1.origin import Origin
from pointsman.experts.http1.proxy import Proxy, proxy_of_environment

_ENVIRONMENT = "environment"
_NONE = "none"

#: Paths of a certificate to show and of its key; None where that is in the same file.
ClientCertificate = tuple[str, str | None]


class WayOptions(BackendOptions):
    """Of a backend that opens connections by itself."""

    verify_tls: bool = True
    """Whether to check the server's certificate."""
    tls_ca_file: Path | None = None
    """Certificate authorities to trust in place of the system's, relative to the settings file."""
    tls_cert_file: Path | None = None
    """The certificate by which the gateway shows the server who it is, relative to the settings file."""
    tls_key_file: Path | None = None
    """Its key, where that is a file of its own."""
    proxy: str = _ENVIRONMENT
    """The proxy to go through, such as `http://proxy.example:3128`; `none` for none. `environment`: the one that
    `HTTPS_PROXY` or `HTTP_PROXY` names for the server's address, unless `NO_PROXY` does."""

    @field_validator("proxy")
    @classmethod
    def _usable(cls, value: str) -> str:
        if value not in (_ENVIRONMENT, _NONE) and Proxy.parse(value).credentials is not None:
            raise ValueError("must not hold a user or password; set HTTPS_PROXY or HTTP_PROXY")
        return value

    @model_validator(mode="after")
    def _with_its_certificate(self) -> Self:
        if self.tls_key_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_key_file means nothing without tls_cert_file")
        return self

    @property
    def trusted(self) -> bool | str:
        """Whether certificates are checked; a path where that is by authorities of its own."""
        return str(self.tls_ca_file) if self.tls_ca_file else self.verify_tls

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """What is shown to the server."""
        if self.tls_cert_file is None:
            return None
        return str(self.tls_cert_file), None if self.tls_key_file is None else str(self.tls_key_file)

    def proxy_to(self, base_url: str, env: Mapping[str, str]) -> Proxy | None:
        """The proxy to go through.

        Raises:
            ValueError: The URL, or the environment's proxy, cannot be read.
        """
        if self.proxy == _NONE:
            return None
        if self.proxy == _ENVIRONMENT:
            return proxy_of_environment(Origin.parse(base_url), env)
        return Proxy.parse(self.proxy)


def tls_context(
    origin: Origin, trusted: bool | str, client_certificate: ClientCertificate | None
) -> ssl.SSLContext | None:
    """How TLS is spoken with a server; None where it is not, or as the system has it.

    Raises:
        OSError: A file cannot be read, or holds no certificate.
    """
    if not origin.tls or (trusted is True and client_certificate is None):
        return None
    context = ssl.create_default_context(cafile=trusted if isinstance(trusted, str) else None)
    if trusted is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_certificate is not None:
        context.load_cert_chain(*client_certificate)
    return context
