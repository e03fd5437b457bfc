"""Logging in to the admin: for members of organizations, and not by guessing passwords."""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.cache import cache

from orgs.current import organizations_of

FAILURES = 10
MINUTES = 15


class LoginForm(AuthenticationForm):
    def clean(self) -> dict[str, Any]:
        """Check name and password, unless too many were wrong lately. Each process of the web server counts its own,
        unless they share a cache."""
        key = self._key()
        if cache.get(key, 0) >= FAILURES:
            raise forms.ValidationError(f"Too many wrong passwords. Wait {MINUTES} minutes, then try again.")
        try:
            values = super().clean()
        except forms.ValidationError:
            if self.user_cache is None:
                cache.add(key, 0, MINUTES * 60)
                cache.incr(key)
            raise
        cache.delete(key)
        return values

    def confirm_login_allowed(self, user: Any) -> None:
        """Raises ValidationError for somebody who has nothing to do here."""
        super().confirm_login_allowed(user)
        person: User = user
        if not person.is_superuser and not organizations_of(person):
            raise forms.ValidationError(
                "This login is a member of no organization. Ask an owner or admin of yours to add it as a member."
            )

    def _key(self) -> str:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        name = (self.cleaned_data.get("username") or "").lower()
        return "login-" + hashlib.sha256(f"{address} {name}".encode()).hexdigest()
