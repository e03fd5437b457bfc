"""Every way in which a row is refused: what is sent, and the code, message and fields it is answered with.

Values in braces are ids of the `World` the rows are sent into. `not_by` names channels in which the same mistake is
answered otherwise: those have tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WRONG_TYPE = "INVALID_TYPE_ON_FIELD_IN_RECORD"
NO_ACCESS = "Please check the security settings of this field and verify that it is read/write for your profile or"


@dataclass(frozen=True)
class Case:
    """One row, and how it is refused. `message` is a regular expression for the whole message."""

    operation: str
    object: str
    row: dict[str, str]
    code: str
    message: str
    fields: list[str] = field(default_factory=list)
    not_by: frozenset[str] = frozenset()
    key: str = ""


def _contact(change: dict[str, str], code: str, message: str, *fields: str) -> Case:
    return Case("insert", "Contact", {"LastName": "Row", **change}, code, message, list(fields))


INSERTS = [
    _contact({"LastName": ""}, "REQUIRED_FIELD_MISSING", r"Required fields are missing: \[LastName\]", "LastName"),
    Case(
        "insert",
        "Lead",
        {"Title": "x"},
        "REQUIRED_FIELD_MISSING",
        r"Required fields are missing: \[LastName, Company\]",
        ["LastName", "Company"],
    ),
    _contact(
        {"Title": "x" * 129}, "STRING_TOO_LONG", r"Title: data value too large: x{129} \(max length=128\)", "Title"
    ),
    _contact(
        {"Tier__c": "Wood"},
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Tier: bad value for restricted picklist field: Wood",
        "Tier__c",
    ),
    _contact(
        {"Tier__c": "Silver", "RecordTypeId": "{vip}"},
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Tier: bad value for restricted picklist field: Silver",
        "Tier__c",
    ),
    _contact(
        {"RecordTypeId": "{old}"},
        "INVALID_CROSS_REFERENCE_KEY",
        "Record Type ID: this ID value isn't valid for the user: 012.{15}",
        "RecordTypeId",
    ),
    _contact(
        {"External_Id__c": "TAKEN"},
        "DUPLICATE_VALUE",
        "duplicate value found: External_Id__c duplicates value on record with id: {taken15}",
    ),
    _contact(
        {"External_Id__c": "taken", "Badge__c": "b1"},
        "DUPLICATE_VALUE",
        "duplicate value found: Badge__c,External_Id__c duplicates value on record with id: {taken15}",
    ),
    _contact({"Phone": "555"}, "DUPLICATES_DETECTED", r"Use one of these records\?"),
    _contact({"LastName": "mul-ler", "FirstName": "ANN"}, "DUPLICATES_DETECTED", r"Is it one of these\?"),
    _contact(
        {"AccountId": "{held}"},
        "UNABLE_TO_LOCK_ROW",
        "unable to obtain exclusive access to this record( or 1 records: {held})?",
    ),
    _contact({"LeadSource": "Web"}, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Web: give an e-mail, please", "Email"),
    _contact({"Birthdate": "2999-01-01"}, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "No such person"),
    _contact({"Department": "x"}, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "No such person"),
    _contact(
        {"AccountId": "001000000000001AAA"}, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", "AccountId"
    ),
    _contact({"AccountId": "{gone}"}, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", "AccountId"),
    _contact(
        {"Account.Code__c": "nowhere"},
        "INVALID_FIELD",
        "Foreign key external ID: nowhere not found for field Code__c in entity Account",
    ),
    _contact(
        {"Account.Code__c": "twice"}, "INVALID_FIELD", "More than 1 record found for field Code__c in entity Account"
    ),
    _contact(
        {"Account.Code__c": "main", "AccountId": "{account}"},
        "INVALID_FIELD",
        "cannot specify both an external ID reference Account and a salesforce id, AccountId",
    ),
    _contact(
        {"CreatedDate": "2020-01-01T00:00:00Z", "Double_Score__c": "3"},
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        rf"Unable to create/update fields: (\w+), (\w+)\. {NO_ACCESS} permission set\.",
        "CreatedDate",
        "Double_Score__c",
    ),
    _contact({"Birthdate": "1.2.2023"}, WRONG_TYPE, r"Birthdate: value not of required type: 1\.2\.2023", "Birthdate"),
    _contact(
        {"Score__c": "1000"},
        "NUMBER_OUTSIDE_VALID_RANGE",
        "Score: value outside of valid range on numeric field: 1000",
        "Score__c",
    ),
    _contact({"Email": "nobody"}, "INVALID_EMAIL_ADDRESS", "Email: invalid email address: nobody", "Email"),
    _contact({"AccountId": "xyz"}, "MALFORMED_ID", "Account ID: id value of incorrect type: xyz", "AccountId"),
    _contact(
        {"Title": "Trigger"},
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "ContactTrigger: execution of BeforeInsert caused by: System.NullPointerException: .*",
    ),
    _contact(
        {"Title": "Loop"},
        "SELF_REFERENCE_FROM_TRIGGER",
        r"Object \(id = 003.{15}\) is currently in trigger ContactLoop, therefore it cannot recursively update itself",
    ),
    _contact(
        {"AccountId": "{bank}"},
        "FIELD_FILTER_VALIDATION_EXCEPTION",
        r"Value does not exist or does not match filter criteria\.",
        "AccountId",
    ),
    _contact(
        {"OwnerId": "{idle}"},
        "INACTIVE_OWNER_OR_USER",
        "operation performed with inactive user .{17} as owner of contact",
        "OwnerId",
    ),
    Case(
        "insert",
        "Lead",
        {"LastName": "Row", "Company": "C", "Status": "Closed - Converted"},
        "INVALID_STATUS",
        r"Choose a valid lead status and save your changes\. Ask your admin for details\.",
        ["Status"],
    ),
    Case(
        "insert",
        "Task",
        {"Subject": "Call", "WhoId": "{converted}"},
        "CANNOT_UPDATE_CONVERTED_LEAD",
        "cannot reference converted lead",
    ),
]

NO_SINGLE = frozenset({"single"})
CHANGES = [
    Case(
        "update",
        "Contact",
        {"Id": "", "Title": "x"},
        "MISSING_ARGUMENT",
        "Id not specified in an update call",
        not_by=NO_SINGLE,
    ),
    Case(
        "update",
        "Contact",
        {"Id": "003000000000009AAA", "Title": "x"},
        "INVALID_CROSS_REFERENCE_KEY",
        "invalid cross reference id",
    ),
    Case("update", "Contact", {"Id": "{deleted}", "Title": "x"}, "ENTITY_IS_DELETED", "entity is deleted"),
    Case("update", "Contact", {"Id": "{locked}", "Title": "x"}, "ENTITY_IS_LOCKED", "the entity is locked for editing"),
    Case("update", "Contact", {"Id": "{boss}", "Title": "x"}, "FIELD_CUSTOM_VALIDATION_EXCEPTION", "Once a boss"),
    Case("update", "Contact", {"Id": "{kept}", "Phone": "555"}, "DUPLICATES_DETECTED", r"Use one of these records\?"),
    Case(
        "update",
        "Account",
        {"Id": "{held}", "Site": "x"},
        "UNABLE_TO_LOCK_ROW",
        "unable to obtain exclusive access to this record( or 1 records: {held})?",
    ),
    Case(
        "update",
        "Lead",
        {"Id": "{converted}", "Title": "x"},
        "CANNOT_UPDATE_CONVERTED_LEAD",
        "cannot reference converted lead",
    ),
    Case(
        "update",
        "Lead",
        {"Id": "{lead}", "Status": "Closed - Converted"},
        "INVALID_STATUS",
        "Choose a valid lead status .*",
        ["Status"],
    ),
    Case(
        "delete",
        "Account",
        {"Id": "{account}"},
        "DELETE_FAILED",
        r"Your attempt to delete Main could not be completed because it is associated with the following cases\.: \d+",
    ),
    Case("delete", "Contact", {"Id": "{locked}"}, "ENTITY_IS_LOCKED", "the entity is locked for editing"),
    Case("delete", "Contact", {"Id": "{deleted}"}, "ENTITY_IS_DELETED", "entity is deleted"),
    Case(
        "delete",
        "Contact",
        {"Id": "{kept}"},
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "ContactKeeper: execution of BeforeDelete caused by: Keep this one",
    ),
    Case(
        "upsert",
        "Contact",
        {"Legacy_Code__c": "several", "LastName": "Row"},
        "DUPLICATE_EXTERNAL_ID",
        r"Legacy_Code__c: more than one record found for external id field: \[003.{15}, 003.{15}\]",
        ["Legacy_Code__c"],
        NO_SINGLE,
        "Legacy_Code__c",
    ),
    Case(
        "upsert",
        "Contact",
        {"Legacy_Code__c": "", "LastName": "Row"},
        "MISSING_ARGUMENT",
        "Legacy_Code__c not specified",
        ["Legacy_Code__c"],
        NO_SINGLE,
        "Legacy_Code__c",
    ),
    *(
        Case(
            "upsert",
            "Contact",
            {"Legacy_Code__c": "same", "LastName": last},
            "DUPLICATE_VALUE",
            "Duplicate external id specified: same",
            ["Legacy_Code__c"],
            NO_SINGLE,
            "Legacy_Code__c",
        )
        for last in ("One", "Two")
    ),
]

CASES = [*INSERTS, *CHANGES]
