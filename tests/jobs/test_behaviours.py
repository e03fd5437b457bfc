"""What becomes of rows, by mode, compare and behaviour, through jobs against the sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Job, Status
from syncs.models import Parameter, Sync
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import make_people_sync, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

HEADER = ["id", "last", "first", "title"]
ANNA, BERT, CLEO = ["A1", "Arndt", "Anna", "CEO"], ["B1", "Braun", "Bert", "CFO"], ["C1", "Clay", "Cleo", "CTO"]
BY_NAME = {"LastName": "last", "FirstName": "first", "Title": "title"}


def load(sync: Sync, *rows: list[str], header: list[str] | None = None, **options: Any) -> Job:
    write_csv(sync.organization, "people.csv", [header or HEADER, *rows])
    return run(sync, **options)


def done(job: Job) -> dict[str, int]:
    """The counts of a job that are not 0, without those of dropped records."""
    return {name: count for name, count in job.counts.items() if isinstance(count, int) and count and name != "read"}


def dropped(job: Job) -> dict[str, int]:
    return {name: count for name, count in job.counts["dropped"].items() if count and name != "dropped"}


def people(org: OrgReader, fields: str = "FirstName, Title") -> dict[str, tuple[Any, ...]]:
    records = org.query(f"SELECT LastName, {fields} FROM Contact ORDER BY LastName")
    return {each.pop("LastName"): tuple(each.values()) for each in records}


def test_rows_match_by_several_fields_that_are_no_external_id(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    hand.insert("Contact", LastName="arndt", FirstName="ANNA", Title="old")
    sync = make_people_sync(sandbox, key_fields=["LastName", "FirstName"], mappings=BY_NAME)
    assert done(load(sync, ANNA, BERT)) == {"inserted": 1, "updated": 1}
    assert people(org) == {"arndt": ("ANNA", "CEO"), "Braun": ("Bert", "CFO")}
    assert done(load(sync, ANNA, BERT[:3] + ["COO"])) == {"unchanged": 1, "updated": 1}
    assert people(org)["Braun"] == ("Bert", "COO")


def test_a_key_of_several_records_is_rejected_and_names_them(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    first, second = (hand.insert("Contact", LastName="Arndt", FirstName="Anna") for _ in range(2))
    sync = make_people_sync(sandbox, key_fields=["LastName", "FirstName"], mappings=BY_NAME)
    job = load(sync, ANNA, BERT, ["B2", "", "Ben", ""])
    assert done(job) == {"inserted": 1, "rejected": 2}
    messages = {group.code: group.sample_message for group in job.error_groups.all()}
    assert first in messages["Ambiguous Key"] and second in messages["Ambiguous Key"]
    assert "Blank Key" in messages


def test_rows_match_by_id_of_15_or_18_characters(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    one, other = hand.insert("Contact", LastName="One"), hand.insert("Contact", LastName="Other")
    mappings = {"Id": "id", "Title": "title"}
    sync = make_people_sync(sandbox, key_fields=["Id"], mappings=mappings, mode="update")
    job = load(sync, [one[:15], "", "", "a"], [other, "", "", "b"], ["003000000000999AAA", "", "", "c"])
    assert done(job)["updated"] == 2 and job.counts["ignored"] + job.counts["rejected"] == 1
    assert people(org, "Title") == {"One": ("a",), "Other": ("b",)}


def test_compare_with_the_destination_finds_hand_edits(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    sync = make_people_sync(sandbox, compare="destination")
    assert done(load(sync, ANNA, BERT)) == {"inserted": 2}
    assert done(load(sync, ANNA, BERT)) == {"unchanged": 2}
    [record] = org.query("SELECT Id FROM Contact WHERE LastName = 'Arndt'")
    hand.update("Contact", record["Id"], Title="edited")
    assert done(load(sync, ANNA, BERT)) == {"unchanged": 1, "updated": 1}
    assert people(org)["Arndt"] == ("Anna", "CEO")


def test_a_target_filter_keeps_records_out_and_makes_none_twice(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    hand.insert("Contact", LastName="Arndt", External_Id__c="A1", Title="kept", Department="HR")
    hand.insert("Contact", LastName="Other", External_Id__c="O1", Department="IT")
    sync = make_people_sync(sandbox, compare="destination", target_filter="Department = 'IT'", mode="mirror")
    job = load(sync, ANNA, BERT)
    assert done(job) == {"ignored": 1, "inserted": 1} and dropped(job) == {"deleted": 1}
    assert people(org) == {"Arndt": (None, "kept"), "Braun": ("Bert", "CFO")}


def test_a_target_filter_takes_the_values_of_parameters(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    hand.insert("Contact", LastName="Other", External_Id__c="O1", Department="O'Brien's")
    hand.insert("Contact", LastName="Kept", External_Id__c="K1", Department="HR")
    filter = "Department = @department AND CreatedDate >= @since"
    sync = make_people_sync(sandbox, compare="destination", target_filter=filter, mode="mirror")
    for name, default in (("department", "HR"), ("since", "YESTERDAY")):
        Parameter.all_objects.create(organization=sync.organization, sync=sync, name=name, default=default)
    write_csv(sync.organization, "people.csv", [HEADER, ANNA])
    wrong = run(sync, parameters={"since": "lately"})
    assert wrong.status == Status.FAILED
    assert "@since: its value 'lately' is compared with CreatedDate, which needs a date-time" in wrong.reason
    job = run(sync, parameters={"department": "O'Brien's"})
    assert done(job) == {"inserted": 1} and dropped(job) == {"deleted": 1}
    assert set(people(org)) == {"Arndt", "Kept"}
    Sync.all_objects.filter(pk=sync.pk).update(target_filter="Department = @departments")
    unknown = run(sync)
    assert unknown.status == Status.FAILED and "it uses @departments" in unknown.reason


def test_a_mirror_of_the_destination_deletes_what_no_row_has(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    hand.insert("Contact", LastName="Other", External_Id__c="O1")
    hand.insert("Contact", LastName="Keyless")
    sync = make_people_sync(sandbox, compare="destination", mode="mirror")
    job = load(sync, ANNA)
    assert done(job) == {"inserted": 1} and dropped(job) == {"deleted": 1}
    assert set(people(org)) == {"Arndt", "Keyless"}


def test_the_mode_delete_deletes_each_match(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    sync = make_people_sync(sandbox)
    load(sync, ANNA, BERT, CLEO)
    Sync.all_objects.filter(pk=sync.pk).update(mode="delete", compare="nothing")
    job = load(sync, ANNA, ["Z9", "", "", ""])
    assert done(job) == {"deleted": 1, "ignored": 1}
    assert set(people(org)) == {"Braun", "Clay"}


def test_a_dropped_row_is_expired_once_and_revived(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    changes = {"mode": "custom", "on_new": "insert", "on_changed": "update", "on_dropped": "expire"}
    sync = make_people_sync(sandbox, expire_field="Last_Seen__c", **changes)
    assert done(load(sync, ANNA, BERT)) == {"inserted": 2}
    assert dropped(load(sync, ANNA)) == {"expired": 1}
    stamped = people(org, "Last_Seen__c")
    assert stamped["Arndt"] == (None,) and stamped["Braun"][0]
    assert dropped(load(sync, ANNA)) == {"ignored": 1}
    assert people(org, "Last_Seen__c") == stamped
    assert done(load(sync, ANNA, BERT)) == {"unchanged": 1, "updated": 1}
    assert people(org, "Last_Seen__c")["Braun"] == (None,)


def test_changed_rows_update_where_the_rule_holds(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    rule = {"all": [
        {"left": {"source": "title"}, "operator": "!=", "right": {"value": "skip"}},
        {"left": {"target": "Department"}, "operator": "is null"},
    ]}  # fmt: skip
    changes = {"mode": "custom", "on_new": "insert", "on_changed": "conditional", "on_dropped": "ignore"}
    sync = make_people_sync(sandbox, changed_rule=rule, **changes)
    load(sync, ANNA, BERT, CLEO)
    [record] = org.query("SELECT Id FROM Contact WHERE LastName = 'Clay'")
    hand.update("Contact", record["Id"], Department="HR")
    job = load(sync, ANNA[:3] + ["new"], BERT[:3] + ["skip"], CLEO[:3] + ["new"])
    assert done(job) == {"updated": 1, "ignored": 2}
    assert people(org) == {"Arndt": ("Anna", "new"), "Braun": ("Bert", "CFO"), "Clay": ("Cleo", "CTO")}


def test_a_column_says_what_becomes_of_each_row(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    hand.insert("Contact", LastName="Braun", External_Id__c="B1")
    hand.insert("Contact", LastName="Clay", External_Id__c="C1")
    sync = make_people_sync(sandbox, compare="nothing", action_column="do")
    rows = [[*ANNA, "insert"], [*BERT, "UPDATE"], [*CLEO, "Delete"], ["D1", "Doe", "D", "", "DELETE"]]
    rows += [["E1", "Eve", "E", "", "UPDATE"], ["F1", "Foe", "F", "", "merge"], ["G1", "Goe", "G", "", ""]]
    job = load(sync, *rows, header=[*HEADER, "do"])
    assert done(job) == {"inserted": 1, "updated": 1, "deleted": 1, "ignored": 2, "rejected": 2}
    assert people(org) == {"Arndt": ("Anna", "CEO"), "Braun": ("Bert", "CFO")}
    assert "'merge' in the column 'do' is no action" in job.error_groups.get().sample_message


def test_each_line_says_on_what_it_writes(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    mappings = {
        "External_Id__c": "id",
        "LastName": "last",
        "FirstName": {"source_column": "first", "write_on": "insert"},
        "Department": {"source_column": "first", "write_on": "update"},
        "Title": {"source_column": "title", "write_on": "only_if_empty"},
    }
    hand.insert("Contact", LastName="old", External_Id__c="B1", FirstName="kept", Title="kept")
    hand.insert("Contact", LastName="old", External_Id__c="C1")
    sync = make_people_sync(sandbox, mappings=mappings)
    assert done(load(sync, ANNA, BERT, CLEO)) == {"inserted": 1, "updated": 2}
    fields = "FirstName, Department, Title"
    assert people(org, fields) == {
        "Arndt": ("Anna", None, "CEO"),
        "Braun": ("kept", "Bert", "kept"),
        "Clay": (None, "Cleo", "CTO"),
    }
    # The new record has not been updated yet, so what only updates write is not known of it.
    assert done(load(sync, ANNA, BERT, CLEO)) == {"unchanged": 2, "updated": 1}
    assert people(org, fields)["Arndt"] == ("Anna", "Anna", "CEO")
    assert done(load(sync, ANNA[:2] + ["Anne", "x"], BERT, CLEO)) == {"unchanged": 2, "updated": 1}
    assert people(org, fields)["Arndt"] == ("Anna", "Anne", "CEO")


def test_a_field_that_is_filled_stays_even_when_every_row_is_sent(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    title = {"source_column": "title", "write_on": "only_if_empty"}
    mappings = {"External_Id__c": "id", "LastName": "last", "Title": title}
    sync = make_people_sync(sandbox, mappings=mappings)
    load(sync, ANNA)
    [record] = org.query("SELECT Id FROM Contact")
    hand.update("Contact", record["Id"], Title="edited")
    Sync.all_objects.filter(pk=sync.pk).update(compare="nothing")
    assert done(load(sync, ANNA)) == {"updated": 1}
    assert people(org, "Title") == {"Arndt": ("edited",)}


def test_a_baseline_sends_nothing_and_only_later_changes_go(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    hand.insert("Contact", LastName="by hand", External_Id__c="A1")
    sync = make_people_sync(sandbox)
    assert done(load(sync, ANNA, baseline=True)) == {"unchanged": 1}
    assert people(org, "Title") == {"by hand": (None,)}
    assert done(load(sync, ANNA)) == {"unchanged": 1}
    assert done(load(sync, ANNA[:3] + ["new"], BERT)) == {"updated": 1, "inserted": 1}


def test_a_row_refused_in_so_many_jobs_is_parked_until_it_changes(
    sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    refusal = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no bosses", "matches": "^CEO$"}
    sandbox.faults({"action": "refuse_rows", "object": "Contact", "field": "Title", **refusal})
    sync = make_people_sync(sandbox, park_after=2)
    assert done(load(sync, ANNA, BERT)) == {"failed": 1, "inserted": 1}
    assert load(sync, ANNA, BERT).counts["failed"] == 1
    job = load(sync, ANNA, BERT)
    assert done(job) == {"parked": 1, "unchanged": 1} and job.status == Status.SUCCEEDED
    assert done(load(sync, ANNA[:3] + ["boss"], BERT)) == {"inserted": 1, "unchanged": 1}


def refuse_bosses(sandbox: SandboxProcess) -> None:
    refusal = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no bosses", "matches": "^CEO$"}
    sandbox.faults({"action": "refuse_rows", "object": "Contact", "field": "Title", "times": None, **refusal})


def test_a_parked_row_that_stood_twice_in_the_source_is_one_row_when_it_stands_once_again(
    sandbox: SandboxProcess, org: OrgReader
) -> None:
    refuse_bosses(sandbox)
    sync = make_people_sync(sandbox, park_after=1)
    assert done(load(sync, ANNA)) == {"failed": 1}
    assert done(load(sync, ANNA, ANNA)) == {"rejected": 2}
    assert done(load(sync, ANNA)) == {"parked": 1}


def test_a_parked_row_is_sent_again_when_a_value_changes_that_only_inserts_write(
    sandbox: SandboxProcess, org: OrgReader
) -> None:
    refuse_bosses(sandbox)
    mappings = {"External_Id__c": "id", "LastName": "last", "Title": {"source_column": "title", "write_on": "insert"}}
    sync = make_people_sync(sandbox, park_after=1, mappings=mappings)
    assert done(load(sync, ANNA)) == {"failed": 1}
    assert done(load(sync, ANNA)) == {"parked": 1}
    assert done(load(sync, ANNA[:3] + ["boss"])) == {"inserted": 1}


def test_a_sync_that_parks_no_rows_any_more_sends_those_that_were_parked(
    sandbox: SandboxProcess, org: OrgReader
) -> None:
    refuse_bosses(sandbox)
    sync = make_people_sync(sandbox, park_after=1)
    assert done(load(sync, ANNA)) == {"failed": 1}
    Sync.all_objects.filter(pk=sync.pk).update(park_after=0)
    assert done(load(sync, ANNA)) == {"failed": 1}


def test_a_full_resync_clears_the_stamp_of_a_record_whose_row_came_back(
    sandbox: SandboxProcess, org: OrgReader
) -> None:
    changes = {"mode": "custom", "on_new": "insert", "on_changed": "update", "on_dropped": "expire"}
    sync = make_people_sync(sandbox, expire_field="Last_Seen__c", **changes)
    load(sync, ANNA, BERT)
    assert dropped(load(sync, ANNA)) == {"expired": 1}
    assert done(load(sync, ANNA, BERT, full_resync=True)) == {"updated": 2}
    assert people(org, "Last_Seen__c") == {"Arndt": (None,), "Braun": (None,)}
