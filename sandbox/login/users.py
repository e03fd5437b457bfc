"""Who may log in to the org. Each user also stands as a User record, which holds name, address and IsActive."""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.login.permissions import Allowed, PermissionsError, read_permissions
from sandbox.login.places import is_text
from sandbox.rows.rules import name as quoted
from sandbox.store import make_id

if TYPE_CHECKING:
    from sandbox.org import Org

# After so many wrong passwords in a row a user is locked out (default password policy of a new org).
MAX_FAILURES = 10
LOCKOUT_SECONDS = 900
_USERNAME = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# Texts and their greatest lengths, which are those of the User record.
_TEXTS = {"username": 80, "password": 255, "security_token": 80, "first_name": 40, "last_name": 80, "email": 128}
_SWITCHES = ("active", "locked", "token_required", "password_expired")
_KEYS = {*_TEXTS, *_SWITCHES, "permissions"}


class UserError(ValueError):
    """A user that cannot be; the message names what is wrong."""


@dataclass(eq=False)
class User:
    """Somebody who may log in. `id` is that of the User record; `token_required` refuses the password alone."""

    id: str
    username: str
    password: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    first_name: str = ""
    last_name: str = "User"
    email: str = ""
    active: bool = True
    locked: bool = False
    token_required: bool = False
    password_expired: bool = False
    allowed: Allowed = field(default_factory=Allowed)
    failures: int = 0
    locked_until: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def nickname(self) -> str:
        return re.sub(r"\W", "", f"{self.first_name}{self.last_name}".lower())[:40] or "user"

    def as_json(self) -> dict[str, Any]:
        """The user without password and security token."""
        shown = {key: getattr(self, key) for key in (*_TEXTS, *_SWITCHES) if key not in ("password", "security_token")}
        return {"id": self.id, **shown, "permissions": self.allowed.as_json()}

    def with_secrets(self) -> dict[str, Any]:
        """The user as a users file would describe it."""
        shown = self.as_json()
        shown.pop("id")
        return {**shown, "password": self.password, "security_token": self.security_token}


class Users:
    """All who may log in: the user of the command line first, then those of the users file, then added ones."""

    def __init__(self, org: Org, file: Path | None) -> None:
        self._org = org
        self._listed = read_users_file(file) if file else []
        self._users: list[User] = []
        self._start()
        self._change_all(org.store.documents("user"))

    def _start(self) -> None:
        settings = self._org.settings
        admin = User(make_id("005", 1), settings.username, settings.password, settings.security_token)
        admin.first_name, admin.last_name, admin.email = "Sandy", "Box", settings.username
        self._users = [admin]
        self._change_all(self._listed)

    @property
    def admin(self) -> User:
        return self._users[0]

    def __iter__(self) -> Any:
        return iter(self._users)

    def named(self, username: str) -> User | None:
        """The user of a username, whatever its case."""
        return next((each for each in self._users if each.username.lower() == username.lower()), None)

    def with_id(self, user_id: str) -> User | None:
        """The user of a 15- or 18-character id."""
        return next((each for each in self._users if each.id[:15] == user_id[:15]), None)

    def put(self, listed: list[Any]) -> list[User]:
        """Add users, or change those of these usernames; all or none.

        Raises UserError.
        """
        users = self._change_all(listed)
        self.stand()
        for user in users:
            self._keep(user)
            values = _record(user)
            changes = ", ".join(f"{quoted(each)} = ?" for each in values)
            with self._org.store.writing() as cursor:
                cursor.execute(f'UPDATE "User" SET {changes} WHERE Id = ?', [*values.values(), user.id])
            if not user.active:
                self._org.sessions.end_all(user)
        return users

    def _keep(self, user: User) -> None:
        with self._org.store.writing() as cursor:
            self._org.store.put_document(cursor, "user", user.username.lower(), user.with_secrets())

    def remove(self, user: User) -> None:
        """Take an added user's login away; the record stays, inactive, as no user is ever deleted."""
        self._users.remove(user)
        self._org.sessions.end_all(user)
        with self._org.store.writing() as cursor:
            self._org.store.delete_document(cursor, "user", user.username.lower())
            cursor.execute('UPDATE "User" SET IsActive = false WHERE Id = ?', [user.id])

    def set_password(self, user: User, password: str) -> None:
        """Give a user another password."""
        user.password, user.password_expired = password, False
        self._keep(user)

    def clear(self) -> None:
        """Back to the users of the command line and the users file."""
        self._start()

    def _change_all(self, listed: list[Any]) -> list[User]:
        """Add or change users, after all of them were found good."""
        permissions = [self._permissions_of(given) for given in listed]
        return [self._change(given, allowed) for given, allowed in zip(listed, permissions, strict=True)]

    def _permissions_of(self, given: Any) -> Allowed | None:
        """Check a user; his permissions, if he is given any."""
        _check(given)
        if self.named(given["username"]) is None and "password" not in given:
            raise UserError(f"{given['username']}: a new user needs a password")
        try:
            return read_permissions(self._org.schema, given["permissions"]) if "permissions" in given else None
        except PermissionsError as error:
            raise UserError(f"{given['username']}: {error}") from None

    def _change(self, given: dict[str, Any], allowed: Allowed | None) -> User:
        user = self.named(given["username"])
        if user is None:
            user = User("", given["username"], given["password"], email=given["username"])
            self._users.append(user)
        for key in (*_TEXTS, *_SWITCHES):
            if key in given and key != "username":
                setattr(user, key, given[key])
        user.allowed = user.allowed if allowed is None else allowed
        if "locked" in given:
            user.failures, user.locked_until = 0, 0.0
        return user

    def stand(self) -> None:
        """Give a User record to each user who has none, and learn the ids of the others."""
        with self._org.store.writing() as cursor:
            for user in self._users:
                found = cursor.execute('SELECT Id FROM "User" WHERE lower(Username) = lower(?)', [user.username])
                if row := found.fetchone():
                    user.id = str(row[0])
                    continue
                number = self._org.store.reserve(cursor, "User")
                user.id = make_id("005", number)
                values = {**_record(user), **self._fixed(user)}
                columns = ", ".join(quoted(each) for each in values)
                marks = ", ".join("?" for _ in values)
                cursor.execute(f'INSERT INTO "User" ({columns}) VALUES ({marks})', list(values.values()))

    def record(self, user: User) -> dict[str, Any]:
        """The fields of a user's record that login shows."""
        names = (*_record(user), "TimeZoneSidKey", "LocaleSidKey", "LanguageLocaleKey", "ProfileId", "MobilePhone")
        names = (*names, "Street", "City", "State", "PostalCode", "Country", "CommunityNickname", "LastModifiedDate")
        columns = ", ".join(quoted(each) for each in names)
        row = self._org.store.rows(f'SELECT {columns} FROM "User" WHERE Id = ?', [user.id])[0]
        return dict(zip(names, row, strict=True))

    def _fixed(self, user: User) -> dict[str, Any]:
        now = self._org.clock.now()
        return {
            "Id": user.id,
            "IsDeleted": False,
            "CreatedDate": now,
            "LastModifiedDate": now,
            "SystemModstamp": now,
            "CreatedById": self.admin.id,
            "LastModifiedById": self.admin.id,
            "Alias": (user.first_name[:1] + user.last_name)[:5].lower(),
            "CommunityNickname": user.nickname,
            "TimeZoneSidKey": "America/Los_Angeles",
            "LocaleSidKey": "en_US",
            "EmailEncodingKey": "UTF-8",
            "LanguageLocaleKey": "en_US",
            "ProfileId": make_id("00e", 1),
            "UserType": "Standard",
        }

    def is_active(self, user: User) -> bool:
        """Whether the user may be logged in at all, by his record's IsActive."""
        found = self._org.store.rows('SELECT IsActive FROM "User" WHERE Id = ?', [user.id])
        return bool(found and found[0][0]) and user.active

    def is_locked(self, user: User) -> bool:
        """Whether the user is locked out, by an administrator or by too many wrong passwords."""
        return user.locked or self._org.clock.time() < user.locked_until

    def check_password(self, user: User, given: str) -> bool:
        """Whether `given` is the password with the security token, or without it where that is not required."""
        accepted = [user.password + user.security_token]
        if not user.token_required:
            accepted.append(user.password)
        right = True in [hmac.compare_digest(given.encode(), each.encode()) for each in accepted]
        user.failures = 0 if right else user.failures + 1
        if user.failures >= MAX_FAILURES:
            user.failures, user.locked_until = 0, self._org.clock.time() + LOCKOUT_SECONDS
        return right


def _record(user: User) -> dict[str, Any]:
    """What the User record takes from the user."""
    return {
        "Username": user.username,
        "FirstName": user.first_name or None,
        "LastName": user.last_name,
        "Email": user.email,
        "IsActive": user.active,
    }


def read_users_file(file: Path) -> list[dict[str, Any]]:
    """The users of a JSON file: a list, or an object with the list `users`.

    Raises UserError.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable JSON file ({error})") from error
    listed = content.get("users") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise UserError(f"{file}: a list of users is expected")
    return listed


def _check(given: Any) -> None:
    if not isinstance(given, dict) or not is_text(given.get("username")):
        raise UserError("a user is an object with at least a username")
    if unknown := set(given) - _KEYS:
        raise UserError(f"{given['username']}: unknown key {min(unknown)!r}; known are {', '.join(sorted(_KEYS))}")
    if not _USERNAME.fullmatch(given["username"]) or len(given["username"]) > 80:
        raise UserError(f"{given['username']}: a username has the form of an email address, of at most 80 characters")
    for key, most in _TEXTS.items():
        if not is_text(given.get(key, "")) or len(given.get(key, "")) > most:
            raise UserError(f"{given['username']}: {key} is text of at most {most} characters")
    for key in _SWITCHES:
        if not isinstance(given.get(key, False), bool):
            raise UserError(f"{given['username']}: {key} is true or false")
    if given.get("last_name") == "" or given.get("password") == "":
        raise UserError(f"{given['username']}: last_name and password may not be empty")
