"""One authenticated session with a Salesforce org, safe for several threads."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json as jsonlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from xml.sax.saxutils import unescape

import requests

from connections.redact import redacted
from connections.salesforce.auth import AddressPolicy, SalesforceSettings, Token, login
from connections.salesforce.errors import MisconfiguredError, TransientError, request_error, soap_error
from connections.salesforce.exchanges import recorder
from connections.salesforce.wire import DEFAULT_TIMEOUT, is_network_error, network_error, new_http

if TYPE_CHECKING:
    from simple_salesforce.api import Salesforce

# `Sforce-Call-Options` marks our writes in change events; auto assign is off because REST's own default is on.
_DATA_HEADERS = {"Sforce-Auto-Assign": "FALSE", "Sforce-Call-Options": "client=sfsync"}
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_API_USAGE = re.compile(r"(?<![-\w])api-usage=(\d+)/(\d+)")
_ABOUT_JOB = re.compile(r"/jobs/(?:ingest|query)/\w")
# A fault tells its code and message in elements of these names (SOAP API guide, "API Fault Element").
_FAULT = re.compile(r"<(?:\w+:)?exceptionCode>([^<]*)<.*?<(?:\w+:)?exceptionMessage>([^<]*)<", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which Salesforce org the session is in, and as whom. Ids have 18 characters."""

    org_id: str
    user_id: str
    instance_url: str

    @property
    def org_key(self) -> str:
        """The Salesforce org, with the host that the login led to: a server that only says that it is this Salesforce
        org is another one."""
        host = hashlib.sha256(self.instance_url.lower().encode()).hexdigest()[:12]
        return f"{self.org_id}:{host}"


@dataclasses.dataclass(frozen=True)
class LimitInfo:
    """API requests of the Salesforce org in the last 24 hours: used, and the most it may use."""

    used: int
    max: int


class CallBudget(Protocol):
    """Decides whether a call may be made."""

    def take(self, identity: Identity) -> None:
        """Asked before each call, but not before logins, which Salesforce does not count. Raises BudgetSpent."""

    def told(self, identity: Identity, info: LimitInfo, sent_at: datetime) -> None:
        """An answer told how many calls were used. sent_at: when its request was sent."""

    def lost(self, identity: Identity) -> None:
        """The last call got no answer: Salesforce may count it later, or never."""


@dataclasses.dataclass
class CallMeter:
    """Calls made to Salesforce within `counting()`; logins are none, since Salesforce does not count them."""

    made: int = 0


_meter: ContextVar[CallMeter | None] = ContextVar("salesforce_calls", default=None)


@contextlib.contextmanager
def counting() -> Iterator[CallMeter]:
    """Within this context, the calls that this thread makes are counted, whichever session makes them."""
    meter = CallMeter()
    reset = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(reset)


def calls_counted() -> int:
    """Calls that this thread has made within the `counting()` around it; 0 outside of one."""
    meter = _meter.get()
    return meter.made if meter is not None else 0


class SalesforceSession:
    """Sends requests to one Salesforce org: logs in when first needed, once more when the session has expired.

    settings: how to log in. address_policy: asked with (host, port) before each login and for the instance that the
    login names; raises to forbid. timeout: seconds to connect, and to wait for the next byte. budget: asked before each
    call; None for calls without limit.
    """

    def __init__(
        self,
        settings: SalesforceSettings,
        *,
        address_policy: AddressPolicy,
        timeout: tuple[float, float] = DEFAULT_TIMEOUT,
        budget: CallBudget | None = None,
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._policy = address_policy
        self._timeout = timeout
        self._http = new_http(settings.ca_file)
        self._login_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._token: Token | None = None
        self._org_id = ""
        self._moved_to = ""
        self._rest: Salesforce | None = None
        self._calls = 0
        self._limit_info: LimitInfo | None = None
        self._clock_ahead: float | None = None

    def __repr__(self) -> str:
        where = self._token.instance_url if self._token else "not logged in"
        return f"<SalesforceSession {where}>"

    def __enter__(self) -> SalesforceSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    @property
    def calls(self) -> int:
        """HTTP calls made so far, logins included."""
        return self._calls

    @property
    def limit_info(self) -> LimitInfo | None:
        """What the last answer said about used API requests, or None before the first one that did."""
        return self._limit_info

    @property
    def salesforce_time(self) -> datetime | None:
        """What the time is by Salesforce's clock, never later than it is; None before the first answer that told."""
        ahead = self._clock_ahead
        return None if ahead is None else datetime.fromtimestamp(time.monotonic() + ahead, UTC)

    @property
    def has_moved(self) -> bool:
        """A login led to another Salesforce org than the ones before, so this session makes no further call."""
        return bool(self._moved_to)

    @property
    def identity(self) -> Identity:
        """Which Salesforce org this is; logs in if need be. Raises SalesforceError."""
        return _identity_of(self._current_token())

    @property
    def data_path(self) -> str:
        """Path below which the data API of this version lives, such as "/services/data/v62.0"."""
        return f"/services/data/v{self._settings.api_version}"

    @property
    def rest(self) -> Salesforce:
        """simple-salesforce on top of this session, for describe, query and limits.

        Its requests go through `request`, so that log-in, counting and errors are ours. Numbers with a decimal
        point come as `decimal.Decimal`, exactly as Salesforce wrote them.
        """
        if self._rest is None:
            # Loaded when it is needed: with zeep, which it loads, it takes ten megabytes of each process.
            from simple_salesforce.api import Salesforce

            self._rest = Salesforce(
                instance_url=self.identity.instance_url,
                session_id="kept by SalesforceSession",
                version=self._settings.api_version,
                session=_Relay(self),
                parse_float=Decimal,
                object_pairs_hook=dict,
            )
        return self._rest

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """One request, with one more log-in and one replay when the session has expired.

        path: relative to the data API ("jobs/ingest"), or absolute on the instance ("/services/data").
        json, data: the body; an open file is streamed. stream: leave the body of the answer unread.
        Returns a successful answer (2xx). Raises SalesforceError for everything else.
        """
        doing = f"{method} {path.split('?')[0]}"
        token = self._current_token()
        start = data.tell() if hasattr(data, "seek") else 0
        if json is not None:
            data = jsonlib.dumps(json, ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
        answer = self._send(token, method, path, doing, data, headers, stream, params)
        if answer.status_code == 401 and _expired(answer, doing):
            answer.close()
            token = self._renewed_token(token)
            if hasattr(data, "seek"):
                data.seek(start)
            answer = self._send(token, method, path, doing, data, headers, stream, params)
        if 200 <= answer.status_code < 300:
            return answer
        with answer:
            body = redacted(_body(answer, doing), [token.access_token])
        raise request_error(
            answer.status_code,
            body,
            answer.headers,
            doing=doing,
            changes=method in _CHANGING,
            about_job=bool(_ABOUT_JOB.search(path if path.startswith("/") else f"/{path}")),
        )

    def soap(self, envelope: Callable[[str], bytes], *, doing: str, changes: bool) -> bytes:
        """One call of the SOAP partner API, with one more log-in and one replay when the session has expired.

        envelope: makes the request for a session id. doing: the call, in words. changes: it changes something. Returns
        the answer. Raises SalesforceError, for a fault too.
        """
        path = f"/services/Soap/u/{self._settings.api_version}"
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}
        token = self._current_token()
        answer = self._send(token, "POST", path, doing, envelope(token.access_token), headers, False, None)
        if _fault(answer)[0] == "INVALID_SESSION_ID":
            token = self._renewed_token(token)
            answer = self._send(token, "POST", path, doing, envelope(token.access_token), headers, False, None)
        if answer.status_code == 200:
            return answer.content
        code, text = (redacted(each, [token.access_token]) for each in _fault(answer))
        if code:
            raise soap_error(code, text, doing=doing, changes=changes)
        raise request_error(answer.status_code, _body(answer, doing), answer.headers, doing=doing, changes=changes)

    def _send(
        self,
        token: Token,
        method: str,
        path: str,
        doing: str,
        data: Any,
        headers: Mapping[str, str] | None,
        stream: bool,
        params: Mapping[str, str] | None,
    ) -> requests.Response:
        full_path = path if path.startswith("/") else f"{self.data_path}/{path}"
        all_headers = {**_DATA_HEADERS, **(headers or {}), "Authorization": f"Bearer {token.access_token}"}
        if self._budget is not None:
            self._budget.take(_identity_of(token))
        self._count_call()
        sent_at = datetime.now(UTC)
        record, secret = recorder(), token.access_token
        exchange = record and record.asked(method, full_path, all_headers, data, secret)
        try:
            answer = self._http.request(
                method,
                token.instance_url + full_path,
                data=data,
                params=params,
                headers=all_headers,
                timeout=self._timeout,
                stream=stream,
                # A redirect would carry the request past the address policy.
                allow_redirects=False,
            )
            if record and exchange:
                record.answered(exchange, answer, secret)
        except Exception as error:
            if not is_network_error(error):
                raise
            if self._budget is not None:
                self._budget.lost(_identity_of(token))
            failure = network_error(error, doing, changes=method in _CHANGING)
            if record and exchange:
                record.failed(exchange, failure, secret)
            # `from None`: the request inside the exception holds the token.
            raise failure from None
        used = _API_USAGE.search(answer.headers.get("Sforce-Limit-Info", ""))
        if used:
            self._limit_info = LimitInfo(int(used[1]), int(used[2]))
            if self._budget is not None:
                self._budget.told(_identity_of(token), self._limit_info, sent_at)
        with contextlib.suppress(TypeError, ValueError):
            self._compare_clocks(parsedate_to_datetime(answer.headers.get("Date", "")))
        return answer

    def _compare_clocks(self, told: datetime) -> None:
        # Told in whole seconds, on its way for a while, and perhaps by a server that looks at its clock now and then:
        # each of these only makes it too early, so the latest of all answers is the best.
        ahead = told.timestamp() - time.monotonic()
        self._clock_ahead = ahead if self._clock_ahead is None else max(ahead, self._clock_ahead)

    def _count_call(self, *, login: bool = False) -> None:
        with self._count_lock:
            self._calls += 1
        if not login and (meter := _meter.get()) is not None:
            meter.made += 1

    def _current_token(self) -> Token:
        if self._moved_to:
            raise self._has_moved_error()
        token = self._token
        return token if token is not None else self._renewed_token(None)

    def _renewed_token(self, stale: Token | None) -> Token:
        """A token other than `stale`. Whoever comes second finds what the first one fetched."""
        with self._login_lock:
            if self._token is stale:
                self._count_call(login=True)
                self._token = None
                token = login(self._settings, self._http, self._policy, self._timeout)
                # Whoever uses this session looked at its Salesforce org once: that stays true for every call of it.
                if self._org_id and token.org_id != self._org_id:
                    self._moved_to = token.org_id
                    raise self._has_moved_error()
                self._org_id, self._token = token.org_id, token
            if self._moved_to:
                raise self._has_moved_error()
            if self._token is None:
                raise TransientError("Another thread's login at Salesforce failed a moment ago.")
            return self._token

    def _has_moved_error(self) -> MisconfiguredError:
        return MisconfiguredError(
            f"The connection led to the Salesforce org {self._org_id}, and now leads to the Salesforce org "
            f"{self._moved_to}. Set it right again, or start the sync again to plan for that one."
        )


def _identity_of(token: Token) -> Identity:
    return Identity(token.org_id, token.user_id, token.instance_url)


def _fault(answer: requests.Response) -> tuple[str, str]:
    """Code and message of a SOAP fault; two empty texts for what is none."""
    found = _FAULT.search(answer.text[:10_000]) if answer.status_code != 200 else None
    return (found[1], unescape(found[2])) if found else ("", "")


def _expired(answer: requests.Response, doing: str) -> bool:
    body = _body(answer, doing)
    first = body[0] if isinstance(body, list) and body else body
    return isinstance(first, dict) and first.get("errorCode") == "INVALID_SESSION_ID"


def _body(answer: requests.Response, doing: str) -> Any:
    """The JSON, or the beginning of the text, of a refusal; read now if the answer is a stream."""
    try:
        return answer.json()
    except ValueError:
        return answer.text[:500]
    except Exception as error:
        if not is_network_error(error):
            raise
        # Whatever was refused had no effect.
        raise network_error(error, doing, changes=False) from None


class _Relay(requests.Session):
    """Stands in for the requests session of simple-salesforce and passes its requests on to ours.

    simple-salesforce always builds https URLs and logs in again by itself, up to three times: here only the path of
    its URL is used, and it never sees an answer that is not a success.
    """

    def __init__(self, session: SalesforceSession) -> None:
        super().__init__()
        self._session = session

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> requests.Response:
        parts = urlsplit(str(url))
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return self._session.request(str(method), path, params=options.get("params"), data=options.get("data"))
