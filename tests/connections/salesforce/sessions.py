"""Sessions for tests."""

from __future__ import annotations

from typing import Any

from connections.salesforce.auth import SalesforceSettings
from connections.salesforce.session import SalesforceSession
from tests.sandbox_process import SandboxProcess

# Secrets that a test looks for in messages, reprs and logs.
PLANTED = {"client_secret": "planted-client-secret", "password": "planted-password", "security_token": "plantedtoken"}


def sandbox_settings(sandbox: SandboxProcess, **changes: Any) -> SalesforceSettings:
    values = {
        "auth_url": sandbox.http_url,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "username": sandbox.username,
        "password": sandbox.password,
        "security_token": sandbox.security_token,
        **changes,
    }
    return SalesforceSettings(**values)


def sandbox_session(sandbox: SandboxProcess, **changes: Any) -> SalesforceSession:
    return SalesforceSession(sandbox_settings(sandbox, **changes), address_policy=lambda host, port: None)


def scripted_session(url: str, timeout: tuple[float, float] = (2, 5), **changes: Any) -> SalesforceSession:
    values = {"auth_url": url, "client_id": "client", "username": "user@example.com", **PLANTED, **changes}
    return SalesforceSession(SalesforceSettings(**values), address_policy=lambda host, port: None, timeout=timeout)
