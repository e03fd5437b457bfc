"""HTTP to Salesforce: one pooled requests session, and what its failures mean."""

from __future__ import annotations

import os
import ssl
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)

from connections.salesforce.errors import MisconfiguredError, SalesforceError, TransientError

# Seconds to connect, and to wait for the next byte.
DEFAULT_TIMEOUT = (10.0, 120.0)
_POOL_SIZE = 8
# http.client sends a file in pieces of this size; its default of 16 KB costs six times the CPU.
_SEND_BYTES = 256 * 1024

_NEVER_SENT = (ConnectTimeoutError, NewConnectionError, NameResolutionError)


class _Adapter(HTTPAdapter):
    """Sends in larger pieces, and trusts an extra CA file besides the public ones."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._options: dict[str, Any] = {"blocksize": _SEND_BYTES}
        if context is not None:
            self._options["ssl_context"] = context
        super().__init__(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **{**self._options, **options})

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **{**self._options, **options})


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from looking into ~/.netrc, which would replace our Authorization header."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def new_http(ca_file: str = "") -> requests.Session:
    """A requests session that several threads may share: pooled, without retries, cookies or ~/.netrc.

    ca_file: PEM file with further certificates to trust, or "". Raises MisconfiguredError when it cannot be read.
    """
    http = requests.Session()
    http.auth = _NoAuth()
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(_trusting(ca_file) if ca_file else None)
    http.mount("https://", adapter)
    http.mount("http://", adapter)
    return http


def _trusting(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if not os.path.isfile(ca_file):
            raise FileNotFoundError
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError):
        # The same whatever it is: who may set the path must not learn from it which files there are.
        raise MisconfiguredError(
            f"The CA file '{ca_file}' cannot be used: it is no file with PEM certificates that sfsync may read. "
            "Correct the setting 'ca_file'."
        ) from None
    return context


def network_error(error: Exception, doing: str, *, changes: bool) -> SalesforceError:
    """What a failure below Salesforce means.

    error: of requests or urllib3. doing: what was asked, in words. changes: the request changes something, so that
    a lost answer leaves its effect unknown. Raise the result `from None`: the original may hold secrets.
    """
    if isinstance(error, requests.exceptions.SSLError):
        return MisconfiguredError(
            f"No secure connection for {doing}: {_tls_reason(error)}. Check the host name, and name the certificate "
            "authority of a proxy or practice org in the setting 'ca_file'."
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return TransientError(f"The HTTP proxy did not connect {doing}. Check HTTPS_PROXY if this goes on.")
    if isinstance(
        error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema)
    ):
        return MisconfiguredError(f"The address for {doing} is not a URL. Check the auth URL.")
    if _never_sent(error):
        return TransientError(f"No connection for {doing}: {_connect_reason(error)}.")
    if isinstance(error, (requests.exceptions.Timeout, TimeoutError)):
        return TransientError(f"No answer in time to {doing}.", effect_unknown=changes)
    return TransientError(f"The connection broke during {doing}.", effect_unknown=changes)


def is_network_error(error: BaseException) -> bool:
    """Whether reading an answer failed below Salesforce, as opposed to a full disk while saving it."""
    return isinstance(error, (requests.RequestException, HTTPError, ssl.SSLError, ConnectionError, TimeoutError))


def _reason(error: Exception) -> object:
    inner = error.args[0] if error.args else None
    return inner.reason if isinstance(inner, MaxRetryError) else inner


def _never_sent(error: Exception) -> bool:
    return isinstance(error, requests.exceptions.ConnectTimeout) or isinstance(_reason(error), _NEVER_SENT)


def _connect_reason(error: Exception) -> str:
    reason = _reason(error)
    if isinstance(reason, NameResolutionError):
        return "the host name is not known; check the auth URL and the network"
    # To urllib3 a refused connection is a kind of time-out, so it is looked for first.
    if isinstance(reason, NewConnectionError):
        return "the host refused it or cannot be reached"
    return "the host did not answer in time"


def _tls_reason(error: Exception) -> str:
    seen: BaseException | object | None = error
    for _ in range(6):
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted ({seen.verify_message})"
        if isinstance(seen, BaseException) and seen.args:
            seen = getattr(seen, "reason", None) if isinstance(seen, MaxRetryError) else seen.args[-1]
        else:
            break
    return "the TLS handshake failed"
