"""What is between a request for a token and the token: logins and consents in the browser, codes, device codes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.login.apps import App
    from sandbox.login.users import User
    from sandbox.org import Org

CODE_SECONDS = 900
PENDING_SECONDS = 900
DEVICE_SECONDS = 600
# Between two polls of a device (RFC 8628, section 3.5); Salesforce answers this as `interval`.
DEVICE_INTERVAL = 5
FRONTDOOR_SECONDS = 60
MAX_KEPT = 1000
_USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


@dataclass
class Device:
    """A device that waits for somebody to enter its code in a browser."""

    device_code: str
    user_code: str
    app: App
    scope: str
    ends_at: float
    polled_at: float | None = None
    user: User | None = None
    denied: bool = False


@dataclass
class Pending:
    """A login and consent under way in one browser, known by its cookie; `device` when it is for a device."""

    id: str
    browser: str
    app: App
    scope: str
    ends_at: float
    redirect_uri: str = ""
    state: str | None = None
    challenge: str | None = None
    nonce: str | None = None
    prompt: tuple[str, ...] = ()
    hint: str = ""
    device: Device | None = None
    user: User | None = None


@dataclass(frozen=True)
class Code:
    """An authorization code, good for one token."""

    code: str = field(repr=False)
    pending: Pending
    user: User
    ends_at: float


class Grants:
    """All grants under way. They live in memory only: a restart makes people start over."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.clear()

    def clear(self) -> None:
        """Forget all that is under way, and who is logged in in a browser."""
        self._pending: dict[str, Pending] = {}
        self._codes: dict[str, Code] = {}
        self._devices: dict[str, Device] = {}
        self._frontdoors: dict[str, tuple[User, float]] = {}
        self._browsers: dict[str, User] = {}

    def begin(self, app: App, scope: str, browser: str, **facts: object) -> Pending:
        """A new login in a browser; `facts` are the other attributes of Pending."""
        _trim(self._pending)
        pending = Pending(secrets.token_urlsafe(24), browser, app, scope, self._now() + PENDING_SECONDS)
        for key, value in facts.items():
            setattr(pending, key, value)
        self._pending[pending.id] = pending
        return pending

    def pending(self, given: str, browser: str) -> Pending | None:
        """The login a form names, if it was begun in the same browser and not too long ago."""
        found = self._pending.get(given)
        fits = found is not None and secrets.compare_digest(found.browser.encode(), browser.encode())
        return found if found and fits and self._now() <= found.ends_at else None

    def end(self, pending: Pending) -> None:
        self._pending.pop(pending.id, None)

    def issue_code(self, pending: Pending, user: User) -> str:
        """The authorization code of a consent."""
        _trim(self._codes)
        code = f"aPrx{secrets.token_urlsafe(45)}"
        self._codes[code] = Code(code, pending, user, self._now() + CODE_SECONDS)
        return code

    def take_code(self, given: str) -> tuple[Code | None, bool]:
        """The grant of a code, once; and whether it came too late."""
        found = self._codes.pop(given, None)
        return found, found is not None and self._now() > found.ends_at

    def begin_device(self, app: App, scope: str) -> Device:
        """A new device code with the code its user shall enter."""
        _trim(self._devices)
        user_code = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(8))
        ends_at = self._now() + DEVICE_SECONDS
        device = Device(secrets.token_hex(32), user_code, app, scope, ends_at)
        self._devices[device.device_code] = device
        return device

    def device(self, device_code: str) -> Device | None:
        return self._devices.get(device_code)

    def device_of_user_code(self, given: str) -> Device | None:
        """The device that shows a code and still waits."""
        wanted = given.replace("-", "").replace(" ", "").upper()
        for each in list(self._devices.values()):
            if each.user_code == wanted and each.user is None and not each.denied and self._now() <= each.ends_at:
                return each
        return None

    def end_device(self, device: Device) -> None:
        self._devices.pop(device.device_code, None)

    def is_over(self, device: Device) -> bool:
        return self._now() > device.ends_at

    def polls_too_fast(self, device: Device) -> bool:
        """Note a poll; whether it came sooner than the interval after the one before."""
        before, device.polled_at = device.polled_at, self._now()
        return before is not None and device.polled_at - before < DEVICE_INTERVAL

    def open_frontdoor(self, user: User) -> str:
        """A password for one use within a minute that logs a browser in."""
        _trim(self._frontdoors)
        once = secrets.token_urlsafe(32)
        self._frontdoors[once] = (user, self._now() + FRONTDOOR_SECONDS)
        return once

    def pass_frontdoor(self, once: str) -> User | None:
        found = self._frontdoors.pop(once, None)
        return found[0] if found and self._now() <= found[1] else None

    def remember(self, browser: str, user: User) -> None:
        """Keep a user logged in in a browser."""
        _trim(self._browsers)
        self._browsers[browser] = user

    def browser_user(self, browser: str) -> User | None:
        return self._browsers.get(browser)

    def _now(self) -> float:
        return self._org.clock.time()


def _trim(kept: dict[str, Any]) -> None:
    """Forget the oldest of too many, so that nobody fills the memory."""
    while len(kept) >= MAX_KEPT:
        kept.pop(next(iter(kept)), None)
