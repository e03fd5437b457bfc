"""What holds for all writes of an org: rules of its objects, row locks, locked records, storage, deletes of parents."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.rows.definitions import ObjectRules, read_rules
from sandbox.rows.locks import Locks
from sandbox.schema import Field, ObjectType, Schema

# How a delete of the parent treats children, where the field itself does not say it: the `childRelationships` of the
# recorded describes of Account, Contact, Lead, Case and Opportunity.
CASCADES = frozenset(
    {
        ("Asset", "AccountId"),
        ("Asset", "ContactId"),
        ("CampaignMember", "ContactId"),
        ("CampaignMember", "LeadId"),
        ("Contact", "AccountId"),
        ("Contract", "AccountId"),
        ("Event", "WhatId"),
        ("Event", "WhoId"),
        ("Opportunity", "AccountId"),
        ("OpportunityContactRole", "ContactId"),
        ("OpportunityContactRole", "OpportunityId"),
        ("OpportunityLineItem", "OpportunityId"),
        ("Task", "WhatId"),
        ("Task", "WhoId"),
    }
)
RESTRICTS = frozenset(
    {
        ("Case", "AccountId"),
        ("Case", "ContactId"),
        ("Contract", "CustomerSignedId"),
        ("Order", "AccountId"),
        ("Order", "BillToContactId"),
        ("Order", "CustomerAuthorizedById"),
        ("Order", "ShipToContactId"),
        ("User", "ContactId"),
    }
)
NO_PARENTS = frozenset({"User", "Group", "Profile", "UserRole", "RecordType", "Organization"})


@dataclass(frozen=True)
class Child:
    """A lookup from another object, and what a delete of its parent does: cascade, restrict or clear."""

    object: ObjectType
    field: Field
    on_delete: str


def on_delete(child: ObjectType, field: Field) -> str:
    """What becomes of a child when its parent is deleted: `cascade`, `restrict` (refuse the delete) or `clear`."""
    if field.flag("cascadeDelete") or (child.name, field.name) in CASCADES:
        return "cascade"
    if field.flag("restrictedDelete") or (child.name, field.name) in RESTRICTS:
        return "restrict"
    return "clear"


class Policy:
    """The rules of all objects, and the switches of `/_sandbox/rules`.

    `locked` are records that an approval process has locked; `storage_mb` is how much data the org takes (None: any).
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.locks = Locks()
        self.locked: set[str] = set()
        self.storage_mb: float | None = None
        self.rules = {each.name: read_rules(schema, each) for each in schema}
        self.children: dict[str, list[Child]] = {}
        for child in schema:
            for field in child.stored_fields:
                for parent in field.reference_to:
                    if parent not in NO_PARENTS and field.name != "MasterRecordId":
                        found = Child(child, field, on_delete(child, field))
                        self.children.setdefault(parent, []).append(found)

    def of(self, target: ObjectType) -> ObjectRules:
        """The rules of an object; of one that came after the start, too."""
        if target.name not in self.rules:
            self.rules[target.name] = read_rules(self.schema, target)
        return self.rules[target.name]

    def reset(self) -> None:
        """Forget locks and switches; the rules of the schema files stay."""
        self.locks.clear()
        self.locked.clear()
        self.storage_mb = None
