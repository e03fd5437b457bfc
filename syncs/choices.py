"""What can be chosen for a setting of a sync, and how it is called. What it means: docs/reference/sync.md."""

from __future__ import annotations

from django.db import models


class Mode(models.TextChoices):
    INSERT = "insert", "Insert: create new records, leave existing ones alone"
    UPDATE = "update", "Update: change existing records, create none"
    UPSERT = "upsert", "Upsert: create new records, change existing ones"
    MIRROR = "mirror", "Mirror: as upsert, and delete what left the source"
    DELETE = "delete", "Delete: each row of the source deletes its record"
    CUSTOM = "custom", "Custom: choose what becomes of new, changed and dropped records"


class Compare(models.TextChoices):
    SNAPSHOT = "snapshot", "Snapshot: what earlier jobs were confirmed to have written"
    DESTINATION = "destination", "Destination: the records as they are in Salesforce; finds edits by hand"
    NOTHING = "nothing", "Nothing: send every row"


class OnNew(models.TextChoices):
    INSERT = "insert", "Insert it"
    IGNORE = "ignore", "Ignore it"


class OnChanged(models.TextChoices):
    UPDATE = "update", "Update it"
    IGNORE = "ignore", "Ignore it"
    CONDITIONAL = "conditional", "Update it where a rule holds"
    DELETE = "delete", "Delete it, changed or not"


class OnDropped(models.TextChoices):
    DELETE = "delete", "Delete it"
    IGNORE = "ignore", "Ignore it"
    EXPIRE = "expire", "Expire it: stamp a date field with the start of the job, once"


class ColumnType(models.TextChoices):
    TEXT = "text", "text"
    NUMBER = "number", "number"
    DATE = "date", "date"
    DATETIME = "datetime", "date and time"
    BOOLEAN = "boolean", "yes or no"


class DuplicateRules(models.TextChoices):
    RESPECT = "respect", "Respect them: what they stop is refused"
    ALLOW_SAVE = "allow_save", "Allow save: go past rules that alert only"


class Approval(models.TextChoices):
    GUARDS = "guards", "When a guard is hit"
    ALWAYS = "always", "Always: each job shows its plan and waits"


class WhenOverBudget(models.TextChoices):
    WAIT = "wait", "Wait until there are calls again"
    STOP = "stop", "Stop"


class Priority(models.IntegerChoices):
    HIGH = 1, "High: before all others"
    NORMAL = 2, "Normal"
    LOW = 3, "Low: after all others"


class WhenBlank(models.TextChoices):
    LEAVE = "leave", "Leave the field as it is"
    CLEAR = "clear", "Clear the field"
    DEFAULT = "default", "Take the default value"


class WriteOn(models.TextChoices):
    BOTH = "both", "Insert and update"
    INSERT = "insert", "Insert only"
    UPDATE = "update", "Update only"
    ONLY_IF_EMPTY = "only_if_empty", "Only if empty in Salesforce"


class TooLong(models.TextChoices):
    REJECT = "reject", "Reject the row"
    TRUNCATE = "truncate", "Cut it off, count and show it"


class UnknownPicklist(models.TextChoices):
    REJECT = "reject", "Reject the row"
    CLEAR = "clear", "Clear the field"
    DEFAULT = "default", "Take the default value"


class TooPrecise(models.TextChoices):
    REJECT = "reject", "Reject the row"
    ROUND = "round", "Round, count and show it"


class MissingParent(models.TextChoices):
    REJECT = "reject", "Reject the row"
    LEAVE = "leave", "Leave the field blank"
