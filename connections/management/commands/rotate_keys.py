from typing import Any

from django.core.management.base import BaseCommand

from connections.models import Connection


class Command(BaseCommand):
    help = "Encrypts all stored secrets with the first key of SFSYNC_ENCRYPTION_KEYS, so that old keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        for connection in Connection.all_objects.iterator():
            connection.save(update_fields=["secrets"])
            count += 1
        self.stdout.write(f"{count} connections are encrypted with the first key now. Older keys may be removed.")
