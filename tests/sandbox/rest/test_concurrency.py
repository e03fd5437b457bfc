from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from tests.sandbox.conftest import Client

WRITERS = 3
ROUNDS = 4
ROWS = 25


def test_readers_never_see_half_a_call(client: Client) -> None:
    done = Event()
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reader = pool.submit(_read_until, Client(client.sandbox), done)
        writers = [pool.submit(_write, Client(client.sandbox), place) for place in range(WRITERS)]
        try:
            statuses = sum((each.result() for each in writers), Counter[int]())
        finally:
            done.set()
        seen = reader.result()
    assert statuses == {200: WRITERS * ROUNDS * 3 - ROUNDS, 201: ROUNDS}
    assert seen
    assert all(people % ROWS == 0 and firms % 2 == 0 for people, firms in seen)
    # However many upsert one key at a time, there is one record of it, and what one of them wrote stays together.
    rows = client.query("SELECT External_Id__c, Title, Department FROM Contact WHERE External_Id__c != null")
    assert len(rows) == len({row["External_Id__c"] for row in rows}) == ROUNDS
    assert all(row["Title"] == row["Department"] for row in rows)


def _write(client: Client, place: int) -> Counter[int]:
    """Write a collection, a key that all writers write, and two records that belong together; the answers' statuses."""
    statuses: Counter[int] = Counter()
    account = {"method": "POST", "url": "/services/data/v60.0/sobjects/Account", "body": {"Name": "A"}}
    pair: dict[str, Any] = {"compositeRequest": [{**account, "referenceId": name} for name in ("a", "b")]}
    people = [{"attributes": {"type": "Contact"}, "LastName": "Crowd"}] * ROWS
    for number in range(ROUNDS):
        own = {"LastName": "One", "Title": str(place), "Department": str(place)}
        for method, path, body in (
            ("POST", "/composite/sobjects", {"records": people}),
            ("PATCH", f"/sobjects/Contact/External_Id__c/{number}", own),
            ("POST", "/composite", {**pair, "allOrNone": True}),
        ):
            statuses[client.call(method, path, json=body).status_code] += 1
    return statuses


def _read_until(client: Client, done: Event) -> list[tuple[int, int]]:
    counts = []
    while not done.is_set():
        texts = ("Contact WHERE LastName = 'Crowd'", "Account")
        found = [client.call("GET", "/query", params={"q": f"SELECT count() FROM {text}"}).json() for text in texts]
        counts.append((found[0]["totalSize"], found[1]["totalSize"]))
    return counts
