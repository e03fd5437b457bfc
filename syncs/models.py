from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.contenttypes.fields import GenericRelation
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from connections.models import Connection
from orgs.models import Grant
from orgs.tenancy import TenantModel
from syncs import schedule
from syncs.spec import MappingSpec, SelectionSpec, SyncSpec


class Mode(models.TextChoices):
    INSERT = "insert", "Insert: create new records, leave existing ones alone"
    UPDATE = "update", "Update: change existing records, create none"
    UPSERT = "upsert", "Upsert: create new records, change existing ones"
    MIRROR = "mirror", "Mirror: as upsert, and delete what left the source"


class Compare(models.TextChoices):
    SNAPSHOT = "snapshot", "Snapshot: what earlier jobs were confirmed to have written"
    NOTHING = "nothing", "Nothing: send every row"


class Sync(TenantModel):
    """What goes where, how rows match, and what to do with them."""

    access_path = ""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    source = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    source_table = models.CharField(max_length=200, blank=True, default="")
    source_query = models.TextField(blank=True, default="")
    source_path = models.CharField(
        max_length=500, blank=True, default="", help_text="Of a file, below the organization's folder."
    )
    destination = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    object = models.CharField(max_length=100, help_text="API name of the Salesforce object.")
    key_fields = models.JSONField(
        blank=True,
        default=list,
        help_text="The sync key: API names of mapped fields. Empty only for mode insert with compare = nothing.",
    )
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.UPSERT)
    compare = models.CharField(max_length=10, choices=Compare.choices, default=Compare.SNAPSHOT)
    time_zone = models.CharField(max_length=60, default="UTC", help_text="Of date-times without an offset.")
    guard_rows = models.PositiveIntegerField(
        default=100, help_text="A job that would delete more records than this waits for approval."
    )
    guard_percent = models.PositiveIntegerField(
        default=10,
        validators=[MaxValueValidator(100)],
        help_text="A job that would delete more than this % of the known records (and at least 10) waits too.",
    )
    batch_rows = models.PositiveIntegerField(default=1_000_000, validators=[MinValueValidator(1)])
    batch_bytes = models.PositiveIntegerField(
        default=100_000_000, validators=[MinValueValidator(1_000), MaxValueValidator(100_000_000)]
    )
    paused = models.BooleanField(default=False, help_text="No job starts, by schedule or by hand, until it goes on.")
    # The pointer to what Salesforce is known to hold: path and header, swapped in the transaction that ends a job.
    snapshot = models.JSONField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    grants = GenericRelation(Grant)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="sync_name_once_per_organization"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        chosen = [name for name in ("source_table", "source_query", "source_path") if getattr(self, name)]
        if len(chosen) != 1:
            raise ValidationError("Give exactly one of: a source table, a source query, a source path.")
        # By id: a form may come without them, and that is told by the fields themselves.
        foreign = Connection.all_objects.filter(pk__in=[self.source_id or 0, self.destination_id or 0])
        for pk in foreign.exclude(organization_id=self.organization_id).values_list("pk", flat=True):
            raise ValidationError(f"The connection '{pk}' does not exist in this organization.")

    def save(self, *args: Any, **options: Any) -> None:
        # A job may have moved the snapshot since this row was read: a form that writes it back would point to a
        # file that is gone, or forget what Salesforce holds. Only the transaction that ends a job moves it.
        if not self._state.adding and options.get("update_fields") is None:
            options["update_fields"] = [
                field.name for field in self._meta.concrete_fields if not field.primary_key and field.name != "snapshot"
            ]
        super().save(*args, **options)

    def audit_values(self) -> dict[str, Any]:
        """What the audit tells besides the fields: the lines of the mapping, and the schedule."""
        planned = Schedule.all_objects.filter(sync=self).first()
        return {
            "mapping": [line.in_words() for line in self.mappings.order_by("position", "pk")],
            "schedule": "" if planned is None else f"{planned}{'' if planned.enabled else ' (off)'}",
        }

    def spec(self) -> SyncSpec:
        """What a job that starts now is told to do."""
        return SyncSpec(
            selection=SelectionSpec(self.source_table, self.source_query, self.source_path),
            object=self.object,
            key_fields=tuple(self.key_fields),
            mode=self.mode,  # type: ignore[arg-type]
            mappings=tuple(line.spec() for line in self.mappings.order_by("position", "pk")),
            compare=self.compare,  # type: ignore[arg-type]
            time_zone=self.time_zone,
            guard_rows=self.guard_rows,
            guard_percent=self.guard_percent,
            batch_rows=self.batch_rows,
            batch_bytes=self.batch_bytes,
        )


class WhenBlank(models.TextChoices):
    LEAVE = "leave", "Leave the field as it is"
    CLEAR = "clear", "Clear the field"


class TooPrecise(models.TextChoices):
    REJECT = "reject", "Reject the row"
    ROUND = "round", "Round, count and show it"


class FieldMapping(TenantModel):
    """One line of a sync: a source column or a constant, and the Salesforce field it goes to."""

    access_path = "sync"

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="mappings")
    position = models.PositiveIntegerField(default=0)
    target = models.CharField(max_length=100, help_text="API name of the field.")
    source_column = models.CharField(max_length=200, null=True, blank=True)
    constant = models.CharField(max_length=1000, null=True, blank=True)
    when_blank = models.CharField(max_length=10, choices=WhenBlank.choices, default=WhenBlank.LEAVE)
    too_precise = models.CharField(max_length=10, choices=TooPrecise.choices, default=TooPrecise.REJECT)

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["sync", "target"], name="one_line_per_target_field"),
            models.CheckConstraint(
                condition=models.Q(source_column__isnull=False, constant__isnull=True)
                | models.Q(source_column__isnull=True, constant__isnull=False),
                name="a_column_or_a_constant",
            ),
        ]

    def __str__(self) -> str:
        value = self.source_column if self.source_column is not None else f"'{self.constant}'"
        return f"{value} -> {self.target}"

    def in_words(self) -> str:
        """The line with its rules, for the record of changes."""
        return f"{self}; when blank: {self.when_blank}; too precise: {self.too_precise}"

    def spec(self) -> MappingSpec:
        """This line, as the row engine takes it."""
        return MappingSpec(
            target=self.target,
            source_column=self.source_column,
            constant=self.constant,
            when_blank=self.when_blank,  # type: ignore[arg-type]
            too_precise=self.too_precise,  # type: ignore[arg-type]
        )


class Schedule(TenantModel):
    """When a sync starts by itself: every so many minutes, or by a cron line in a time zone.

    A start that falls into a live job is skipped. Starts that were missed, while nothing ran or the sync was paused,
    are made up for once.
    """

    access_path = "sync"

    sync = models.OneToOneField(Sync, on_delete=models.CASCADE, related_name="schedule")
    enabled = models.BooleanField(default=True)
    every_minutes = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(525_600)]
    )
    cron = models.CharField(max_length=100, blank=True, default="", help_text="For example '30 6 * * 1-5'.")
    time_zone = models.CharField(max_length=60, default="UTC", help_text="Of the cron line, such as Europe/Berlin.")
    next_start_at = models.DateTimeField(null=True, blank=True, editable=False, db_index=True)
    last_start_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_skip = models.TextField(blank=True, default="", editable=False, help_text="Why the last start was skipped.")

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.CheckConstraint(
                condition=models.Q(every_minutes__isnull=False, cron="")
                | models.Q(every_minutes__isnull=True) & ~models.Q(cron=""),
                name="an_interval_or_a_cron_line",
            ),
        ]

    def __str__(self) -> str:
        try:
            return schedule.in_words(**self.definition)
        except schedule.BadSchedule as error:
            return str(error)

    @property
    def definition(self) -> dict[str, Any]:
        """What says when to start, as syncs/schedule.py takes it."""
        return {"every_minutes": self.every_minutes, "cron": self.cron, "time_zone": self.time_zone}

    def clean(self) -> None:
        try:
            schedule.check(**self.definition, now=timezone.now())
        except schedule.BadSchedule as error:
            raise ValidationError({error.field: str(error)}) from None

    def next_after(self, moment: datetime) -> datetime:
        """The first start after a moment. Raises BadSchedule."""
        return schedule.next_start(**self.definition, after=moment)

    def save(self, *args: Any, **options: Any) -> None:
        """Save, with the next start as the definition has it now. Raises BadSchedule."""
        before = None if self._state.adding else type(self).all_objects.filter(pk=self.pk).first()
        if before is None or (before.definition, before.enabled) != (self.definition, self.enabled):
            self.next_start_at = self.next_after(timezone.now()) if self.enabled else None
        super().save(*args, **options)
