from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.contenttypes.fields import GenericRelation
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from connections.models import Connection
from orgs.models import Grant
from orgs.tenancy import TenantModel
from syncs import schedule
from syncs.choices import (
    Approval,
    Compare,
    DuplicateRules,
    MissingParent,
    Mode,
    OnChanged,
    OnDropped,
    OnNew,
    Priority,
    TooLong,
    TooPrecise,
    UnknownPicklist,
    WhenBlank,
    WhenOverBudget,
    WriteOn,
)
from syncs.combinations import complaints
from syncs.shapes import API_NAME, PARAMETER_NAME, BadShape, check_replacements
from syncs.spec import (
    BEHAVIOURS,
    Behaviour,
    ColumnSpec,
    LookupSpec,
    MappingSpec,
    ReplacementSpec,
    SelectionSpec,
    SyncSpec,
)


class BadParameters(ValueError):
    """The parameters given to a sync are not those it has. The message names them, and says what to do."""


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
    source_filter = models.TextField(
        blank=True,
        default="",
        help_text="Only rows that meet this are read: a condition in the source's own language, without WHERE; "
        "@name stands for a parameter.",
    )
    source_rules: Any = models.JSONField(null=True, blank=True, help_text="The same, built from rules.")
    columns: Any = models.JSONField(
        blank=True, default=list, help_text="Columns of the source that hold more than text: name, type, format."
    )
    destination = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    object = models.CharField(max_length=100, help_text="API name of the Salesforce object.")
    key_fields = models.JSONField(
        blank=True,
        default=list,
        help_text="The sync key: API names of mapped fields. Empty only for mode insert with compare = nothing.",
    )
    target_filter = models.TextField(
        blank=True,
        default="",
        help_text="Only records that meet this take part in compare = destination: a SOQL condition, without WHERE.",
    )
    mode = models.CharField(max_length=10, choices=Mode.choices, default=Mode.UPSERT)
    compare = models.CharField(max_length=11, choices=Compare.choices, default=Compare.SNAPSHOT)
    on_new = models.CharField(
        max_length=11,
        choices=OnNew.choices,
        blank=True,
        default="",
        help_text="Of mode custom: a row that has no record in Salesforce.",
    )
    on_changed = models.CharField(
        max_length=11,
        choices=OnChanged.choices,
        blank=True,
        default="",
        help_text="Of mode custom: a row that differs from its record.",
    )
    on_dropped = models.CharField(
        max_length=11,
        choices=OnDropped.choices,
        blank=True,
        default="",
        help_text="Of mode custom: a record whose row left the source.",
    )
    changed_rule: Any = models.JSONField(
        null=True, blank=True, help_text="Over source and target values: where it holds, a changed record is updated."
    )
    expire_field = models.CharField(
        max_length=100, blank=True, default="", help_text="API name of the date or date-time field that is stamped."
    )
    action_column = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Of the source: says INSERT, UPDATE or DELETE per row. Only with compare = nothing.",
    )
    hard_delete = models.BooleanField(
        default=False,
        help_text="Deleted records do not go to the recycle bin: nobody can restore them. Switching this on takes the "
        "permission 'hard delete'.",
    )
    time_zone = models.CharField(max_length=60, default="UTC", help_text="Of date-times without an offset.")
    auto_assign = models.CharField(
        max_length=18,
        default="off",
        help_text="Of leads and cases: off, default (the active assignment rule), or the id of an assignment rule.",
    )
    duplicate_rules = models.CharField(
        max_length=10, choices=DuplicateRules.choices, default=DuplicateRules.RESPECT, help_text="Those of Salesforce."
    )
    bulk_serial = models.BooleanField(
        default=False, help_text="One batch after another, for objects whose records lock each other. Slower."
    )
    park_after = models.PositiveIntegerField(
        default=10,
        validators=[MaxValueValidator(1000)],
        help_text="A row that Salesforce refused for good in so many jobs in a row is left out until it changes or "
        "somebody releases it. 0: never.",
    )
    guard_rows = models.PositiveIntegerField(
        default=100, help_text="A job that would delete more records than this waits for approval."
    )
    guard_percent = models.PositiveIntegerField(
        default=10,
        validators=[MaxValueValidator(100)],
        help_text="A job that would delete more than this % of the known records (and at least 10) waits too.",
    )
    guard_rejected_percent = models.PositiveIntegerField(
        default=20,
        validators=[MaxValueValidator(100)],
        help_text="A job of 100 rows or more that rejects more than this % of them waits. 100: never.",
    )
    guard_count_percent = models.PositiveIntegerField(
        default=50,
        validators=[MaxValueValidator(1000)],
        help_text="A job that read this % more or fewer rows than is usual (and at least 100) waits. 0: never.",
    )
    guard_budget_percent = models.PositiveIntegerField(
        default=50,
        validators=[MaxValueValidator(100)],
        help_text="A job that needs more than this % of the API calls left for today waits. 100: never.",
    )
    approval = models.CharField(
        max_length=10,
        choices=Approval.choices,
        default=Approval.GUARDS,
        help_text="When a job shows its plan and waits until somebody approves it.",
    )
    approver_differs = models.BooleanField(
        default=False, help_text="Whoever approves a job must be somebody else than who started it."
    )
    keep_before = models.BooleanField(
        default=False,
        help_text="Read what a job changes or deletes before it does, so that it can be undone, and its history shows "
        "from what to what. Free with compare = destination; else it costs a call per 200 records, or a bulk query.",
    )
    when_over_budget = models.CharField(
        max_length=10,
        choices=WhenOverBudget.choices,
        default=WhenOverBudget.WAIT,
        help_text="What a job does that needs more API calls than its share leaves.",
    )
    priority = models.PositiveSmallIntegerField(
        choices=Priority.choices, default=Priority.NORMAL, help_text="Whose batches go first to a Salesforce org."
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
        found: dict[str, list[str]] = {}
        for name, text in complaints(self):
            found.setdefault(name, []).append(text)
        if found:
            raise ValidationError(found)

    def save(self, *args: Any, **options: Any) -> None:
        # A job may have moved the snapshot since this row was read: a form that writes it back would point to a
        # file that is gone, or forget what Salesforce holds. Only the transaction that ends a job moves it.
        if not self._state.adding and options.get("update_fields") is None:
            options["update_fields"] = [
                field.name for field in self._meta.concrete_fields if not field.primary_key and field.name != "snapshot"
            ]
        super().save(*args, **options)

    @property
    def behaviour(self) -> Behaviour | None:
        """What becomes of new, changed and dropped rows; None while the mode custom does not say it all."""
        if self.mode != Mode.CUSTOM:
            return BEHAVIOURS[self.mode]
        if not (self.on_new and self.on_changed and self.on_dropped):
            return None
        return Behaviour(self.on_new, self.on_changed, self.on_dropped)  # type: ignore[arg-type]

    @property
    def known_records(self) -> int | None:
        """How many records the snapshot knows; None when there is none."""
        return self.snapshot.get("rows") if self.snapshot else None

    def audit_values(self) -> dict[str, Any]:
        """What the audit tells besides the fields: the lines of the mapping, the parameters, and the schedule."""
        planned = Schedule.all_objects.filter(sync=self).first()
        return {
            "mapping": [line.in_words() for line in self.mappings.order_by("position", "pk")],
            "parameters": [str(parameter) for parameter in self.parameters.all()],
            "schedule": "" if planned is None else f"{planned}{'' if planned.enabled else ' (off)'}",
        }

    def spec(self, parameters: dict[str, str] | None = None) -> SyncSpec:
        """What a job that starts now is told to do.

        parameters: values by name; those that are not given have their defaults. Raises BadParameters for one that has
        neither, and for one that the sync does not have.
        """
        behaviour = self.behaviour
        custom = behaviour if self.mode == Mode.CUSTOM else None
        expires = custom is not None and custom.dropped == OnDropped.EXPIRE
        conditional = custom is not None and custom.changed == OnChanged.CONDITIONAL
        rules = self.source_rules
        return SyncSpec(
            selection=SelectionSpec(
                self.source_table, self.source_query, self.source_path, filter=self.source_filter, rules=rules
            ),
            object=self.object,
            key_fields=tuple(self.key_fields),
            mode=self.mode,  # type: ignore[arg-type]
            mappings=tuple(line.spec() for line in self.mappings.order_by("position", "pk")),
            compare=self.compare,  # type: ignore[arg-type]
            custom=custom,
            changed_rule=self.changed_rule if conditional else None,
            expire_field=self.expire_field if expires else "",
            action_column=self.action_column,
            hard_delete=self.hard_delete,
            target_filter=self.target_filter,
            columns=tuple(ColumnSpec(**column) for column in self.columns),
            parameters=self._values_of_parameters(parameters or {}),
            auto_assign=self.auto_assign,
            duplicate_rules=self.duplicate_rules,  # type: ignore[arg-type]
            bulk_serial=self.bulk_serial,
            park_after=self.park_after,
            time_zone=self.time_zone,
            guard_rows=self.guard_rows,
            guard_percent=self.guard_percent,
            guard_rejected_percent=self.guard_rejected_percent,
            guard_count_percent=self.guard_count_percent,
            guard_budget_percent=self.guard_budget_percent,
            approval=self.approval,  # type: ignore[arg-type]
            keep_before=self.keep_before,
            batch_rows=self.batch_rows,
            batch_bytes=self.batch_bytes,
        )

    def _values_of_parameters(self, given: dict[str, str]) -> dict[str, str]:
        defaults = {parameter.name: parameter.default for parameter in self.parameters.all()}
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            has = f"It has: {', '.join(defaults)}." if defaults else "It has none."
            raise BadParameters(f"The sync '{self.name}' has no parameter '{unknown[0]}'. {has}")
        values = {name: given.get(name, default) for name, default in defaults.items()}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            some = f"the parameter {names} has" if len(missing) == 1 else f"the parameters {names} have"
            raise BadParameters(
                f"The sync '{self.name}' cannot start: {some} no value and no default. Give a value when you start it, "
                "or set a default."
            )
        return {name: value for name, value in values.items() if value is not None}

    def spec_to_look_at(self) -> SyncSpec:
        """The spec with an empty text for each parameter that is asked for at the start: to check it, never to run."""
        return self.spec({parameter.name: "" for parameter in self.parameters.all() if parameter.default is None})

    def cost_of_change(self, object: str, key_fields: list[str]) -> list[str]:
        """What another object or sync key costs, a sentence each; nothing when there is no snapshot to lose."""
        known = self.known_records
        same = [object.lower(), *map(str.lower, key_fields)] == [self.object.lower(), *map(str.lower, self.key_fields)]
        if same or known is None:
            return []
        records = "1 record" if known == 1 else f"{known:,} records"
        told = [
            f"The snapshot of {records}, by {', '.join(self.key_fields)} of {self.object}, cannot be used any more and "
            "is given up. The records themselves stay in Salesforce as they are."
        ]
        behaviour = self.behaviour
        if self.compare == Compare.DESTINATION:
            told.append(
                "The next job compares every row with the records in Salesforce, as each job of this sync does."
            )
        else:
            told.append("The next job knows nothing: it sends every row of the source again.")
            if behaviour is not None and behaviour.dropped != OnDropped.IGNORE:
                verb = "expires" if behaviour.dropped == OnDropped.EXPIRE else "deletes"
                told.append(f"The next job {verb} nothing: which records left the source is not known any more.")
        return told

    def give_up_snapshot(self) -> None:
        """Forget what Salesforce is known to hold. Call it in the transaction of the change that makes it useless."""
        type(self).all_objects.filter(pk=self.pk).update(snapshot=None)
        self.snapshot = None


class FieldMapping(TenantModel):
    """One line of a sync: a source column, a constant or an expression, and the Salesforce field it goes to."""

    access_path = "sync"

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="mappings")
    position = models.PositiveIntegerField(default=0)
    target = models.CharField(max_length=100, help_text="API name of the field.")
    source_column = models.CharField(max_length=200, null=True, blank=True)
    constant = models.CharField(max_length=1000, null=True, blank=True)
    expression = models.TextField(
        max_length=4000, null=True, blank=True, help_text='SQL over columns and @parameters: upper("last name").'
    )
    lookup_object = models.CharField(
        max_length=100, blank=True, default="", help_text="Of a reference field: API name of the parent object."
    )
    lookup_field = models.CharField(
        max_length=100, blank=True, default="", help_text="The parent's field that holds the value of this line."
    )
    when_blank = models.CharField(max_length=10, choices=WhenBlank.choices, default=WhenBlank.LEAVE)
    default = models.CharField(max_length=1000, blank=True, default="", help_text="Taken where an option says so.")
    write_on = models.CharField(max_length=15, choices=WriteOn.choices, default=WriteOn.BOTH)
    too_long = models.CharField(max_length=10, choices=TooLong.choices, default=TooLong.REJECT)
    unknown_picklist = models.CharField(max_length=10, choices=UnknownPicklist.choices, default=UnknownPicklist.REJECT)
    too_precise = models.CharField(max_length=10, choices=TooPrecise.choices, default=TooPrecise.REJECT)
    missing_parent = models.CharField(max_length=10, choices=MissingParent.choices, default=MissingParent.REJECT)
    trim = models.BooleanField(default=True, help_text="Blanks at the edges of the value go.")
    replacements: Any = models.JSONField(
        blank=True, default=list, help_text="Regular expressions, and what each match is replaced with, in this order."
    )
    mandatory = models.BooleanField(default=False, help_text="A blank breaks a rule.")
    validated = models.BooleanField(
        default=True,
        help_text="A row that breaks a rule of this line is rejected. Without it, the row goes without the value.",
    )

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["sync", "target"], name="one_line_per_target_field"),
            models.CheckConstraint(
                condition=models.Q(source_column__isnull=False, constant__isnull=True, expression__isnull=True)
                | models.Q(source_column__isnull=True, constant__isnull=False, expression__isnull=True)
                | models.Q(source_column__isnull=True, constant__isnull=True, expression__isnull=False),
                name="a_column_a_constant_or_an_expression",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.value_in_words} -> {self.target}"

    @property
    def value_in_words(self) -> str:
        """Where the value comes from: a column, an expression, or a constant in quotes."""
        plain = self.expression if self.expression is not None else self.source_column
        return f"'{self.constant}'" if plain is None else plain

    def clean(self) -> None:
        if [self.source_column, self.constant, self.expression].count(None) != 2:
            raise ValidationError("Give this line exactly one of: a source column, a constant, an expression.")
        if bool(self.lookup_object) != bool(self.lookup_field):
            missing, way_out = (
                ("lookup_field", "Choose the parent's field that holds the value.")
                if self.lookup_object
                else ("lookup_object", "Name the parent object to look in.")
            )
            raise ValidationError({missing: f"A lookup needs the parent object and a field of it. {way_out}"})
        for name in ("lookup_object", "lookup_field"):
            if getattr(self, name) and not API_NAME.fullmatch(getattr(self, name)):
                raise ValidationError({name: f"'{getattr(self, name)}' is no API name of Salesforce."})
        if "default" in (self.when_blank, self.unknown_picklist) and not self.default.strip():
            raise ValidationError({"default": "An option of this line takes the default value. Enter it."})
        try:
            check_replacements(self.replacements)
        except BadShape as error:
            raise ValidationError({"replacements": str(error)}) from None

    @property
    def lookup(self) -> dict[str, str] | None:
        """The parent object and its field, or None."""
        return {"object": self.lookup_object, "field": self.lookup_field} if self.lookup_field else None

    def options(self) -> list[str]:
        """What differs from the usual about this line, a few words each."""
        told = [f"found by {self.lookup_object}.{self.lookup_field}"] if self.lookup_field else []
        for field in [field for field in self._meta.concrete_fields if field.choices]:
            value = getattr(self, field.name) or field.default
            if value != field.default:
                told.append(f"{field.verbose_name}: {value.replace('_', ' ')}")
        told += [f"default '{self.default}'"] if self.default else []
        told += [] if self.trim else ["not trimmed"]
        count = len(self.replacements)
        told += [f"{count} replacement{'s' * (count > 1)}"] if count else []
        told += ["mandatory"] if self.mandatory else []
        return told + ([] if self.validated else ["not validated"])

    def in_words(self) -> str:
        """The line with its rules, for the record of changes."""
        changes = [f"'{each['pattern']}' by '{each['replacement']}'" for each in self.replacements]
        told = [*self.options(), *([f"replaced: {', '.join(changes)}"] if changes else [])]
        return "; ".join([str(self), *told])

    def spec(self) -> MappingSpec:
        """This line, as the row engine takes it."""
        return MappingSpec(
            target=self.target,
            source_column=self.source_column,
            constant=self.constant,
            expression=self.expression,
            lookup=LookupSpec(self.lookup_object, self.lookup_field) if self.lookup_field else None,
            when_blank=self.when_blank,  # type: ignore[arg-type]
            default=self.default,
            write_on=self.write_on,  # type: ignore[arg-type]
            too_long=self.too_long,  # type: ignore[arg-type]
            unknown_picklist=self.unknown_picklist,  # type: ignore[arg-type]
            too_precise=self.too_precise,  # type: ignore[arg-type]
            missing_parent=self.missing_parent,  # type: ignore[arg-type]
            trim=self.trim,
            replacements=tuple(ReplacementSpec(**each) for each in self.replacements),
            mandatory=self.mandatory,
            validated=self.validated,
        )


class Parameter(TenantModel):
    """A value with a name, used as @name in filters, queries, paths and expressions, fixed when a job starts."""

    access_path = "sync"

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="parameters")
    name = models.CharField(max_length=60, help_text="Letters, digits and underscores; used as @name.")
    default = models.CharField(
        max_length=1000, null=True, blank=True, help_text="Without one, the value is asked for when a job starts."
    )
    description = models.CharField(max_length=200, blank=True, default="", help_text="For whoever starts a job.")

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("sync", Lower("name"), name="parameter_name_once_per_sync"),
        ]

    def __str__(self) -> str:
        return f"@{self.name} = {'asked for' if self.default is None else repr(self.default)}"

    def clean(self) -> None:
        if not PARAMETER_NAME.fullmatch(self.name):
            raise ValidationError({"name": "Use letters, digits and underscores, and no digit first."})


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
