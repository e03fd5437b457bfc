"""What people do in Salesforce's own pages, for tests: approval locks, storage, recycle bin, merge, convert a lead.

All below /_sandbox and without a session; REST has no calls for them.
"""

from __future__ import annotations

from typing import Any

import duckdb

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows import deletes
from sandbox.rows.relations import resolve_columns
from sandbox.rows.rules import JSON_NULL, literal, name, staged
from sandbox.rows.write import apply_rows, new_write, outcomes, split_error
from sandbox.schema import ObjectType
from sandbox.store import id18
from sandbox.wire import SalesforceError

SWITCHES = ("row_locks", "storage_mb")
BY_HAND = "by hand"


def _bad(message: str) -> SalesforceError:
    return SalesforceError(400, "BAD_REQUEST", message)


def _given(call: Call, required: str, optional: str = "") -> dict[str, Any]:
    """The JSON body, with all required keys and no unknown ones."""
    given = call.json_object()
    known = [*required.split(), *optional.split()]
    if missing := [each for each in required.split() if each not in given]:
        raise _bad(f"needs {', '.join(missing)}")
    if unknown := sorted(set(given) - set(known)):
        raise _bad(f"unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    return given


def _id(value: Any) -> str:
    if not isinstance(value, str) or len(value) not in (15, 18) or not (value.isascii() and value.isalnum()):
        raise _bad(f"{value!r} is no record id")
    return id18(value[:15])


def _ids(given: dict[str, Any], key: str = "ids") -> list[str]:
    if not isinstance(given[key], list):
        raise _bad(f"{key} is a list of record ids")
    return [_id(each) for each in given[key]]


def show(org: Org, call: Call) -> Answer:
    """GET /_sandbox/rules: the switches, and which records are locked or held."""
    policy = org.policy
    return Answer(
        200,
        {
            "row_locks": policy.locks.enabled,
            "storage_mb": policy.storage_mb,
            "locked": sorted(policy.locked),
            "held": sorted(policy.locks.held_by_others(None)),
        },
    )


def switch(org: Org, call: Call) -> Answer:
    """POST /_sandbox/rules {"row_locks": true, "storage_mb": 5}: what is not named stays; null takes any amount."""
    given = _given(call, "", " ".join(SWITCHES))
    if not isinstance(given.get("row_locks", False), bool):
        raise _bad("row_locks is true or false")
    storage = given.get("storage_mb")
    if storage is not None and (isinstance(storage, bool | str | list | dict) or storage < 0):
        raise _bad("storage_mb is a number from 0, or null")
    org.policy.locks.enabled = given.get("row_locks", org.policy.locks.enabled)
    if "storage_mb" in given:
        org.policy.storage_mb = None if storage is None else float(storage)
    return show(org, call)


def lock(org: Org, call: Call) -> Answer:
    """POST /_sandbox/lock {"ids": […], "locked": false}: lock records as an approval process does, or unlock them."""
    given = _given(call, "ids", "locked")
    ids = _ids(given)
    org.policy.locked = org.policy.locked | set(ids) if given.get("locked", True) else org.policy.locked - set(ids)
    return show(org, call)


def hold(org: Org, call: Call) -> Answer:
    """POST /_sandbox/hold {"ids": […]}: hold row locks as another transaction would, until they are let go."""
    org.policy.locks.hold(BY_HAND, _ids(_given(call, "ids")))
    return show(org, call)


def let_go(org: Org, call: Call) -> Answer:
    """DELETE /_sandbox/hold: let go of what was held by hand."""
    return Answer(200, {"released": org.policy.locks.release(BY_HAND)})


def _result(record_id: str, error: str | None) -> dict[str, Any]:
    """One entry of an answer, as collections have it."""
    if error is None:
        return {"id": record_id, "success": True, "errors": []}
    split = split_error(error)
    shown = {"statusCode": split["code"], "message": split["message"], "fields": split["fields"]}
    return {"id": record_id, "success": False, "errors": [shown]}


def undelete(org: Org, call: Call) -> Answer:
    """POST /_sandbox/undelete {"ids": […]}: bring records back from the recycle bin."""
    ids = _ids(_given(call, "ids"))
    errors = restore(org, ids, org.admin.id)
    return Answer(200, [_result(each, error) for each, error in zip(ids, errors, strict=True)])


def restore(org: Org, ids: list[str], user_id: str) -> list[str | None]:
    """Bring records back from the recycle bin, each by itself; its error in the form of sf__Error, or None.

    ids: of 18 characters, or whatever else was sent for one.
    """
    with org.store.writing() as cursor:
        now = org.clock.now()
        errors = [deletes.undelete(cursor, org.policy, each, user_id, now) for each in ids]
        good = [each for each, error in zip(ids, errors, strict=True) if not error]
        for target in org.schema:
            back = [each for each in good if each[:3] == target.key_prefix]
            origin = "com/salesforce/api/soap/67.0"
            org.changes.publish(cursor, target, "UNDELETE", [(each, {}, []) for each in back], user_id, origin)
    return errors


def empty_bin(org: Org, call: Call) -> Answer:
    """POST /_sandbox/empty-recycle-bin: remove all deleted records for ever."""
    with org.store.writing() as cursor:
        return Answer(200, {"removed": deletes.empty_recycle_bin(cursor, org.policy)})


def merge(org: Org, call: Call) -> Answer:
    """POST /_sandbox/merge {"object", "master", "duplicates": […]}: as SOAP's merge(), of up to two into one."""
    given = _given(call, "object master duplicates")
    target = org.schema.object_named(str(given["object"]))
    if target is None or target.field_named("MasterRecordId") is None:
        raise _bad(f"records of {given['object']} cannot be merged")
    master, losers = _id(given["master"]), _ids(given, "duplicates")
    with org.store.writing() as cursor:
        for each in [master, *losers]:
            _live(cursor, target, each)
        if master in losers or not 1 <= len(losers) <= 2:
            raise _bad("one or two other records are merged into the master")
        moved = deletes.merge(cursor, org.policy, target, master, losers, org.clock.now())
    return Answer(200, {"id": master, "success": True, "mergedRecordIds": losers, "updatedRelatedRecords": moved})


def _live(cursor: duckdb.DuckDBPyConnection, target: ObjectType, record_id: str) -> None:
    found = cursor.execute(f"SELECT IsDeleted FROM {name(target.name)} WHERE Id = ?", [record_id]).fetchone()
    if not found:
        raise SalesforceError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[])
    if found[0]:
        raise SalesforceError(400, "ENTITY_IS_DELETED", "entity is deleted", fields=[])


def convert(org: Org, call: Call) -> Answer:
    """POST /_sandbox/convert {"lead", "accountId", "contactId", "opportunity"}: as SOAP's convertLead().

    Makes the account and the contact that are not given, and an opportunity when one is named.
    """
    given = _given(call, "lead", "accountId contactId opportunity")
    lead = _id(given["lead"])
    fields = "LastName, FirstName, Company, Email, Phone, Title, IsConverted, OwnerId"
    with org.store.writing() as cursor:
        _live(cursor, org.schema.objects["lead"], lead)
        found = cursor.execute(f'SELECT {fields} FROM "Lead" WHERE Id = ?', [lead]).fetchone()
        assert found is not None
        last, first, company, email, phone, title, converted, owner = found
        if converted:
            raise SalesforceError(400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", fields=[])
        for key, of in (("accountId", "account"), ("contactId", "contact")):
            if given.get(key) is not None:
                given[key] = _id(given[key])
                _live(cursor, org.schema.objects[of], given[key])
        account = given.get("accountId") or _insert(org, cursor, "Account", Name=company, Phone=phone, OwnerId=owner)
        person = {"LastName": last, "FirstName": first, "Email": email, "Phone": phone, "Title": title}
        contact = given.get("contactId") or _insert(org, cursor, "Contact", **person, AccountId=account, OwnerId=owner)
        deal = None
        if given.get("opportunity"):
            facts = {"Name": given["opportunity"], "StageName": "Prospecting", "AccountId": account, "OwnerId": owner}
            deal = _insert(org, cursor, "Opportunity", **facts, CloseDate=org.clock.now().date().isoformat())
        now = org.clock.now()
        cursor.execute(
            'UPDATE "Lead" SET IsConverted = true, Status = ?, ConvertedDate = ?, ConvertedAccountId = ?,'
            " ConvertedContactId = ?, ConvertedOpportunityId = ?, LastModifiedDate = ?, SystemModstamp = ?"
            " WHERE Id = ?",
            ["Closed - Converted", now.date(), account, contact, deal, now, now, lead],
        )
    made = {"leadId": lead, "accountId": account, "contactId": contact, "opportunityId": deal}
    return Answer(200, {**made, "success": True, "errors": []})


def _insert(org: Org, cursor: duckdb.DuckDBPyConnection, object_name: str, **fields: Any) -> str:
    """Insert one record under the rules of its object; its id."""
    target = org.schema.objects[object_name.lower()]
    columns = resolve_columns(org.schema, target, list(fields))
    write = new_write(org, target, "insert", columns, org.admin.id, null_marker=JSON_NULL)
    cells = "".join(
        f", {'NULL' if value is None else literal(staged(str(value)))}::VARCHAR AS c{place}"
        for place, value in enumerate(fields.values())
    )
    apply_rows(org.store, cursor, write, f"SELECT 0 AS n{cells}")
    made = outcomes(cursor)[0]
    if made["error"]:
        error = split_error(made["error"])
        raise SalesforceError(400, error["code"], error["message"], fields=error["fields"])
    return str(made["id"])
