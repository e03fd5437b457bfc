"""What our commands share: errors that a person can do something about are told without a stack trace."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connections.declare import SettingsError
from connections.secrets import SecretsUnreadable
from jobs.errors import JobRefused
from orgs.access import Denied


class JobCommand(BaseCommand):
    """A command about jobs."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (Denied, JobRefused, SecretsUnreadable, SettingsError) as error:
            raise CommandError(str(error)) from None
