"""The addresses of login and identity."""

from __future__ import annotations

from sandbox.login import oauth
from sandbox.route import open_route

ROUTES = [
    open_route("POST", "/services/oauth2/token", oauth.token),
    open_route("POST", "/services/oauth2/revoke", oauth.revoke),
    open_route("GET", "/services/oauth2/userinfo", oauth.userinfo),
    open_route("POST", "/services/oauth2/userinfo", oauth.userinfo),
    open_route("GET", "/id/{org}/{user}", oauth.identity),
]
