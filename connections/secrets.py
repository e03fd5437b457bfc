"""A model field that stores a dictionary of secrets encrypted, with a ring of keys.

The first key of `SFSYNC_ENCRYPTION_KEYS` encrypts; every key of the ring decrypts. See docs/adr/0003.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class SecretsUnreadable(RuntimeError):
    """No key of the ring opens the stored secrets."""


def _ring() -> MultiFernet:
    # Made anew each time: a cached ring would go on with the old keys after a rotation.
    return MultiFernet([Fernet(key) for key in settings.SFSYNC_ENCRYPTION_KEYS])


class SecretsField(models.BinaryField):
    """A dict of strings, encrypted in the database. Cannot be filtered on.

    Raises SecretsUnreadable when a stored value was encrypted with a key that is not in the ring.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", dict)
        super().__init__(*args, **kwargs)

    def get_default(self) -> Any:
        return {}

    def get_lookup(self, lookup_name: str) -> Any:
        return None

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, dict):
            value = _ring().encrypt(json.dumps(value).encode())
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            return json.loads(_ring().decrypt(bytes(value)))
        except InvalidToken:
            raise SecretsUnreadable(
                "The stored secrets were encrypted with a key that is not in SFSYNC_ENCRYPTION_KEYS. "
                "Add the old key behind the new one, or enter the secrets again."
            ) from None

    def value_to_string(self, obj: models.Model) -> str:
        # Dumps (`manage.py dumpdata`) carry no secrets, encrypted or not.
        return ""

    def to_python(self, value: Any) -> Any:
        return {} if value in ("", None) else value
