from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.fields import GenericRelation
from django.db import models

from connections import kinds
from connections.declare import SettingsError
from connections.secrets import SecretsField
from orgs.models import Grant
from orgs.tenancy import TenantModel


class Connection(TenantModel):
    """How to reach one system: a source, or a Salesforce org. Holds its secrets."""

    access_path = ""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=40, choices=kinds.choices)
    settings = models.JSONField(default=dict, blank=True)
    secrets = SecretsField(editable=False)
    settings_version = models.PositiveIntegerField(default=1, editable=False)
    salesforce_org_id = models.CharField(
        max_length=18, blank=True, default="", editable=False, help_text="The Salesforce org of the last login."
    )
    # With the host that the login led to; see `Identity.org_key`.
    salesforce_org_key = models.CharField(max_length=40, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    grants = GenericRelation(Grant)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="connection_name_once_per_organization"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_salesforce(self) -> bool:
        return self.kind == kinds.SALESFORCE

    def all_settings(self) -> dict[str, Any]:
        """Settings and secrets in one dictionary, as the kind's code takes them."""
        secrets: dict[str, Any] = dict(self.secrets)  # type: ignore[arg-type]  # stored as bytes, held as a dict
        return {**self.settings, **secrets}

    def set_values(self, values: dict[str, Any]) -> None:
        """Replace all settings; those that the kind declares secret are encrypted on save.

        Raises SettingsError for an unknown, missing or wrong value, or an unknown kind.
        """
        kinds.build_settings(self.kind, values)
        secret = kinds.secret_names(self.kind)
        self.settings = {name: value for name, value in values.items() if name not in secret}
        self.secrets = {name: value for name, value in values.items() if name in secret}
        self.settings_version += 1

    def change_values(self, entered: dict[str, Any]) -> None:
        """Replace the settings by what a person entered; secrets that were not entered stay as they are stored.

        Whoever changes where the secrets are sent has to know them: otherwise a test of the connection would post
        them to a stranger. Raises SettingsError, naming what has to be entered again.
        """
        stored = {} if self._state.adding else self.all_settings()
        secret = kinds.secret_names(self.kind)
        kept = {name for name in secret if stored.get(name) and name not in entered}
        defaults = kinds.defaults(self.kind)
        moved = [
            name
            for name in sorted(kinds.address_names(self.kind))
            if stored and entered.get(name, defaults.get(name)) != stored.get(name, defaults.get(name))
        ]
        if moved and kept:
            raise SettingsError(
                f"The setting '{moved[0]}' says where the secrets are sent. Who changes it must enter them again: "
                f"{', '.join(sorted(kept))}."
            )
        values = {**{name: stored[name] for name in kept}, **entered}
        # A new name of the connection is no new version of its settings.
        if not stored or {**defaults, **values} != {**defaults, **stored}:
            self.set_values(values)

    def audit_values(self) -> dict[str, Any]:
        """What the audit may tell: all settings, and of the secrets only which there are and when they changed."""
        secrets: dict[str, Any] = dict(self.secrets)  # type: ignore[arg-type]  # stored as bytes, held as a dict
        return {"secrets": sorted(name for name, value in secrets.items() if value), "version": self.settings_version}


class ConnectionCheck(TenantModel):
    """One test of a connection: what was found, or where it failed and what to do, and its log."""

    access_path = "connection"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="checks")
    settings_version = models.PositiveIntegerField()
    ok = models.BooleanField()
    facts = models.JSONField(default=list, help_text="What was found, in order: [label, value] each.")
    failed_step = models.CharField(max_length=40, blank=True, default="")
    reason = models.TextField(blank=True, default="", help_text="Why it failed, in plain words.")
    way_out = models.TextField(blank=True, default="", help_text="What to do about it.")
    log = models.TextField(blank=True, default="")
    started_by = models.CharField(max_length=150, blank=True, default="")
    started_at = models.DateTimeField()
    seconds = models.FloatField(default=0)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.connection}: connection {'successful' if self.ok else 'failed'}"


class Discovered(TenantModel):
    """A list of objects, fields, tables or columns, as a connection last answered. A cache: safe to delete."""

    access_path = "connection"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    settings_version = models.PositiveIntegerField()
    what = models.CharField(max_length=300, help_text="Such as 'objects' or 'fields Contact'.")
    data = models.JSONField()
    fetched_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "settings_version", "what"], name="one_answer_per_connection_version_and_question"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.connection}"


class LimitName(models.TextChoices):
    """Limits of a Salesforce org, by the names that Salesforce gives them."""

    CALLS = "DailyApiRequests", "API calls"
    BATCHES = "DailyBulkApiBatches", "bulk batches"
    EVENTS = "HourlyPublishedPlatformEvents", "published events"


class OrgLimit(models.Model):
    """What is known of one limit of one Salesforce org. Of no tenant: all that use the Salesforce org share it.

    See docs/adr/0014-one-budget-per-salesforce-org.md.
    """

    org_key = models.CharField(max_length=40)
    name = models.CharField(max_length=40, choices=LimitName.choices)
    max = models.PositiveBigIntegerField(null=True, help_text="As Salesforce last told; null before.")
    used = models.PositiveBigIntegerField(default=0, help_text="As Salesforce last told, and what we used since.")
    told_at = models.DateTimeField(null=True, help_text="When the request was sent whose answer told it.")
    # Calls that we know to be over, ever; and how many they were before that request. What lies between is not in what
    # its answer told, whatever the clocks say.
    made = models.PositiveBigIntegerField(default=0)
    made_when_told = models.PositiveBigIntegerField(default=0)
    taken_at = models.DateTimeField(null=True, help_text="When we last used some of it.")
    # How often Salesforce was asked in a row without there being room, and when it may be asked again.
    looks = models.PositiveIntegerField(default=0)
    look_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["org_key", "name"], name="limit_once_per_salesforce_org")]

    def __str__(self) -> str:
        return f"{self.get_name_display()} of {self.org_key}"


class CallLease(models.Model):
    """Calls that somebody may be making right now. One that expired counts as used."""

    org_key = models.CharField(max_length=40, db_index=True)
    token = models.CharField(max_length=32, unique=True)
    calls = models.PositiveIntegerField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.org_key}"


class UsedOfLimit(models.Model):
    """What we used of a limit on one day (UTC), over all organizations."""

    org_key = models.CharField(max_length=40)
    name = models.CharField(max_length=40, choices=LimitName.choices)
    day = models.DateField()
    used = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["org_key", "name", "day"], name="use_once_per_limit_and_day")]

    def __str__(self) -> str:
        return f"{self.used} {self.get_name_display()} of {self.org_key} on {self.day}"
