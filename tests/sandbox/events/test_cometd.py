from __future__ import annotations

import threading
from typing import Any

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


class Bayeux:
    """A bare client of the Streaming API."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.url = f"{client.sandbox.http_url}/cometd/60.0"
        shaken = self.send(channel="/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"])[0]
        assert shaken["successful"], shaken
        self.id = shaken["clientId"]

    def send(self, **message: Any) -> list[dict[str, Any]]:
        answer = self.client.http.post(self.url, json=[message], timeout=30)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def subscribe(self, channel: str, replay: int | None = None) -> dict[str, Any]:
        ext = {} if replay is None else {"ext": {"replay": {channel: replay}}}
        return self.send(channel="/meta/subscribe", clientId=self.id, subscription=channel, **ext)[0]

    def connect(self, milliseconds: int = 0) -> list[dict[str, Any]]:
        """The events that are due."""
        wanted = {"timeout": milliseconds}
        answers = self.send(channel="/meta/connect", clientId=self.id, connectionType="long-polling", advice=wanted)
        assert answers[-1]["successful"] and answers[-1]["channel"] == "/meta/connect"
        return [each["data"] for each in answers[:-1]]


def publish(client: Client, number: str) -> None:
    assert client.call("POST", "/sobjects/Order_Event__e", json={"Order_Number__c": number}).status_code == 201


def test_platform_events_come_new_or_replayed(client: Client) -> None:
    publish(client, "O1")
    new, all_of_them = Bayeux(client), Bayeux(client)
    assert new.subscribe("/event/Order_Event__e")["successful"]
    assert all_of_them.subscribe("/event/Order_Event__e", -2)["successful"]
    assert new.connect() == []
    publish(client, "O2")
    (data,) = new.connect()
    assert data["payload"]["Order_Number__c"] == "O2" and data["payload"]["CreatedById"].startswith("005")
    assert set(data["event"]) == {"replayId", "EventUuid"} and data["payload"]["CreatedDate"].endswith("Z")
    replayed = all_of_them.connect()
    assert [each["payload"]["Order_Number__c"] for each in replayed] == ["O1", "O2"]
    after_first = Bayeux(client)
    assert after_first.subscribe("/event/Order_Event__e", replayed[0]["event"]["replayId"])["successful"]
    assert [each["payload"]["Order_Number__c"] for each in after_first.connect()] == ["O2"]
    assert "replayId {1} you provided was invalid" in after_first.subscribe("/event/Order_Event__e", 1)["error"]


def test_a_connect_waits_for_events(client: Client) -> None:
    bayeux = Bayeux(client)
    bayeux.subscribe("/event/Order_Event__e")
    got: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: got.extend(bayeux.connect(20_000)))
    waiting.start()
    publish(Client(client.sandbox), "O1")
    waiting.join(20)
    assert [each["payload"]["Order_Number__c"] for each in got] == ["O1"]


def test_changes_of_records_are_told_with_what_changed(client: Client, event_sandbox: SandboxProcess) -> None:
    bayeux = Bayeux(client)
    for channel in ("/data/ContactChangeEvent", "/data/ChangeEvents"):
        assert bayeux.subscribe(channel)["successful"]
    client.http.headers["Sforce-Call-Options"] = "client=Loader"
    contact = client.create("Contact", LastName="Ada", Title="Dr")
    client.create("Account", Name="Not captured")
    client.call("PATCH", f"/sobjects/Contact/{contact}", json={"Title": None, "LastName": "Ada"})
    client.call("DELETE", f"/sobjects/Contact/{contact}")
    client.http.post(f"{event_sandbox.http_url}/_sandbox/undelete", json={"ids": [contact]}, timeout=10)
    events = bayeux.connect()
    assert len(events) == 8 and events[:4] == events[4:]
    headers = [each["payload"]["ChangeEventHeader"] for each in events[:4]]
    assert [each["changeType"] for each in headers] == ["CREATE", "UPDATE", "DELETE", "UNDELETE"]
    assert {tuple(each["recordIds"]) for each in headers} == {(contact,)}
    assert headers[0]["changeOrigin"] == "com/salesforce/api/rest/60.0;client=Loader"
    assert events[0]["payload"]["LastName"] == "Ada" and headers[0]["changedFields"] == []
    assert headers[1]["changedFields"] == ["Title", "LastModifiedDate"] and headers[1]["nulledFields"] == ["Title"]
    assert "LastName" not in events[1]["payload"]


def test_what_is_rolled_back_is_told_to_nobody(client: Client) -> None:
    bayeux = Bayeux(client)
    bayeux.subscribe("/data/ContactChangeEvent")
    records = [{"attributes": {"type": "Contact"}, "LastName": "Ada"}, {"attributes": {"type": "Contact"}}]
    client.call("POST", "/composite/sobjects", json={"records": records, "allOrNone": True})
    assert bayeux.connect() == []
    client.load("insert", "LastName\nBob\nCyd\n")
    told = bayeux.connect()
    assert [each["payload"]["LastName"] for each in told] == ["Bob", "Cyd"]
    assert [each["payload"]["ChangeEventHeader"]["sequenceNumber"] for each in told] == [1, 2]


def test_gap_events_name_records_only(client: Client, event_sandbox: SandboxProcess) -> None:
    bayeux = Bayeux(client)
    bayeux.subscribe("/data/ContactChangeEvent")
    client.http.post(f"{event_sandbox.http_url}/_sandbox/change-data", json={"gaps": True}, timeout=10)
    client.create("Contact", LastName="Ada")
    (event,) = bayeux.connect()
    assert set(event["payload"]) == {"ChangeEventHeader"}
    assert event["payload"]["ChangeEventHeader"]["changeType"] == "GAP_CREATE"


def test_a_push_topic_tells_of_records_its_query_finds(client: Client) -> None:
    query = "SELECT Id, Name, Site FROM Account WHERE Site = 'Rome'"
    topic = {"Name": "Romans", "Query": query, "ApiVersion": 60.0, "NotifyForFields": "Select"}
    client.create("PushTopic", **topic)
    bayeux = Bayeux(client)
    assert bayeux.subscribe("/topic/Romans")["successful"]
    client.create("Account", Name="Elsewhere", Site="Oslo")
    acme = client.create("Account", Name="Acme", Site="Rome")
    client.call("PATCH", f"/sobjects/Account/{acme}", json={"Phone": "1"})
    client.call("PATCH", f"/sobjects/Account/{acme}", json={"Name": "Acme 2"})
    client.call("DELETE", f"/sobjects/Account/{acme}")
    told = bayeux.connect()
    assert [each["event"]["type"] for each in told] == ["created", "updated", "deleted"]
    assert told[1]["sobject"] == {"Id": acme, "Name": "Acme 2", "Site": "Rome"}
    assert bayeux.subscribe("/topic/Nothing")["error"] == "404::Unknown channel: /topic/Nothing"


def test_strangers_and_nonsense_are_told_so(client: Client) -> None:
    bayeux = Bayeux(client)
    unknown = bayeux.send(channel="/meta/connect", clientId="nobody")[0]
    assert (unknown["error"], unknown["advice"]["reconnect"]) == ("403::Unknown client", "handshake")
    assert bayeux.subscribe("/event/Nothing__e")["error"].startswith("404::Unknown channel")
    assert bayeux.send(channel="/event/Order_Event__e", clientId=bayeux.id)[0]["error"].startswith("403::")
    bayeux.send(channel="/meta/disconnect", clientId=bayeux.id)
    assert bayeux.send(channel="/meta/connect", clientId=bayeux.id)[0]["error"] == "403::Unknown client"
    client.http.headers["Authorization"] = "OAuth 00Dxx!nothing"
    assert bayeux.send(channel="/meta/handshake")[0]["error"] == "401::Authentication invalid"
    assert client.http.post(bayeux.url, data=b"nonsense", timeout=10).status_code == 400
