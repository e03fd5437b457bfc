from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from sfsync.first_user import make_first_user


class Command(BaseCommand):
    help = "Brings the database up to date, and makes the first user where there is none. Safe to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="Name of the first user; asked for otherwise.")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        made = make_first_user(options["user"])
        if made is not None:
            user, password = made
            told = f" with the password {password} (shown this once)" if password else ""
            self.stdout.write(f"Made the first user: {user.get_username()}{told}.")
