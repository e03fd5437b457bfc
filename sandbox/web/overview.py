"""The page at /: where the org is reached, how clients log in, what is in it, what is used of its limits."""

from __future__ import annotations

from urllib.parse import urlsplit

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web import layout
from sandbox.web.html import Html, code, html, link, number, plural, tag
from sandbox.web.layout import VIEW, address

SHOWN = 12


def home(org: Org, call: Call) -> Answer:
    """GET /."""
    return layout.page(org, call, "Overview", live=html(_figures(org), _fullest(org)), after=_ways_in(org, call))


def _ways_in(org: Org, call: Call) -> Html:
    return html(layout.section("Where it is", _addresses(org, call)), layout.section("Log in", _logins(org, call)))


def _figures(org: Org) -> Html:
    counts, seeded = org.store.counts(), _seeded(org)
    jobs = list(org.jobs.values())
    failed = sum(job.state in layout.BAD_STATES for job in jobs)
    faults = org.faults.as_json()
    records = sum(live for object_name, (live, _) in counts.items() if object_name not in seeded)
    in_bin = sum(deleted for _, deleted in counts.values())
    used = org.usage.used()
    bar = tag("progress", value=used, max=max(1, org.usage.most), class_="bar-of", aria_label="API requests used")
    speed = "" if org.clock.speed == 1 else f", {org.clock.speed:g} times as fast"
    return tag(
        "div",
        [
            figure("Records", number(records), f"{number(in_bin)} in the recycle bin", f"{VIEW}/objects"),
            figure("Bulk jobs", number(len(jobs)), f"{number(failed)} failed or aborted", f"{VIEW}/jobs"),
            figure("Requests", number(sum(org.call_counts.values())), "since the start", f"{VIEW}/requests"),
            figure("API requests", number(used), f"of {number(org.usage.most)} a day", f"{VIEW}/settings", bar),
            figure("Faults", number(len(faults)), _held(faults), f"{VIEW}/faults"),
            figure("Clock", layout.moment(org.clock.time())[11:], f"UTC{speed}", f"{VIEW}/settings"),
        ],
        class_="cards",
    )


def _seeded(org: Org) -> set[str]:
    """Objects with records from the start, which say little about what has arrived."""
    return {"User", *(each.name for each in org.schema if each.records)}


def _held(faults: list[dict[str, int]]) -> str:
    held = sum(rule["held"] for rule in faults)
    return plural(held, "call held", "calls held") if held else "rules"


def figure(title: str, value: str, note: str, to: str, *more: Html) -> Html:
    """A number with what it counts, leading to the page about it."""
    return link(to, title, tag("b", value), tag("small", note), more, class_="figure")


def _fullest(org: Org) -> Html:
    seeded = _seeded(org)
    counts = {key: each for key, each in org.store.counts().items() if key not in seeded and any(each)}
    ranked = sorted(counts, key=lambda each: -counts[each][0])[:SHOWN]
    if not ranked:
        return layout.section("Objects", layout.none_yet("No records yet. What clients write shows up here."))
    cards = [
        figure(each, number(counts[each][0]), _bin_note(counts[each][1]), address("objects", each)) for each in ranked
    ]
    return layout.section("Objects", tag("div", cards, class_="cards"), note=link(f"{VIEW}/objects", "all"))


def _bin_note(deleted: int) -> str:
    return f"{number(deleted)} in the recycle bin" if deleted else ""


def _addresses(org: Org, call: Call) -> Html:
    known = {"HTTP": call.base_url, **{key: value for key, value in org.addresses.items() if value}}
    pairs = [(key, code(value)) for key, value in known.items()]
    settings = org.settings
    pairs += [
        ("Org id", code(org.org_id)),
        ("Username", code(settings.username)),
        ("Password", html(code(settings.password), " + security token ", code(settings.security_token))),
        ("Client id", code(settings.client_id)),
        ("Client secret", code(settings.client_secret)),
    ]
    return layout.card(layout.facts(pairs))


def _logins(org: Org, call: Call) -> Html:
    plain = str(org.addresses.get("HTTP") or call.base_url)
    secure = org.addresses.get("HTTPS")
    ca_file = str(org.addresses.get("CA certificate") or "ca.pem")
    safe = f"https://localhost:{urlsplit(str(secure)).port}" if secure else "https://localhost:8443"
    missing = None
    if not secure:
        missing = tag("p", "Clients that insist on HTTPS need a start with ", tag("code", "--https-port 8443"), ".")
    texts = snippets(org, plain, safe, ca_file)
    cards = [layout.card(tag("h3", title), layout.copyable(text)) for title, text in texts]
    return html(missing, tag("div", cards, class_="two"))


def snippets(org: Org, plain: str, safe: str, ca_file: str) -> list[tuple[str, str]]:
    """Lines that log in, by the name of their client. `plain` and `safe` are the addresses by HTTP and HTTPS."""
    settings = org.settings
    return [
        (
            "curl",
            f"curl {plain}/services/oauth2/token \\\n  -d grant_type=client_credentials \\\n"
            f"  -d client_id={settings.client_id} -d client_secret={settings.client_secret}",
        ),
        (
            "simple-salesforce",
            "import requests\nfrom simple_salesforce import Salesforce\n\n"
            f'session = requests.Session()\nsession.verify = "{ca_file}"\n'
            f'form = {{"grant_type": "client_credentials",\n        "client_id": "{settings.client_id}",\n'
            f'        "client_secret": "{settings.client_secret}"}}\naddress = "{safe}"\n'
            'answer = session.post(address + "/services/oauth2/token", data=form)\n'
            'token = answer.json()["access_token"]\n'
            "sf = Salesforce(instance_url=address, session_id=token, session=session)",
        ),
        (
            "jsforce",
            'const jsforce = require("jsforce");\n'
            f'const connection = new jsforce.Connection({{\n  loginUrl: "{plain}" }});\n'
            f'await connection.login("{settings.username}",\n  "{settings.password}{settings.security_token}");',
        ),
        (
            "sf (Salesforce CLI)",
            f"# TOKEN: the access_token that curl was given\nSF_ACCESS_TOKEN=$TOKEN sf org login access-token \\\n"
            f"  --instance-url {plain} \\\n  --alias practice --no-prompt",
        ),
        (
            "salesforce-bulk",
            "from salesforce_bulk import SalesforceBulk\n\n"
            f"# REQUESTS_CA_BUNDLE={ca_file}\n"
            f'bulk = SalesforceBulk(\n    sessionId=token, host="{urlsplit(safe).netloc}")',
        ),
    ]
