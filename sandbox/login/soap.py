"""The SOAP calls of login: login, logout, getUserInfo and getServerTimestamp; and undelete, which REST lacks.

SOAP API guide, "Core Calls".

Answers have their results' children without prefix and in the order of the WSDL, Body first; some clients read them by
position. Faults are HTTP 500 and write the prefix `sf:` out, since clients look for it as text.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from html import escape
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate

from sandbox.call import Answer, Call
from sandbox.login.places import instance_url
from sandbox.login.sessions import Session
from sandbox.login.users import User
from sandbox.org import FIRST_VERSION, LAST_VERSION, Org
from sandbox.rows.control import restore
from sandbox.rows.write import split_error
from sandbox.store import id18

# From this version on there is no login() any more; see issue 363 of forcedotcom/wsc for the words.
FIRST_WITHOUT_LOGIN = 65
KINDS = {"u": "partner", "c": "enterprise"}
MAX_DEPTH = 100
MOST_IDS = 200
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
BAD_LOGIN = "Invalid username, password, security token; or user locked out."
BAD_SESSION = "Invalid Session ID found in SessionHeader: Illegal Session. Session not found, missing session key: "


@dataclass
class Element:
    """One element of a request: its local name, what is in it, and its text."""

    name: str
    children: list[Element]
    text: str = ""

    def find(self, *path: str) -> Element | None:
        """The first element of a path of local names below this one."""
        here: Element | None = self
        for name in path:
            here = next((each for each in here.children if each.name == name), None) if here else None
        return here

    def text_of(self, *path: str) -> str:
        found = self.find(*path)
        return found.text if found else ""


class SoapFault(Exception):
    """A refusal: an exception code of the API, its message, and the type of the fault that carries it."""

    def __init__(self, code: str, message: str, kind: str = "UnexpectedErrorFault") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.kind = kind


class ClientFault(Exception):
    """A request that is no call of the API."""


def call_soap(org: Org, call: Call) -> Answer:
    """POST /services/Soap/u|c/VERSION[/ORG]: one call."""
    letter = call.arguments["kind"].lower()
    namespace = f"urn:{KINDS.get(letter, 'partner')}.soap.sforce.com"
    try:
        if letter not in KINDS:
            raise ClientFault(f"No service at /services/Soap/{call.arguments['kind']}")
        version = _version(call.arguments["version"])
        root = parse(call.body)
        body = root.find("Body")
        if root.name != "Envelope" or body is None or not body.children:
            raise ClientFault("The request is not a SOAP envelope with a call in its body")
        operation = body.children[0]
        known = _OPERATIONS.get(operation.name)
        if known is None:
            raise ClientFault(f"No operation available for request {{{namespace}}}{operation.name}")
        result = known(org, call, root, operation, version)
    except SoapFault as fault:
        return _answer(500, _api_fault(fault, namespace), namespace)
    except ClientFault as fault:
        content = f"<faultcode>soapenv:Client</faultcode><faultstring>{escape(str(fault))}</faultstring>"
        return _answer(500, f"<soapenv:Fault>{content}</soapenv:Fault>", namespace)
    return _answer(200, f"<{operation.name}Response>{result}</{operation.name}Response>", namespace)


def parse(content: bytes) -> Element:
    """The root element of a request.

    Raises ClientFault for what is no XML, and for documents with a type declaration, which can blow up.
    """
    top = Element("", [])
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise ClientFault("The request is nested too deep")
        made = Element(name.rpartition(" ")[2], [])
        stack[-1].children.append(made)
        stack.append(made)

    def end(name: str) -> None:
        stack.pop()

    def text(given: str) -> None:
        stack[-1].text += given

    def doctype(*facts: Any) -> None:
        raise ClientFault("A document type declaration is not allowed")

    parser = ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except (ExpatError, ValueError, LookupError) as error:
        raise ClientFault(f"The request is not well-formed XML: {error}") from None
    return top.children[0]


def _version(text: str) -> int:
    number = text.removesuffix(".0")
    if not number.isdecimal() or not number.isascii() or not FIRST_VERSION <= int(number[:4]) <= LAST_VERSION:
        raise SoapFault("UNSUPPORTED_API_VERSION", f"Invalid Api version specified on URL: {text}")
    return int(number)


def _answer(status: int, content: str, namespace: str) -> Answer:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns="{namespace}"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    )
    if status != 200:
        fault = namespace.replace("urn:", "urn:fault.")
        text = text.replace(f' xmlns="{namespace}"', f' xmlns:sf="{fault}"')
    return Answer(status, text, {"Cache-Control": "no-store"}, content_type="text/xml; charset=utf-8")


def _api_fault(fault: SoapFault, namespace: str) -> str:
    own = namespace.replace("urn:", "urn:fault.")
    code, message = escape(fault.code, quote=False), escape(fault.message, quote=False)
    return (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {message}</faultstring>"
        f'<detail><sf:{fault.kind} xmlns:sf="{own}" xsi:type="sf:{fault.kind}"><sf:exceptionCode>{code}'
        f"</sf:exceptionCode><sf:exceptionMessage>{message}</sf:exceptionMessage></sf:{fault.kind}></detail>"
        "</soapenv:Fault>"
    )


# The calls


def _login(org: Org, call: Call, root: Element, operation: Element, version: int) -> str:
    if version >= FIRST_WITHOUT_LOGIN:
        message = f"The SOAP Login operation is not available in the API version specified ({version}.0)."
        raise _refused("INVALID_OPERATION", f"{message} Refer to the documentation for supported versions.")
    user = org.users.named(operation.text_of("username").strip())
    given = operation.text_of("password")
    scope = root.text_of("Header", "LoginScopeHeader", "organizationId").strip()
    if scope and scope[:15] != org.org_id[:15]:
        raise _refused("INVALID_LOGIN", BAD_LOGIN)
    if user is None:
        raise _refused("INVALID_LOGIN", BAD_LOGIN)
    if user.token_required and user.security_token and given == user.password:
        message = "Invalid username, password, security token; or user locked out. Are you at a new location?"
        message += " When accessing Salesforce--either via a desktop client or the API--from outside of your company's"
        message += " trusted networks, you must add a security token to your password to log in."
        raise _refused("LOGIN_MUST_USE_SECURITY_TOKEN", message)
    right = org.users.check_password(user, given)
    if not right or org.users.is_locked(user) or not org.users.is_active(user):
        raise _refused("INVALID_LOGIN", BAD_LOGIN)
    if not org.permissions.has(user, "ApiEnabled"):
        raise _refused("API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner")
    session = org.sessions.open(user)
    return f"<result>{_login_result(org, call, session)}</result>"


def _refused(code: str, message: str) -> SoapFault:
    return SoapFault(code, message, "LoginFault")


def _login_result(org: Org, call: Call, session: Session) -> str:
    base, version = instance_url(call), call.arguments["version"]
    tail = f"{version}/{org.org_id[:15]}"
    facts = {
        "metadataServerUrl": f"{base}/services/Soap/m/{tail}",
        "passwordExpired": session.user.password_expired,
        "sandbox": True,
        "serverUrl": f"{base}/services/Soap/{call.arguments['kind'].lower()}/{tail}",
        "sessionId": session.token,
        "userId": session.user.id,
    }
    return f"{_children(facts)}<userInfo>{_user_info(org, session.user)}</userInfo>"


def _user_info(org: Org, user: User) -> str:
    record = org.users.record(user)
    organization = org.store.rows('SELECT Name FROM "Organization" LIMIT 1')
    return _children(
        {
            "accessibilityMode": False,
            "chatterExternal": False,
            "currencySymbol": "$",
            "orgAttachmentFileSizeLimit": 5_242_880,
            "orgDefaultCurrencyIsoCode": "USD",
            "orgDefaultCurrencyLocale": "en_US",
            "orgDisallowHtmlAttachments": False,
            "orgHasPersonAccounts": False,
            "organizationId": org.org_id,
            "organizationMultiCurrency": False,
            "organizationName": organization[0][0] if organization else "",
            "profileId": record["ProfileId"],
            "roleId": None,
            "sessionSecondsValid": int(org.settings.token_lifetime),
            "userDefaultCurrencyIsoCode": None,
            "userEmail": record["Email"],
            "userFullName": f"{record['FirstName'] or ''} {record['LastName']}".strip(),
            "userId": user.id,
            "userLanguage": record["LanguageLocaleKey"],
            "userLocale": record["LocaleSidKey"],
            "userName": record["Username"],
            "userTimeZone": record["TimeZoneSidKey"],
            "userType": "Standard",
            "userUiSkin": "Theme3",
        }
    )


def _children(facts: dict[str, Any]) -> str:
    parts = []
    for key, value in facts.items():
        if value is None:
            parts.append(f'<{key} xsi:nil="true"/>')
        else:
            shown = str(value).lower() if isinstance(value, bool) else escape(str(value), quote=False)
            parts.append(f"<{key}>{shown}</{key}>")
    return "".join(parts)


def _session(org: Org, root: Element) -> Session:
    given = root.text_of("Header", "SessionHeader", "sessionId").strip()
    session = org.sessions.find(given)
    if session is None:
        raise SoapFault("INVALID_SESSION_ID", BAD_SESSION + given)
    if not org.permissions.has(session.user, "ApiEnabled"):
        raise SoapFault("API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner")
    return session


def _logout(org: Org, call: Call, root: Element, operation: Element, version: int) -> str:
    org.sessions.end(_session(org, root).token)
    return ""


def _get_user_info(org: Org, call: Call, root: Element, operation: Element, version: int) -> str:
    return f"<result>{_user_info(org, _session(org, root).user)}</result>"


def _get_server_timestamp(org: Org, call: Call, root: Element, operation: Element, version: int) -> str:
    _session(org, root)
    moment = datetime.datetime.fromtimestamp(org.clock.time(), datetime.UTC)
    shown = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    return f"<result><timestamp>{shown}</timestamp></result>"


def _undelete(org: Org, call: Call, root: Element, operation: Element, version: int) -> str:
    session = _session(org, root)
    given = [each.text.strip() for each in operation.children if each.name == "ids"]
    if len(given) > MOST_IDS:
        message = f"record limit reached. cannot submit more than {MOST_IDS} records into this call"
        raise SoapFault("EXCEEDED_ID_LIMIT", message, "InvalidSObjectFault")
    wrong = [each for each in given if len(each) not in (15, 18) or not (each.isascii() and each.isalnum())]
    ids = [each for each in given if each not in wrong]
    restored = restore(org, [id18(each[:15]) for each in ids], session.user.id)
    errors = dict(zip(ids, restored, strict=True)) | {each: f"MALFORMED_ID:malformed id {each}:--" for each in wrong}
    return "".join(_undelete_result(each, errors[each]) for each in given)


def _undelete_result(given: str, error: str | None) -> str:
    """One result: its errors, the id (none with an error), and whether it succeeded."""
    if error is None:
        return f"<result>{_children({'id': id18(given[:15]), 'success': True})}</result>"
    split = split_error(error)
    fields = "".join(_children({"fields": each}) for each in split["fields"])
    told = fields + _children({"message": split["message"], "statusCode": split["code"]})
    return f"<result><errors>{told}</errors>{_children({'id': None, 'success': False})}</result>"


_OPERATIONS = {
    "login": _login,
    "logout": _logout,
    "getUserInfo": _get_user_info,
    "getServerTimestamp": _get_server_timestamp,
    "undelete": _undelete,
}
