from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from connections import kinds
from connections.declare import SettingsError
from connections.secrets import SecretsField
from orgs.tenancy import TenantModel


class Connection(TenantModel):
    """How to reach one system: a source, or a Salesforce org. Holds its secrets."""

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=40, choices=kinds.choices)
    settings = models.JSONField(default=dict, blank=True)
    secrets = SecretsField(editable=False)
    settings_version = models.PositiveIntegerField(default=1, editable=False)
    salesforce_org_id = models.CharField(
        max_length=18, blank=True, default="", editable=False, help_text="The Salesforce org of the last login."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        abstract = False
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

    def clean(self) -> None:
        try:
            kinds.build_settings(self.kind, self.entered_values())
        except SettingsError as error:
            raise ValidationError(str(error)) from None

    def entered_values(self) -> dict[str, Any]:
        """What a person entered into the settings, secrets among it or not, over the secrets that are stored."""
        secret = kinds.secret_names(self.kind)
        stored = {name: value for name, value in self.all_settings().items() if name in secret}
        return {**stored, **self.settings}
