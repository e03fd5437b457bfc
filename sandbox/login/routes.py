"""The addresses of login and identity."""

from __future__ import annotations

from sandbox.login import browser, control, oauth, soap, whoami
from sandbox.route import DATA, Route, open_route

OAUTH = "/services/oauth2"
PASSWORD = f"{DATA}/sobjects/User/{{id}}/password"

ROUTES = [
    open_route("POST", f"{OAUTH}/token", oauth.token),
    open_route("GET", f"{OAUTH}/token", oauth.token_by_get),
    open_route("POST", f"{OAUTH}/revoke", oauth.revoke),
    open_route("GET", f"{OAUTH}/revoke", oauth.revoke),
    open_route("POST", f"{OAUTH}/introspect", oauth.introspect),
    open_route("GET", f"{OAUTH}/userinfo", whoami.userinfo),
    open_route("POST", f"{OAUTH}/userinfo", whoami.userinfo),
    open_route("GET", f"{OAUTH}/authorize", browser.authorize),
    open_route("POST", f"{OAUTH}/authorize", browser.submit),
    open_route("GET", "/setup/connect", browser.connect),
    open_route("POST", "/setup/connect", browser.submit_connect),
    open_route("GET", f"{OAUTH}/singleaccess", whoami.single_access),
    open_route("POST", f"{OAUTH}/singleaccess", whoami.single_access),
    open_route("GET", whoami.FRONTDOOR, whoami.frontdoor),
    open_route("POST", whoami.FRONTDOOR, whoami.frontdoor),
    open_route("GET", "/.well-known/openid-configuration", whoami.discovery),
    open_route("GET", "/id/keys", whoami.keys),
    open_route("GET", "/id/{org}/{user}", whoami.identity),
    open_route("POST", "/id/{org}/{user}", whoami.identity),
    open_route("POST", "/services/Soap/{kind}/{version}", soap.call_soap),
    open_route("POST", "/services/Soap/{kind}/{version}/{org}", soap.call_soap),
    Route("GET", PASSWORD, control.password_state),
    Route("POST", PASSWORD, control.set_password),
    Route("DELETE", PASSWORD, control.reset_password),
    open_route("GET", "/_sandbox/users", control.list_users),
    open_route("POST", "/_sandbox/users", control.put_users),
    open_route("DELETE", "/_sandbox/users/{username}", control.remove_user),
    open_route("GET", "/_sandbox/apps", control.list_apps),
    open_route("POST", "/_sandbox/apps", control.put_apps),
    open_route("DELETE", "/_sandbox/apps/{client_id}", control.remove_app),
]
