"""The few pages people see: log in, allow access, enter a code, and what went wrong. Plain HTML, no scripts."""

from __future__ import annotations

import base64
import hashlib
import secrets
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from sandbox.call import Answer, Call

COOKIE = "sandbox_browser"
STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#66758a;--line:#cfd8e3;--card:#fff;--ground:#f3f6fa;--brand:#0b6bcb;
--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e4eaf1;--soft:#93a1b3;--line:#2c3744;--card:#18202a;--ground:#0f151c;
--brand:#2f7fd6;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:400px;margin:9vh auto;padding:28px;background:var(--card);border:1px solid var(--line);
border-radius:12px}
h1{font-size:20px;margin:0 0 6px}p{margin:6px 0;color:var(--soft)}label{display:block;margin:14px 0 4px}
input{width:100%;padding:10px;font:inherit;color:inherit;background:transparent;border:1px solid var(--line);
border-radius:8px}
button{margin:18px 8px 0 0;padding:10px 18px;font:inherit;border-radius:8px;border:1px solid var(--brand);
background:var(--brand);color:#fff;cursor:pointer}button.second{background:transparent;color:inherit;
border-color:var(--line)}
.error{color:var(--bad)}ul{margin:8px 0;padding-left:20px}code{overflow-wrap:anywhere}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_SCOPE_TEXTS = {
    "api": "read and change records by the API",
    "web": "use the org in a browser",
    "full": "do all that you may do",
    "refresh_token": "stay connected until you take this back",
    "offline_access": "stay connected until you take this back",
    "openid": "know who you are",
    "id": "know who you are",
}


def browser_of(call: Call) -> str:
    """What the browser's cookie says it is; empty when there is none."""
    try:
        cookies = SimpleCookie(call.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def new_browser() -> str:
    """A name for a browser that has none yet, or that changes hands."""
    return secrets.token_urlsafe(24)


def page(title: str, content: str, *, status: int = 200, browser: str = "", call: Call, sends_to: str = "") -> Answer:
    """A page under a strict content security policy; `sends_to` is where its form may lead beside this org."""
    body = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )
    headers = safe_headers(sends_to)
    if browser:
        headers["Set-Cookie"] = cookie(call, browser)
    return Answer(status, body, headers, content_type="text/html;charset=UTF-8")


def safe_headers(sends_to: str = "") -> dict[str, str]:
    """Headers of every page: nothing loaded, nothing framed, nothing kept."""
    targets = f"'self' {_origin(sends_to)}".strip()
    policy = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {targets}"
    return {
        "Content-Security-Policy": f"{policy}; base-uri 'none'; frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _origin(address: str) -> str:
    """The origin of an address, as a source of the policy. Browsers hold `form-action` against redirects too."""
    parts = urlsplit(address)
    if not parts.scheme:
        return ""
    is_web = parts.scheme in ("http", "https")
    return f"{parts.scheme}://{parts.netloc}" if is_web else f"{parts.scheme}:"


def cookie(call: Call, browser: str) -> str:
    """The cookie that keeps a browser's name."""
    secure = "; Secure" if call.base_url.startswith("https:") else ""
    return f"{COOKIE}={browser}; Path=/; HttpOnly; SameSite=Lax{secure}"


def hidden(**fields: str) -> str:
    """Hidden inputs."""
    return "".join(f'<input type="hidden" name="{key}" value="{escape(value)}">' for key, value in fields.items())


def login_form(action: str, request: str, app_name: str, hint: str, error: str) -> str:
    """Ask for username and password."""
    return (
        f"<p>to go on to {escape(app_name)}</p>{_error(error)}"
        f'<form method="post" action="{escape(action)}">{hidden(request=request)}'
        f'<label for="u">Username</label><input id="u" name="username" value="{escape(hint)}" required'
        ' autocomplete="username"><label for="p">Password</label><input id="p" name="password" type="password"'
        ' required autocomplete="current-password"><button>Log in</button></form>'
    )


def consent_form(action: str, request: str, app_name: str, username: str, scope: str) -> str:
    """Ask whether the app shall have access."""
    texts = dict.fromkeys(_SCOPE_TEXTS.get(each, each) for each in scope.split())
    listed = "".join(f"<li>{escape(each)}</li>" for each in texts)
    return (
        f"<p>{escape(app_name)} asks to</p><ul>{listed}</ul><p>You are {escape(username)}.</p>"
        f'<form method="post" action="{escape(action)}">{hidden(request=request)}'
        '<button name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny" class="second">Deny</button></form>'
    )


def code_form(action: str, given: str, error: str) -> str:
    """Ask for the code that a device shows."""
    return (
        f"<p>Enter the code that your device shows.</p>{_error(error)}"
        f'<form method="post" action="{escape(action)}"><label for="c">Code</label>'
        f'<input id="c" name="user_code" value="{escape(given)}" required autocomplete="off"><button>Connect</button>'
        "</form>"
    )


def _error(text: str) -> str:
    return f'<p class="error" role="alert">{escape(text)}</p>' if text else ""


def problem(call: Call, error: str, description: str) -> Answer:
    """A page that says why the browser cannot go on."""
    content = f'<p class="error" role="alert">error={escape(error)}</p><p>{escape(description)}</p>'
    return page("OAuth error", content, status=400, call=call)
