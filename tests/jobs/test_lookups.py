"""Lookups, through real jobs against the sandbox: parents found by Salesforce itself, and by sfsync."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from jobs.models import Job, Status
from jobs.results import row_errors
from jobs.view import changed_silently
from syncs.engine import rules
from syncs.models import Sync
from tests.factories import make_connection, make_organization, make_sync
from tests.jobs.scenario import make_destination, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

BY_KEY = {"lookup_object": "Account", "lookup_field": "External_Id__c"}
BY_NAME = {"lookup_object": "Account", "lookup_field": "Name"}
ACCOUNTS = {"External_Id__c": "id", "Name": "name"}


class Scene:
    """An organization with connections to files and to the sandbox, which holds a few accounts."""

    def __init__(self, sandbox, org) -> None:
        self.sandbox, self.org = sandbox, org
        self.organization = make_organization()
        self.source = make_connection(self.organization)
        self.destination = make_destination(self.organization, sandbox)

    def sync(self, object: str, mappings: dict[str, Any], rows: Iterable[Iterable[str]], **changes: Any) -> Sync:
        """A sync of a file with the columns id, name and parent."""
        name = changes.pop("name", object)
        write_csv(self.organization, f"{name}.csv", [["id", "name", "parent"], *rows])
        values = {"name": name, "object": object, "source_path": f"{name}.csv", **changes}
        return make_sync(
            self.organization, source=self.source, destination=self.destination, mappings=mappings, **values
        )

    def contacts(self, rows: Iterable[Iterable[str]], target: str = "AccountId", **line: Any) -> Sync:
        mappings = {"External_Id__c": "id", "LastName": "name", target: {"source_column": "parent", **line}}
        return self.sync("Contact", mappings, rows)

    def accounts(self, *rows: tuple[str, str]) -> dict[str, str]:
        """Make accounts of a key and a name each; return their ids by key."""
        sync = self.sync("Account", ACCOUNTS, [[*row, ""] for row in rows], name="Parents")
        assert run(sync).status == Status.SUCCEEDED
        found = self.org.query("SELECT Id, External_Id__c FROM Account WHERE External_Id__c != null")
        return {record["External_Id__c"]: record["Id"] for record in found}

    def parents(self, object: str = "Contact", field: str = "AccountId") -> dict[str, str | None]:
        """Of each record with a key, what its lookup field holds."""
        found = self.org.query(f"SELECT External_Id__c, {field} FROM {object} WHERE External_Id__c != null")
        return {record["External_Id__c"]: record[field] for record in found}


@pytest.fixture
def scene(sandbox, org) -> Scene:
    return Scene(sandbox, org)


def errors(job: Job) -> list[tuple[int, str, str]]:
    return [(error.row, error.source, error.code) for error in row_errors(job).errors]


def test_a_parent_is_found_by_salesforce_by_its_external_id(scene):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"))
    job = run(scene.contacts([("C1", "Ana", "A1"), ("C2", "Ben", "a2"), ("C3", "Cleo", "")], **BY_KEY))
    assert job.status == Status.SUCCEEDED
    assert scene.parents() == {"C1": ids["A1"], "C2": ids["A2"], "C3": None}
    assert "lookups" in job.manifests and job.manifests["lookup_values"] == {}


def test_a_parent_named_in_another_case_is_the_same_parent_in_each_compare(scene):
    scene.accounts(("Ab1", "Acme"))
    sync = scene.contacts([("C1", "Ana", "AB1")], **BY_KEY)
    Sync.all_objects.filter(pk=sync.pk).update(compare="destination")
    assert run(sync).counts["inserted"] == 1
    assert run(sync).counts["unchanged"] == 1
    Sync.all_objects.filter(pk=sync.pk).update(compare="snapshot")
    write_csv(scene.organization, "Contact.csv", [["id", "name", "parent"], ["C1", "Ana", "aB1"]])
    assert run(sync).counts["unchanged"] == 1


def test_a_parent_that_salesforce_does_not_find_refuses_the_row_there(scene):
    scene.accounts(("A1", "Acme"))
    job = run(scene.contacts([("C1", "Ana", "A1"), ("C2", "Ben", "nobody")], **BY_KEY))
    assert (job.status, job.counts["inserted"], job.counts["failed"]) == (Status.PARTIAL, 1, 1)
    assert errors(job) == [(2, "salesforce", "INVALID_FIELD")]


def test_rows_without_a_key_find_their_results_though_the_parent_is_a_relationship(scene):
    ids = scene.accounts(("A1", "Acme"))
    mappings = {"LastName": "name", "AccountId": {"source_column": "parent", **BY_KEY}}
    rows = [("", "Ana", "A1"), ("", "Ana", "A1"), ("", "Ben", "nobody"), ("", "Cleo", "")]
    settings = {"key_fields": [], "mode": "insert", "compare": "nothing"}
    job = run(scene.sync("Contact", mappings, rows, **settings))
    assert (job.counts["inserted"], job.counts["failed"], job.counts["unknown"]) == (3, 1, 0)
    found = scene.org.query("SELECT LastName, AccountId FROM Contact ORDER BY LastName")
    assert [tuple(record.values()) for record in found] == [
        ("Ana", ids["A1"]),
        ("Ana", ids["A1"]),
        ("Cleo", None),
    ]


def test_a_parent_is_found_by_sfsync_by_its_name(scene):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"))
    sync = scene.contacts([("C1", "Ana", "Acme"), ("C2", "Ben", "UMBRELLA"), ("C3", "Cleo", "")], **BY_NAME)
    assert run(sync).status == Status.SUCCEEDED
    assert scene.parents() == {"C1": ids["A1"], "C2": ids["A2"], "C3": None}
    again = run(sync)
    assert (again.status, again.counts["unchanged"]) == (Status.SUCCEEDED, 3)


def test_a_missing_parent_and_an_ambiguous_one_are_row_errors(scene):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Twin"), ("A3", "twin"))
    rows = [("C1", "Ana", "Acme"), ("C2", "Ben", "Nobody"), ("C3", "Cleo", "Twin"), ("C4", "Dora", "#N/A")]
    job = run(scene.contacts(rows, **BY_NAME))
    assert (job.status, job.counts["inserted"], job.counts["rejected"]) == (Status.PARTIAL, 1, 3)
    assert errors(job) == [
        (2, "rule", rules.UNRESOLVED_LOOKUP),
        (3, "rule", rules.AMBIGUOUS_LOOKUP),
        (4, "rule", rules.RESERVED),
    ]
    [missing, ambiguous, _] = row_errors(job).errors
    assert missing.value == "Nobody" and "'Nobody' is the Account Name (Name) of no Account" in missing.message
    assert all(ids[key] in ambiguous.message for key in ("A2", "A3"))


@pytest.mark.parametrize("when_blank", ["leave", "clear"])
def test_a_missing_parent_may_be_left_blank(scene, when_blank):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"))
    sync = scene.contacts(
        [("C1", "Ana", "Acme"), ("C2", "Ben", "Umbrella"), ("C3", "Cleo", "Umbrella")],
        missing_parent="leave",
        when_blank=when_blank,
        **BY_NAME,
    )
    assert run(sync).status == Status.SUCCEEDED
    write_csv(
        scene.organization,
        "Contact.csv",
        [["id", "name", "parent"], ("C1", "Ana", "Gone"), ("C2", "Ben", ""), ("C3", "Cleo", "Acme")],
    )
    job = run(sync)
    assert job.status == Status.SUCCEEDED and job.counts["parents"] == {"AccountId": 1}
    assert ("Missing parent left blank", "AccountId", 1) in changed_silently(job)
    blank = None if when_blank == "clear" else ids["A2"]
    assert scene.parents() == {"C1": ids["A1"], "C2": blank, "C3": ids["A1"]}


def test_a_violation_of_a_line_that_is_not_validated_ends_the_job_as_partial(scene):
    ids = scene.accounts(("A1", "Acme"))
    job = run(scene.contacts([("C1", "Ana", "Acme"), ("C2", "Ben", "Nobody")], validated=False, **BY_NAME))
    assert (job.status, job.counts["inserted"], job.counts["violations"]) == (Status.PARTIAL, 2, 1)
    assert errors(job) == [(2, "violation", rules.UNRESOLVED_LOOKUP)]
    assert "1 row breaks a rule" in job.reason
    assert scene.parents() == {"C1": ids["A1"], "C2": None}


@pytest.mark.parametrize("few", [True, False])
def test_many_parents_are_read_by_one_bulk_query(scene, few, monkeypatch):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"), ("A3", "Initech"))
    monkeypatch.setattr("jobs.existing.FEW_KEYS", 10 if few else 1)
    job = run(scene.contacts([("C1", "Ana", "Acme"), ("C2", "Ben", "Umbrella")], **BY_NAME))
    assert job.status == Status.SUCCEEDED and scene.parents() == {"C1": ids["A1"], "C2": ids["A2"]}
    assert ("parents-Account.Name_query" in job.manifests) is not few
    assert job.manifests["parents"]["Account.Name"]["count"] == (2 if few else 3)


def test_the_same_works_with_compare_with_the_destination(scene):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"))
    sync = scene.contacts([("C1", "Ana", "A1"), ("C2", "Ben", "A2")], **BY_KEY)
    sync.compare = "destination"
    sync.save()
    assert run(sync).counts["inserted"] == 2
    assert run(sync).counts["unchanged"] == 2
    write_csv(scene.organization, "Contact.csv", [["id", "name", "parent"], ("C1", "Ana", "A2"), ("C2", "Ben", "A2")])
    assert run(sync).counts["updated"] == 1
    assert scene.parents() == {"C1": ids["A2"], "C2": ids["A2"]}


@pytest.mark.parametrize("compare", ["snapshot", "destination"])
def test_an_owner_of_several_objects_is_found_by_the_user_name(scene, compare):
    [user] = scene.org.query("SELECT Id, Username FROM User LIMIT 1")
    owner = {"source_column": "parent", "lookup_object": "User", "lookup_field": "Username"}
    mappings = {"LastName": "name", "Company": {"constant": "Acme"}, "Email": "id", "OwnerId": owner}
    rows = [("a@example.com", "Ana", user["Username"]), ("b@example.com", "Ben", user["Username"].upper())]
    sync = scene.sync("Lead", mappings, rows, key_fields=["Email"], compare=compare)
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 2)
    # What is to be compared is an id; else the column's title names the object.
    assert bool(job.manifests.get("lookup_values")) is (compare == "destination")
    write_csv(scene.organization, "Lead.csv", [["id", "name", "parent"], *((key, "New", who) for key, _, who in rows)])
    assert run(sync).counts["updated"] == 2
    assert {record["OwnerId"] for record in scene.org.query("SELECT OwnerId FROM Lead")} == {user["Id"]}


def test_accounts_of_three_levels_find_their_parents_in_one_job(scene):
    # Children come before their parents in the source.
    rows = [("A3", "Leaf", "A2"), ("A2", "Branch", "A1"), ("A1", "Root", ""), ("B2", "Other leaf", "A1")]
    mappings = {**ACCOUNTS, "ParentId": {"source_column": "parent", **BY_KEY}}
    job = run(scene.sync("Account", mappings, rows))
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 4)
    assert [(batch.wave, batch.rows) for batch in job.batches.order_by("wave")] == [(0, 1), (1, 2), (2, 1)]
    ids = scene.parents("Account", "Id")
    assert scene.parents("Account", "ParentId") == {"A1": None, "A2": ids["A1"], "A3": ids["A2"], "B2": ids["A1"]}


def test_a_self_reference_that_only_sfsync_could_find_is_a_problem(scene):
    mappings = {**ACCOUNTS, "ParentId": {"source_column": "parent", **BY_NAME}}
    job = run(scene.sync("Account", mappings, [("A1", "Root", "")]))
    assert job.status == Status.FAILED and "Choose an external id" in job.reason


def test_an_expression_finds_its_parent(scene):
    ids = scene.accounts(("A1", "Acme"), ("A2", "Umbrella"))
    value = {"source_column": None, "expression": "regexp_replace(parent, '^the ', '')"}
    sync = scene.contacts(
        [("C1", "Ana", "the Acme"), ("C2", "Ben", "Umbrella"), ("C3", "Cleo", "")], **value, **BY_NAME
    )
    assert run(sync).status == Status.SUCCEEDED
    assert scene.parents() == {"C1": ids["A1"], "C2": ids["A2"], "C3": None}
    key = {"source_column": None, "expression": "'A' || parent"}
    sync.mappings.filter(target="AccountId").update(lookup_field="External_Id__c", **key)
    write_csv(scene.organization, "Contact.csv", [["id", "name", "parent"], ("C1", "Ana", "2"), ("C2", "Ben", "1")])
    assert run(sync).counts["updated"] == 2
    assert scene.parents() == {"C1": ids["A2"], "C2": ids["A1"], "C3": None}


def test_an_expression_that_fails_clears_nothing_where_the_line_is_not_validated(scene):
    options = {"source_column": None, "expression": "CAST(parent AS INTEGER)::VARCHAR", "when_blank": "clear"}
    sync = scene.contacts([("C1", "Ana", "7")], target="Title", validated=False, **options)
    assert run(sync).status == Status.SUCCEEDED
    write_csv(scene.organization, "Contact.csv", [["id", "name", "parent"], ("C1", "Ana", "seven")])
    job = run(sync)
    assert (job.status, job.counts["violations"]) == (Status.PARTIAL, 1)
    assert scene.parents(field="Title") == {"C1": "7"}
