"""API tokens: made once, shown once, known by their digest."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from orgs.models import ApiToken, Membership, Permission, in_ninety_days

MARK = "sfs"
_PREFIX_CHARACTERS = 12
_USE_NOTED_EVERY = timedelta(minutes=1)


def new_token() -> tuple[str, str, str]:
    """A new token: (what its user gets, the prefix by which it is found, the digest by which it is known)."""
    prefix, secret = secrets.token_hex(_PREFIX_CHARACTERS // 2), secrets.token_urlsafe(32)
    return f"{MARK}_{prefix}_{secret}", prefix, _digest(secret)


def make_token(
    membership: Membership, name: str, permissions: list[Permission], expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token of a member. Returns it, and the text that is shown this once and never again."""
    text, prefix, digest = new_token()
    token = ApiToken.all_objects.create(
        organization=membership.organization,
        membership=membership,
        name=name,
        permissions=[permission.value for permission in permissions],
        prefix=prefix,
        digest=digest,
        expires_at=expires_at or in_ninety_days(),
    )
    return token, text


def find_token(text: str) -> ApiToken | None:
    """The token that is meant by `text`, if it is right and has not expired."""
    mark, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    if mark != MARK or len(prefix) != _PREFIX_CHARACTERS:
        return None
    related = ("membership__user", "membership__organization")
    token = ApiToken.all_objects.select_related(*related).filter(prefix=prefix).first()
    if token is None or not hmac.compare_digest(token.digest, _digest(secret)) or token.expires_at <= timezone.now():
        return None
    _note_use(token)
    found: ApiToken = token
    return found


def _note_use(token: ApiToken) -> None:
    """Write when it was last used, but not with every call."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_NOTED_EVERY)
    ApiToken.all_objects.filter(stale, pk=token.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    # The secret is 256 random bits: nothing to guess, so no slow hash is needed.
    return hashlib.sha256(secret.encode()).hexdigest()
