"""The flows that lead through a browser: /services/oauth2/authorize (with PKCE), and a device's code at /setup/connect.

Help articles "OAuth 2.0 Web Server Flow" and "OAuth 2.0 Device Flow"; RFC 6749, 7636 and 8628. A form counts only in
the browser in which its page was opened: the page's hidden request and the browser's cookie must belong together.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from sandbox.call import Answer, Call
from sandbox.login import pages
from sandbox.login.apps import App
from sandbox.login.grants import Pending
from sandbox.login.oauth import check_user, scope_of
from sandbox.login.places import form_of, oauth_error
from sandbox.login.users import User
from sandbox.org import Org
from sandbox.wire import SalesforceError

AUTHORIZE = "/services/oauth2/authorize"
CONNECT = "/setup/connect"
WRONG_LOGIN = "Check your username and password. If you still cannot log in, ask your administrator."
PROMPTS = frozenset({"login", "consent", "select_account"})


def authorize(org: Org, call: Call) -> Answer:
    """GET /services/oauth2/authorize: check what the app asks, then show the page to log in or to allow.

    What is wrong with app or callback is told on a page; all else by a redirect to the callback.
    """
    given = call.query
    app = org.apps.find(given.get("client_id", ""))
    if app is None:
        return pages.problem(call, "invalid_client_id", "client identifier invalid")
    callback = given.get("redirect_uri") or (app.callbacks[0] if app.callbacks else "")
    if not app.takes_callback(callback):
        return pages.problem(call, "redirect_uri_mismatch", "redirect_uri must match configuration")
    try:
        pending = _begin(org, call, app, callback)
    except SalesforceError as error:
        return _back(callback, given.get("state"), error.body)
    user = org.grants.browser_user(pending.browser)
    if user and org.users.is_active(user) and "login" not in pending.prompt:
        pending.user = user
    return _next_page(org, call, pending)


def _begin(org: Org, call: Call, app: App, callback: str) -> Pending:
    given = call.query
    if given.get("response_type") != "code":
        raise oauth_error("unsupported_response_type", "response type must be code")
    if "authorization_code" not in app.flows:
        raise oauth_error("unsupported_response_type", "the flow is not enabled for this app")
    prompt = tuple(given.get("prompt", "").split())
    if not set(prompt) <= PROMPTS:
        raise oauth_error("invalid_request", "prompt must be login, consent or select_account")
    challenge = given.get("code_challenge")
    if given.get("code_challenge_method", "S256") != "S256":
        raise oauth_error("invalid_request", "code challenge method must be S256")
    if app.pkce_required and not challenge:
        raise oauth_error("invalid_request", "missing required code challenge")
    scope = scope_of(app, given.get("scope"))
    facts = {"redirect_uri": callback, "state": given.get("state"), "challenge": challenge or None, "prompt": prompt}
    browser = pages.browser_of(call) or pages.new_browser()
    return org.grants.begin(app, scope, browser, **facts, nonce=given.get("nonce"), hint=given.get("login_hint", ""))


def submit(org: Org, call: Call) -> Answer:
    """POST /services/oauth2/authorize or /setup/connect: the login form, then the consent form."""
    form = form_of(call)
    pending = org.grants.pending(form.get("request", ""), pages.browser_of(call))
    if pending is None:
        return pages.problem(call, "invalid_request", "This form was opened too long ago or in another browser.")
    if pending.user is None:
        return _log_in(org, call, pending, form)
    if form.get("decision") not in ("allow", "deny"):
        return _next_page(org, call, pending)
    return _decide(org, call, pending, pending.user, form["decision"] == "allow")


def _log_in(org: Org, call: Call, pending: Pending, form: dict[str, str]) -> Answer:
    user = org.users.named(form.get("username", ""))
    right = user is not None and org.users.check_password(user, form.get("password", ""))
    if user is None or not right or org.users.is_locked(user) or not org.users.is_active(user):
        pending.hint = form.get("username", "")
        return _login_page(call, pending, WRONG_LOGIN)
    pending.user = user
    # A name given out before the login must not be the one after it, which somebody else might know.
    pending.browser = pages.new_browser()
    org.grants.remember(pending.browser, user)
    return _next_page(org, call, pending)


def _next_page(org: Org, call: Call, pending: Pending) -> Answer:
    """The page that is due: login, consent, or neither where the app was approved before."""
    if pending.user is None:
        return _login_page(call, pending, "")
    known = org.sessions.has_approved(pending.user, pending.app.client_id)
    if known and "consent" not in pending.prompt and pending.device is None:
        return _decide(org, call, pending, pending.user, allowed=True)
    form = pages.consent_form(_action(pending), pending.id, pending.app.name, pending.user.username, pending.scope)
    return _page(call, pending, "Allow access?", form)


def _login_page(call: Call, pending: Pending, error: str) -> Answer:
    form = pages.login_form(_action(pending), pending.id, pending.app.name, pending.hint, error)
    return _page(call, pending, "Log in", form)


def _page(call: Call, pending: Pending, title: str, form: str) -> Answer:
    return pages.page(title, form, call=call, browser=pending.browser, sends_to=pending.redirect_uri)


def _action(pending: Pending) -> str:
    return CONNECT if pending.device else AUTHORIZE


def _decide(org: Org, call: Call, pending: Pending, user: User, allowed: bool) -> Answer:
    """End a login: back to the app with a code or an error, or let a device go on."""
    org.grants.end(pending)
    answer = {"error": "access_denied", "error_description": "end-user denied authorization"}
    if allowed:
        try:
            check_user(org, pending.app, user)
            answer = {}
        except SalesforceError as error:
            answer = error.body
    if pending.device:
        pending.device.denied = bool(answer)
        pending.device.user = None if answer else user
        if answer:
            return pages.problem(call, answer["error"], answer["error_description"])
        return pages.page("You're connected", "<p>Go back to your device.</p>", call=call, browser=pending.browser)
    if not answer:
        answer = {"code": org.grants.issue_code(pending, user)}
    back = _back(pending.redirect_uri, pending.state, answer)
    back.headers["Set-Cookie"] = pages.cookie(call, pending.browser)
    return back


def _back(callback: str, state: str | None, answer: dict[str, str]) -> Answer:
    """Send the browser to the app's callback with an answer and the state it gave."""
    fields = {**answer, "state": state} if state is not None else answer
    joined = "&" if urlsplit(callback).query else "?"
    return Answer(302, headers={"Location": f"{callback}{joined}{urlencode(fields)}", "Cache-Control": "no-store"})


def connect(org: Org, call: Call) -> Answer:
    """GET /setup/connect[?user_code=]: the page where a device's code is entered."""
    form = pages.code_form(CONNECT, call.query.get("user_code", ""), "")
    return pages.page("Connect a device", form, call=call)


def submit_connect(org: Org, call: Call) -> Answer:
    """POST /setup/connect: a device's code, then login and consent."""
    form = form_of(call)
    if "request" in form:
        return submit(org, call)
    device = org.grants.device_of_user_code(form.get("user_code", ""))
    if device is None:
        shown = pages.code_form(CONNECT, "", "That code is not known, or it is no longer good.")
        return pages.page("Connect a device", shown, call=call, status=400)
    # Always with a login: else a page of somebody else could send the code for whoever is logged in.
    pending = org.grants.begin(device.app, device.scope, pages.new_browser(), device=device)
    return _next_page(org, call, pending)
