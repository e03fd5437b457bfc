from __future__ import annotations

import json

import requests

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import Browser, credentials, post_token, put, refusal
from tests.sandbox_process import SandboxProcess


def test_userinfo_and_identity_name_user_and_org(sandbox: SandboxProcess, client: Client) -> None:
    info = client.http.get(sandbox.http_url + "/services/oauth2/userinfo", timeout=10).json()
    wanted = (
        "sub user_id organization_id preferred_username nickname name email email_verified given_name family_name"
        " zoneinfo photos profile picture address urls active user_type language locale utcOffset updated_at"
        " is_app_installed"
    )
    assert set(wanted.split()) == set(info)
    identity = client.http.get(info["sub"], timeout=10).json()
    assert identity["user_id"] == info["user_id"]
    assert identity["organization_id"] == info["organization_id"] == sandbox.state()["org_id"]
    assert identity["urls"]["rest"] == sandbox.http_url + "/services/data/v{version}/"
    # jsforce asks with the token in the address, others want the version filled in.
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    query = {"format": "json", "oauth_token": token, "version": "latest"}
    filled = requests.get(info["sub"], params=query, timeout=10).json()
    assert filled["urls"]["query"] == sandbox.http_url + "/services/data/v67.0/query/"
    assert client.call("GET", "").json()["identity"] == info["sub"]


def test_identity_shows_what_the_users_record_says(sandbox: SandboxProcess, client: Client) -> None:
    made = put(sandbox, "users", username="ann@x.example", password="pw", first_name="Ann", last_name="Lee")
    client.call("PATCH", f"/sobjects/User/{made['id']}", json={"Email": "post@x.example", "City": "Ulm"})
    form = {"grant_type": "password", **credentials(sandbox), "username": "ann@x.example", "password": "pw"}
    login = post_token(sandbox, **form).json()
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    shown = requests.get(login["id"], headers=headers, timeout=10).json()
    assert (shown["display_name"], shown["email"], shown["addr_city"]) == ("Ann Lee", "post@x.example", "Ulm")
    assert login["id"].endswith(made["id"])


def test_bad_tokens_are_refused_in_plain_text(sandbox: SandboxProcess, client: Client) -> None:
    userinfo = sandbox.http_url + "/services/oauth2/userinfo"
    url = client.http.get(userinfo, timeout=10).json()["sub"]
    for address, token, text in (
        (url, None, "Missing_OAuth_Token"),
        (url, "00Dx!y", "Bad_OAuth_Token"),
        (userinfo, "00Dx!y", "Bad_OAuth_Token"),
    ):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.get(address, headers=headers, timeout=10)
        assert (answer.status_code, answer.text) == (403, text)
    org_id = sandbox.state()["org_id"]
    wrong_org = client.http.get(url.replace(org_id, "00D5s0000000009EAA"), timeout=10)
    assert (wrong_org.status_code, wrong_org.text) == (403, "Wrong_Org")
    wrong_user = client.http.get(url[:-18] + "005000000000000AAA", timeout=10)
    assert (wrong_user.status_code, wrong_user.text) == (403, "Bad_Id")


def test_identity_comes_as_a_function_call_on_demand_but_never_as_other_code(
    sandbox: SandboxProcess, client: Client
) -> None:
    url = client.http.get(sandbox.http_url + "/services/oauth2/userinfo", timeout=10).json()["sub"]
    padded = client.http.get(url, params={"callback": "app.show"}, timeout=10).text
    assert json.loads(padded.removeprefix("app.show(").removesuffix(");"))["asserted_user"] is True
    assert client.http.get(url, params={"callback": "alert(1);x"}, timeout=10).status_code == 400
    assert client.http.get(url, params={"format": "xml"}, timeout=10).status_code == 406


def test_a_token_opens_the_org_in_a_browser_once(sandbox: SandboxProcess, client: Client) -> None:
    single = client.http.get(
        sandbox.http_url + "/services/oauth2/singleaccess", params={"redirect_uri": "/a?b=1&c"}, timeout=10
    )
    uri = single.json()["frontdoor_uri"]
    browser = Browser(sandbox)
    page = browser.open(uri.removeprefix(sandbox.http_url))
    assert 'href="/a?b=1&amp;c"' in page.text
    # Now the browser is logged in: it is asked for its consent only.
    assert "Allow access?" in browser.authorize(prompt="consent").text
    assert Browser(sandbox).open(uri.removeprefix(sandbox.http_url)).status_code == 400
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1"):
        page = Browser(sandbox).open("/secur/frontdoor.jsp", sid=token, retURL=target)
        assert (page.status_code, 'href="/"' in page.text) == (200, True)


def test_a_user_gets_another_password(sandbox: SandboxProcess, client: Client) -> None:
    path = f"/sobjects/User/{put(sandbox, 'users', username='p@x.example', password='old')['id']}/password"
    assert client.call("GET", path).json() == {"isExpired": False}
    assert client.call("POST", path, json={"NewPassword": "newer-1st"}).status_code == 204
    form = {"grant_type": "password", **credentials(sandbox), "username": "p@x.example"}
    assert refusal(post_token(sandbox, **form, password="old"))[1] == "invalid_grant"
    token = post_token(sandbox, **form, password="newer-1st").json()["access_token"]
    made = client.call("DELETE", path).json()["NewPassword"]
    assert post_token(sandbox, **form, password=made).status_code == 200
    for body, code in (({}, "REQUIRED_FIELD_MISSING"), ({"NewPassword": "short1"}, "INVALID_NEW_PASSWORD")):
        assert client.call("POST", path, json=body).json()[0]["errorCode"] == code
    assert client.call("GET", "/sobjects/User/005000000000000AAA/password").status_code == 404
    put(sandbox, "users", username="p@x.example", permissions={"system": {"ModifyAllData": False}})
    admin = client.query(f"SELECT Id FROM User WHERE Username = '{sandbox.username}'")[0]["Id"]
    headers = {"Authorization": f"Bearer {token}"}
    other = requests.get(f"{client.base}/sobjects/User/{admin}/password", headers=headers, timeout=10)
    assert other.status_code == 403
