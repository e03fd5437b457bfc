from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from connections.models import Connection


class Command(BaseCommand):
    help = "Encrypts all stored secrets with the first key of SFSYNC_ENCRYPTION_KEYS, so that old keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        for pk in list(Connection.all_objects.values_list("pk", flat=True)):
            # Read and written in one: somebody may be entering new secrets meanwhile.
            with transaction.atomic():
                connection = Connection.all_objects.select_for_update().filter(pk=pk).first()
                if connection is not None:
                    connection.save(update_fields=["secrets"])
                    count += 1
        self.stdout.write(f"{count} connections are encrypted with the first key now. Older keys may be removed.")
