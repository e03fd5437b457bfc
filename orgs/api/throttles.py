"""How often the API may be called: per token or person, and per address by whoever has neither."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from orgs.models import ApiToken


class Throttle(SimpleRateThrottle):
    """A rate that a setting names. setting: such as "SFSYNC_API_RATE"; empty there means no limit."""

    setting = ""

    def get_rate(self) -> str | None:
        rate: str = getattr(settings, self.setting)
        return rate or None

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        who = f"token {request.auth.pk}" if isinstance(request.auth, ApiToken) else f"user {request.user.pk}"
        return f"{self.setting} {who}".replace(" ", ":")


class Calls(Throttle):
    """All calls of a token or person."""

    setting = "SFSYNC_API_RATE"


class Starts(Throttle):
    """Calls that start a job, or make sfsync talk with another system."""

    setting = "SFSYNC_API_START_RATE"


class Strangers(Throttle):
    """Calls without a token or with a wrong one, per address."""

    setting = "SFSYNC_API_ANONYMOUS_RATE"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return f"{self.setting}:{self.get_ident(request)}"
