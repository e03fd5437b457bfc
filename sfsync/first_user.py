"""The first person of a new installation, and the organization that is its own."""

from __future__ import annotations

import getpass
import secrets
import sys

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from orgs.models import Membership, Organization, Role


def make_first_user(name: str | None) -> tuple[User, str | None] | None:
    """Make the first user, who runs the installation and owns its first organization; None when there are users.

    name: of the user; asked for on a terminal, else `admin`. The password comes from SFSYNC_FIRST_PASSWORD, or is
    asked for on a terminal, or is made up. Returns the user, and the password if it was made up. Raises CommandError
    for a password that is too easy.
    """
    if User.objects.exists():
        return None
    asking = sys.stdin.isatty()
    if name is None:
        name = (input("Name of the first user [admin]: ").strip() if asking else "") or "admin"
    password, made_up = _password(asking)
    try:
        validate_password(password, User(username=name))
    except ValidationError as error:
        raise CommandError("The password is too easy: " + " ".join(error.messages)) from None
    with transaction.atomic():
        user = User.objects.create_superuser(name, password=password)
        organization = Organization.objects.create(name="My organization", slug="my-organization")
        Membership.all_objects.create(organization=organization, user=user, role=Role.OWNER)
    return user, password if made_up else None


def _password(asking: bool) -> tuple[str, bool]:
    given = settings.SFSYNC_FIRST_PASSWORD
    if given:
        return given, False
    if not asking:
        return secrets.token_urlsafe(12), True
    password = getpass.getpass("Password (blank: one is made up): ")
    if not password:
        return secrets.token_urlsafe(12), True
    if getpass.getpass("Password again: ") != password:
        raise CommandError("The two passwords differ.")
    return password, False
