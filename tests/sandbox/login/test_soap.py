from __future__ import annotations

import re
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import put
from tests.sandbox_process import SandboxProcess

PARTNER = "{urn:partner.soap.sforce.com}"
BODY = "{http://schemas.xmlsoap.org/soap/envelope/}Body"
USER_INFO = [
    "accessibilityMode",
    "chatterExternal",
    "currencySymbol",
    "orgAttachmentFileSizeLimit",
    "orgDefaultCurrencyIsoCode",
    "orgDefaultCurrencyLocale",
    "orgDisallowHtmlAttachments",
    "orgHasPersonAccounts",
    "organizationId",
    "organizationMultiCurrency",
    "organizationName",
    "profileId",
    "roleId",
    "sessionSecondsValid",
    "userDefaultCurrencyIsoCode",
    "userEmail",
    "userFullName",
    "userId",
    "userLanguage",
    "userLocale",
    "userName",
    "userTimeZone",
    "userType",
    "userUiSkin",
]


def _envelope(content: str, header: str = "", namespace: str = "urn:partner.soap.sforce.com") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"'
        f' xmlns:n1="{namespace}"><env:Header>{header}</env:Header><env:Body>{content}</env:Body></env:Envelope>'
    )


def _login(username: str, password: str) -> str:
    return _envelope(f"<n1:login><n1:username>{username}</n1:username><n1:password>{password}</n1:password></n1:login>")


def _post(sandbox: SandboxProcess, content: str | bytes, path: str = "u/59.0") -> requests.Response:
    headers = {"Content-Type": "text/xml", "SOAPAction": "login"}
    data = content.encode() if isinstance(content, str) else content
    return requests.post(f"{sandbox.http_url}/services/Soap/{path}", data=data, headers=headers, timeout=10)


def _fault(answer: requests.Response) -> tuple[str, str]:
    """Code and message; the prefix sf: must stand as text, and all three places must agree."""
    assert answer.status_code == 500, answer.text
    ElementTree.fromstring(answer.content)
    code = re.search("<sf:exceptionCode>(.*)</sf:exceptionCode>", answer.text)
    message = re.search("<sf:exceptionMessage>(.*)</sf:exceptionMessage>", answer.text)
    assert code
    assert message
    assert f"<faultcode>sf:{code[1]}</faultcode><faultstring>{code[1]}: {message[1]}</faultstring>" in answer.text
    return code[1], message[1]


def test_a_login_answers_unprefixed_children_in_the_order_of_the_wsdl(sandbox: SandboxProcess, client: Client) -> None:
    answer = _post(sandbox, _login(sandbox.username.upper(), sandbox.password + sandbox.security_token))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
    envelope = ElementTree.fromstring(answer.content)
    assert envelope[0].tag == BODY
    result = envelope[0][0][0]
    names = ["metadataServerUrl", "passwordExpired", "sandbox", "serverUrl", "sessionId", "userId", "userInfo"]
    assert [each.tag for each in result] == [PARTNER + name for name in names]
    assert [each.tag for each in result[6]] == [PARTNER + name for name in USER_INFO]
    org_id = sandbox.state()["org_id"]
    assert result[3].text == f"{sandbox.http_url}/services/Soap/u/59.0/{org_id[:15]}"
    assert (result[1].text, result[6][8].text, result[6][13].text) == ("false", org_id, "7200")
    for each in ("sessionId", "serverUrl", "userId", "organizationId"):
        assert re.search(f"<{each}>[^<]+</{each}>", answer.text)
    headers = {"Authorization": f"Bearer {result[4].text}"}
    assert requests.get(client.base + "/limits", headers=headers, timeout=10).status_code == 200


def test_the_enterprise_wsdl_and_other_prefixes_are_understood(sandbox: SandboxProcess) -> None:
    text = _login(sandbox.username, sandbox.password).replace("n1:", "urn:").replace(":n1", ":urn")
    assert _post(sandbox, text, "u/50.0/00D5s0000000001").status_code == 200
    enterprise = _post(sandbox, text.replace("urn:partner.", "urn:enterprise."), "c/64.0")
    assert 'xmlns="urn:enterprise.soap.sforce.com"' in enterprise.text
    assert "/services/Soap/c/64.0/00D" in enterprise.text


def test_a_session_tells_who_it_is_and_ends(sandbox: SandboxProcess) -> None:
    answer = _post(sandbox, _login(sandbox.username, sandbox.password)).text
    token = answer.partition("<sessionId>")[2].partition("</sessionId>")[0]
    header = f"<n1:SessionHeader><n1:sessionId>{token}</n1:sessionId></n1:SessionHeader>"
    info = ElementTree.fromstring(_post(sandbox, _envelope("<n1:getUserInfo/>", header), "u/67.0").content)
    assert [each.tag for each in info[0][0][0]] == [PARTNER + name for name in USER_INFO]
    assert "<timestamp>20" in _post(sandbox, _envelope("<n1:getServerTimestamp/>", header)).text
    assert "<logoutResponse></logoutResponse>" in _post(sandbox, _envelope("<n1:logout/>", header)).text
    code, message = _fault(_post(sandbox, _envelope("<n1:getUserInfo/>", header)))
    assert code == "INVALID_SESSION_ID"
    assert message.endswith(token)


def test_refused_logins_are_faults_with_their_codes(sandbox: SandboxProcess) -> None:
    bad = ("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    assert _fault(_post(sandbox, _login(sandbox.username, "wrong"))) == bad
    assert _fault(_post(sandbox, _login("&lt;nobody>", "wrong"))) == bad
    assert _fault(_post(sandbox, _envelope("<n1:login/>"))) == bad
    user = {"username": "u@x.example", "password": "pw", "security_token": "T"}
    put(sandbox, "users", **user, token_required=True)
    assert _fault(_post(sandbox, _login("u@x.example", "pw")))[0] == "LOGIN_MUST_USE_SECURITY_TOKEN"
    put(sandbox, "users", username="u@x.example", password_expired=True)
    assert "<passwordExpired>true</passwordExpired>" in _post(sandbox, _login("u@x.example", "pwT")).text
    put(sandbox, "users", username="u@x.example", active=False)
    assert _fault(_post(sandbox, _login("u@x.example", "pwT"))) == bad
    put(sandbox, "users", username="u@x.example", active=True, permissions={"system": {"ApiEnabled": False}})
    assert _fault(_post(sandbox, _login("u@x.example", "pwT")))[0] == "API_DISABLED_FOR_ORG"
    scope = "<n1:LoginScopeHeader><n1:organizationId>{}</n1:organizationId></n1:LoginScopeHeader>"
    right = f"<n1:login><n1:username>{sandbox.username}</n1:username><n1:password>{sandbox.password}</n1:password>"
    for org, status in (("00D5s0000000001", 200), ("00D5s0000000002", 500)):
        assert _post(sandbox, _envelope(right + "</n1:login>", scope.format(org))).status_code == status


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("30.0", "UNSUPPORTED_API_VERSION"),
        ("65.0", "INVALID_OPERATION"),
        ("67.0", "INVALID_OPERATION"),
        ("68.0", "UNSUPPORTED_API_VERSION"),
        ("soon", "UNSUPPORTED_API_VERSION"),
    ],
)
def test_a_login_needs_a_version_that_has_it(sandbox: SandboxProcess, version: str, code: str) -> None:
    assert _fault(_post(sandbox, _login(sandbox.username, sandbox.password), f"u/{version}"))[0] == code


def test_what_is_no_call_is_a_client_fault(sandbox: SandboxProcess) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
    for content in (b"", b"\x00", b"<a>", b"<a/>", bomb, bomb.encode("utf-16"), "<a>" * 5000, _envelope("")):
        answer = _post(sandbox, content)
        assert answer.status_code == 500
        assert "<faultcode>soapenv:Client</faultcode>" in answer.text
    unknown = _post(sandbox, _envelope("<n1:dance/>"))
    assert "No operation available for request {urn:partner.soap.sforce.com}dance" in unknown.text
    assert _post(sandbox, _envelope("<n1:login/>"), "z/59.0").status_code == 500


def _undelete(sandbox: SandboxProcess, token: str, ids: list[str]) -> requests.Response:
    header = f"<n1:SessionHeader><n1:sessionId>{token}</n1:sessionId></n1:SessionHeader>"
    listed = "".join(f"<n1:ids>{each}</n1:ids>" for each in ids)
    return _post(sandbox, _envelope(f"<n1:undelete>{listed}</n1:undelete>", header))


def _results(answer: requests.Response) -> list[tuple[str | None, str, str | None]]:
    """Id, success and status code of each result."""
    assert answer.status_code == 200, answer.text
    response = ElementTree.fromstring(answer.content)[0][0]
    assert response.tag == PARTNER + "undeleteResponse"
    return [
        (
            each.findtext(PARTNER + "id") or None,
            each.findtext(PARTNER + "success") or "",
            each.findtext(f"{PARTNER}errors/{PARTNER}statusCode"),
        )
        for each in response
    ]


def test_deleted_records_come_back_each_by_itself_with_what_went_along(sandbox: SandboxProcess, client: Client) -> None:
    account = client.create("Account", Name="Parent")
    contact = client.create("Contact", LastName="Child", AccountId=account)
    alive = client.create("Account", Name="Alive")
    assert client.call("DELETE", f"/sobjects/Account/{account}").status_code == 204
    assert client.query("SELECT Id FROM Contact") == []
    token = sandbox.login()
    ids = [account[:15], alive, "001000000000001AAA", "nonsense"]
    assert _results(_undelete(sandbox, token, ids)) == [
        (account, "true", None),
        (None, "false", "UNDELETE_FAILED"),
        (None, "false", "INVALID_CROSS_REFERENCE_KEY"),
        (None, "false", "MALFORMED_ID"),
    ]
    assert {each["Id"] for each in client.query("SELECT Id FROM Account")} == {account, alive}
    assert client.query("SELECT Id, AccountId FROM Contact") == [{"Id": contact, "AccountId": account}]


def test_an_undelete_needs_a_session_and_takes_two_hundred(sandbox: SandboxProcess) -> None:
    assert _fault(_undelete(sandbox, "none", ["001000000000001AAA"]))[0] == "INVALID_SESSION_ID"
    code, message = _fault(_undelete(sandbox, sandbox.login(), ["001000000000001AAA"] * 201))
    assert code == "EXCEEDED_ID_LIMIT"
    assert "more than 200" in message


def test_an_independent_client_restores_a_record(sandbox: SandboxProcess, client: Client) -> None:
    """zeep reads the answer by a WSDL of its own, written after the partner WSDL."""
    zeep = pytest.importorskip("zeep")
    account = client.create("Account", Name="Gone")
    client.call("DELETE", f"/sobjects/Account/{account}")
    url = f"{sandbox.http_url}/services/Soap/u/59.0"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "partner.wsdl"
        path.write_text(WSDL.replace("ADDRESS", url))
        soap = zeep.Client(str(path))
        (result,) = soap.service.undelete(ids=[account], _soapheaders={"SessionHeader": {"sessionId": sandbox.login()}})
    assert (result.id, result.success, result.errors) == (account, True, [])
    assert client.query("SELECT Name FROM Account") == [{"Name": "Gone"}]


WSDL = """<?xml version="1.0" encoding="UTF-8"?>
<definitions targetNamespace="urn:partner.soap.sforce.com" xmlns="http://schemas.xmlsoap.org/wsdl/"
 xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:tns="urn:partner.soap.sforce.com">
<types><schema elementFormDefault="qualified" xmlns="http://www.w3.org/2001/XMLSchema"
 targetNamespace="urn:partner.soap.sforce.com">
<element name="SessionHeader"><complexType><sequence><element name="sessionId" type="string"/></sequence></complexType>
</element>
<element name="undelete"><complexType><sequence>
<element name="ids" minOccurs="0" maxOccurs="unbounded" type="string"/></sequence></complexType></element>
<complexType name="Error"><sequence><element name="fields" type="string" nillable="true" minOccurs="0"
 maxOccurs="unbounded"/><element name="message" type="string"/><element name="statusCode" type="string"/></sequence>
</complexType>
<complexType name="UndeleteResult"><sequence><element name="errors" minOccurs="0" maxOccurs="unbounded"
 type="tns:Error"/><element name="id" type="string" nillable="true"/><element name="success" type="boolean"/></sequence>
</complexType>
<element name="undeleteResponse"><complexType><sequence><element name="result" minOccurs="0" maxOccurs="unbounded"
 type="tns:UndeleteResult"/></sequence></complexType></element>
</schema></types>
<message name="Header"><part element="tns:SessionHeader" name="SessionHeader"/></message>
<message name="undeleteRequest"><part element="tns:undelete" name="parameters"/></message>
<message name="undeleteResponse"><part element="tns:undeleteResponse" name="parameters"/></message>
<portType name="Soap"><operation name="undelete"><input message="tns:undeleteRequest"/>
<output message="tns:undeleteResponse"/></operation></portType>
<binding name="SoapBinding" type="tns:Soap"><soap:binding style="document"
 transport="http://schemas.xmlsoap.org/soap/http"/>
<operation name="undelete"><soap:operation soapAction=""/>
<input><soap:header use="literal" message="tns:Header" part="SessionHeader"/><soap:body parts="parameters"
 use="literal"/></input><output><soap:body use="literal"/></output></operation></binding>
<service name="Service"><port binding="tns:SoapBinding" name="Soap"><soap:address location="ADDRESS"/></port></service>
</definitions>
"""
