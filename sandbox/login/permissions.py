"""What each user may: per object, per field, and in the whole org; and the org's schema as a user sees it.

Everything is allowed that a user's permissions do not deny, so that they tell the difference from a system
administrator only. Names are those of the permission set metadata (Metadata API guide, "PermissionSet").
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.schema import Field, ObjectType, Schema

if TYPE_CHECKING:
    from sandbox.login.users import User

ON_OBJECTS = ("create", "read", "edit", "delete", "viewAll", "modifyAll")
ON_FIELDS = ("read", "edit")
SYSTEM = ("ApiEnabled", "BulkApiHardDelete", "ModifyAllData", "ViewAllData")
# What an object permission needs beside itself.
_NEEDS = {
    "create": ("read",),
    "edit": ("read",),
    "delete": ("read",),
    "viewAll": ("read",),
    "modifyAll": ("edit", "viewAll"),
}
# The system permission that decides where no object names its own.
_BY_SYSTEM = {"viewAll": "ViewAllData", "modifyAll": "ModifyAllData"}


class PermissionsError(ValueError):
    """Permissions that name something the org does not have."""


@dataclass(frozen=True)
class Allowed:
    """The permissions of one user: object (or `*`) -> what -> yes or no, `Object.Field` -> the same, and system."""

    objects: dict[str, dict[str, bool]] = field(default_factory=dict)
    fields: dict[str, dict[str, bool]] = field(default_factory=dict)
    system: dict[str, bool] = field(default_factory=dict)

    @property
    def everything(self) -> bool:
        """Whether nothing is denied that shows in the schema or on a record."""
        answers = [yes for group in (self.objects, self.fields) for entry in group.values() for yes in entry.values()]
        return all(answers) and all(self.system.get(each, True) for each in _BY_SYSTEM.values())

    def as_json(self) -> dict[str, Any]:
        return {"objects": self.objects, "fields": self.fields, "system": self.system}


def read_permissions(schema: Schema, given: Any) -> Allowed:
    """Permissions from JSON, under the proper names of objects and fields.

    Raises PermissionsError for an unknown object, field or permission, and for fields whose access Salesforce does not
    let anybody set (`permissionable` false: Id, Name, required fields).
    """
    if not isinstance(given, dict) or not set(given) <= {"objects", "fields", "system"}:
        raise PermissionsError("permissions are an object with the keys objects, fields and system")
    objects = {
        _object_name(schema, name): _switches(entry, ON_OBJECTS, name) for name, entry in _entries(given, "objects")
    }
    fields = {_field_name(schema, name): _switches(entry, ON_FIELDS, name) for name, entry in _entries(given, "fields")}
    return Allowed(objects, fields, _switches(given.get("system", {}), SYSTEM, "system"))


def _entries(given: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    group = given.get(key, {})
    if not isinstance(group, dict):
        raise PermissionsError(f"{key} is an object of names and their permissions")
    return list(group.items())


def _switches(given: Any, known: tuple[str, ...], place: str) -> dict[str, bool]:
    if not isinstance(given, dict) or not all(isinstance(value, bool) for value in given.values()):
        raise PermissionsError(f"{place}: permissions are true or false each")
    if unknown := set(given) - set(known):
        raise PermissionsError(f"{place}: unknown permission {min(unknown)!r}; known are {', '.join(known)}")
    return dict(given)


def _object_name(schema: Schema, given: str) -> str:
    if given == "*":
        return given
    found = schema.object_named(given)
    if found is None:
        raise PermissionsError(f"there is no object {given!r}")
    return found.name


def _field_name(schema: Schema, given: str) -> str:
    object_name, _, name = given.partition(".")
    target = schema.object_named(object_name)
    found = target.field_named(name) if target else None
    if target is None or found is None:
        raise PermissionsError(f"there is no field {given!r}")
    if not (found.flag("permissionable") or found.formula):
        raise PermissionsError(f"{target.name}.{found.name} is not permissionable: everybody sees it")
    return f"{target.name}.{found.name}"


@dataclass(frozen=True)
class Rights:
    """What a write may do to the records of one object; `others` is whether it may touch those of other owners."""

    create: bool = True
    edit: bool = True
    delete: bool = True
    others: bool = True


class Permissions:
    """Answers what a user may, and shows the schema as a user sees it."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._seen: dict[str, tuple[Allowed, list[ObjectType], Schema]] = {}

    def has(self, user: User, name: str) -> bool:
        """Whether the user has a system permission, such as ApiEnabled."""
        return user.allowed.system.get(name, True)

    def may(self, user: User, object_name: str, what: str) -> bool:
        """Whether the user has one of ON_OBJECTS on an object; viewAll and modifyAll follow the system permissions."""
        own = user.allowed.objects.get(object_name, {})
        rest = user.allowed.objects.get("*", {})
        default = self.has(user, _BY_SYSTEM[what]) if what in _BY_SYSTEM else True
        answer = own.get(what, rest.get(what, default))
        return answer and all(self.may(user, object_name, each) for each in _NEEDS.get(what, ()))

    def may_field(self, user: User, object_name: str, field_name: str, what: str) -> bool:
        """Whether the user may `read` or `edit` a field; who may not read it may not edit it either."""
        own = user.allowed.fields.get(f"{object_name}.{field_name}", {})
        return own.get("read", True) and (what == "read" or own.get("edit", True))

    def rights(self, user: User, object_name: str) -> Rights:
        """What the user may do to records of an object."""
        return Rights(
            create=self.may(user, object_name, "create"),
            edit=self.may(user, object_name, "edit"),
            delete=self.may(user, object_name, "delete"),
            others=self.may(user, object_name, "modifyAll"),
        )

    def schema_of(self, user: User) -> Schema:
        """The schema without the objects and fields the user may not read, and with the flags of what he may write.

        Objects of which he may not view all records have him as their `only_owner`.
        """
        if user.allowed.everything:
            return self._schema
        objects = list(self._schema.objects.values())
        kept = self._seen.get(user.id)
        if kept is None or kept[0] is not user.allowed or kept[1] != objects:
            seen = copy.copy(self._schema)
            readable = [each for each in objects if self.may(user, each.name, "read")]
            seen.objects = {each.name.lower(): self._object(user, each) for each in readable}
            kept = self._seen[user.id] = (user.allowed, objects, seen)
        return kept[2]

    def _object(self, user: User, each: ObjectType) -> ObjectType:
        facts = dict(each.facts)
        for what, names in (("create", ["createable"]), ("edit", ["updateable"]), ("delete", ["deletable"])):
            if not self.may(user, each.name, what):
                facts.update(dict.fromkeys(names, False))
        if not facts.get("deletable", True):
            facts["undeletable"] = False
        fields = {
            key: self._field(user, each, one)
            for key, one in each.fields.items()
            if self.may_field(user, each.name, one.name, "read")
        }
        only_owner = user.id if each.has_owner and not self.may(user, each.name, "viewAll") else None
        return dataclasses.replace(each, facts=facts, fields=fields, only_owner=only_owner)

    def _field(self, user: User, each: ObjectType, one: Field) -> Field:
        if self.may_field(user, each.name, one.name, "edit"):
            return one
        return dataclasses.replace(one, document={**one.document, "createable": False, "updateable": False})
