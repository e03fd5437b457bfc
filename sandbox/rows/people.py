"""Person accounts: an Account of a person record type, with a Contact of its own that holds the person.

A schema file switches them on with `"personAccounts": true`. Which fields go which way is told in the object reference
("Account", "Fields for person accounts"); the refusal of fields of the other kind is as seen in logs of real orgs
(github.com/sorenkrabbe/Chrome-Salesforce-inspector, issue 38).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.rows.record import NUMBER, record_rows, refuse
from sandbox.rows.rules import literal, literals, name
from sandbox.schema import Field, ObjectType

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write
    from sandbox.store import Store

# Field of a person account -> field of its contact; custom fields X__c of a contact are X__pc of the account.
NAME_PARTS = ("LastName", "FirstName", "Salutation")
PREFIXED = (
    *("Email", "MobilePhone", "HomePhone", "OtherPhone", "AssistantPhone", "AssistantName", "Birthdate", "Title"),
    *("Department", "LeadSource", "MailingStreet", "MailingCity", "MailingState", "MailingPostalCode"),
    *("MailingCountry", "OtherStreet", "OtherCity", "OtherState", "OtherPostalCode", "OtherCountry"),
)
PERSON_TYPE = {"name": "PersonAccount", "label": "Person Account", "personType": True}
_READ_ONLY = {"createable": False, "updateable": False, "permissionable": False}
_IS_PERSON: dict[str, Any] = {"name": "IsPersonAccount", "type": "boolean", "label": "Is Person Account", **_READ_ONLY}


def person_entries(contact: dict[str, Any]) -> list[dict[str, Any]]:
    """What person accounts add to Account and Contact, in the form of a schema file; `contact` is Contact's entry."""
    fields = [_IS_PERSON, {"name": "PersonContactId", "type": "reference", "referenceTo": ["Contact"], **_READ_ONLY}]
    for each in contact["fields"]:
        is_computed = each.get("formula") or each.get("calculatedFormula")
        if (own_name := _account_name(each["name"])) and not is_computed:
            facts = {key: value for key, value in each.items() if key not in ("externalId", "unique", "idLookup")}
            fields.append({**facts, "name": own_name, "nillable": True, "custom": own_name.endswith("__pc")})
    return [
        {"name": "Account", "fields": fields, "recordTypes": [PERSON_TYPE]},
        {"name": "Contact", "fields": [_IS_PERSON]},
    ]


def _account_name(contact_field: str) -> str | None:
    """The field of a person account that stands for a field of its contact."""
    if contact_field in NAME_PARTS:
        return contact_field
    if contact_field in PREFIXED:
        return f"Person{contact_field}"
    return contact_field.removesuffix("__c") + "__pc" if contact_field.endswith("__c") else None


def _types(write: Write) -> list[str]:
    """The ids of Account's person record types; empty for other objects, and where person accounts are off."""
    if write.object.name != "Account":
        return []
    return [each.id for each in write.rules.record_types if each.person]


def is_required_by_kind(write: Write, each: Field) -> bool:
    """Whether a required field is only required of one kind of account."""
    return each.name == "Name" and bool(_types(write))


def refuse_people(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse fields of the other kind of account, and accounts and people without a name."""
    types = _types(write)
    if not types:
        return
    own = [column for column, each in write.columns if each.name == "Name"]
    of_people = [
        (column, each.name)
        for column, each in write.columns
        if each.name in NAME_PARTS or each.name.startswith("Person") or each.name.endswith("__pc")
    ]
    text = "'INVALID_FIELD_FOR_INSERT_UPDATE:Account: bad field names on insert/update call: ' || {0} || ':' ||"
    text += " replace({0}, ', ', ',') || ' --'"
    missing = "'REQUIRED_FIELD_MISSING:Required fields are missing: [{0}]:{0} --'"
    person = f'coalesce(r."RecordTypeId" IN {literals(types)}, false)'
    listed = [f"CASE WHEN b.v_{column} IS NOT NULL THEN {literal(called)} END" for column, called in of_people]
    given = f"concat_ws(', ', {', '.join(listed)})"
    cases = [f"WHEN {person} AND b.v_{column} IS NOT NULL THEN {text.format(literal('Name'))}" for column in own]
    if listed:
        cases.append(f"WHEN NOT {person} AND {given} <> '' THEN {text.format(given)}")
    cases.append(f'WHEN {person} AND r."LastName" IS NULL THEN {missing.format("LastName")}')
    cases.append(f'WHEN NOT {person} AND r."Name" IS NULL THEN {missing.format("Name")}')
    rows = record_rows(write, ["RecordTypeId", "LastName", "Name"])
    refuse(
        cursor,
        f"SELECT b.n, CASE {' '.join(cases)} END AS error FROM typed b JOIN ({rows}) r ON r.{NUMBER} = b.n",
    )


def keep_contacts(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Give each person account that was written its name, and make or change its contact."""
    types = _types(write)
    if not types:
        return
    contact, now = store.schema.objects["contact"], f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    cursor.execute(
        'CREATE OR REPLACE TEMP TABLE people AS SELECT t.Id AS account, t.PersonContactId AS contact FROM "Account" t'
        f" JOIN outcome o ON o.id = t.Id WHERE o.error IS NULL AND t.RecordTypeId IN {literals(types)}"
    )
    found = cursor.execute("SELECT count(*) FROM people WHERE contact IS NULL").fetchone()
    if count := int(found[0]) if found else 0:
        first = store.reserve(cursor, "Contact", count)
        number = f"{first} + row_number() OVER (ORDER BY account) - 1"
        cursor.execute(
            f"UPDATE people SET contact = e.id FROM (SELECT account, sf_id18(sf_id15({literal(contact.key_prefix)},"
            f" {number})) AS id FROM people WHERE contact IS NULL) e WHERE e.account = people.account"
        )
    cursor.execute(
        'UPDATE "Account" SET IsPersonAccount = true, PersonContactId = p.contact,'
        " Name = trim(concat_ws(' ', FirstName, LastName)) FROM people p WHERE p.account = \"Account\".Id"
    )
    values = _contact_values(write.object, contact, now, literal(write.user_id))
    cursor.execute(
        f'INSERT INTO "Contact" ({", ".join(name(each) for each in values)}) SELECT {", ".join(values.values())}'
        ' FROM people p JOIN "Account" a ON a.Id = p.account'
        ' WHERE p.contact NOT IN (SELECT Id FROM "Contact") ORDER BY p.contact'
    )
    changed = {each: value for each, value in values.items() if value.startswith("a.") or value == now}
    del changed["CreatedDate"]
    cursor.execute(
        f'UPDATE "Contact" SET {", ".join(f"{name(each)} = {value}" for each, value in changed.items())}'
        ' FROM people p JOIN "Account" a ON a.Id = p.account WHERE p.contact = "Contact".Id'
    )


def _contact_values(account: ObjectType, contact: ObjectType, now: str, user: str) -> dict[str, str]:
    """Field of the contact -> SQL of its value; `a` is the account, `p` its row in `people`."""
    values = {
        each.name: "true" if each.document["defaultValue"] else "false"
        for each in contact.stored_fields
        if each.type == "boolean"
    }
    for each in contact.stored_fields:
        own = account.field_named(_account_name(each.name) or "")
        if own is not None and own.stored:
            values[each.name] = f"a.{name(own.name)}"
    fixed = {"Id": "p.contact", "AccountId": "p.account", "IsPersonAccount": "true", "OwnerId": "a.OwnerId"}
    times = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), now)
    return {**values, "Phone": "a.Phone", **fixed, **times, "CreatedById": user, "LastModifiedById": user}
