"""The demo's organization: people, connections, files and syncs."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User

from connections.models import Connection
from orgs import access
from orgs.models import Membership, Organization, Role, Team
from sfsync.demo import data
from syncs.models import FieldMapping, Schedule, Sync

ACCOUNTS, CONTACTS, AIRPORTS, READERS = 2_000, 10_000, 300, 400

MAPPINGS = {
    "Accounts": {
        "External_Id__c": "number",
        "Name": "company",
        "Industry": "industry",
        "NumberOfEmployees": "employees",
        "AnnualRevenue": "revenue",
        "BillingCity": "city",
        "Website": "website",
    },
    "Contacts": {
        "External_Id__c": "id",
        "Legacy_Code__c": "account",
        "FirstName": "first",
        "LastName": "last",
        "Email": "email",
        "Phone": "phone",
        "Title": "title",
        "Birthdate": "born",
        "Tier__c": "tier",
        "Score__c": "score",
        "Loyalty_Points__c": "points",
        "Opted_In__c": "opted in",
        "Last_Seen__c": "last seen",
        "Number_Ext__c": "loyalty card",
    },
    "Airports": {"Airport_ID__c": "airport", "Name": "name", "City__c": "city", "Altitude__c": "altitude"},
}
OBJECTS = {"Accounts": "Account", "Contacts": "Contact", "Airports": "Airport__c"}
KEYS = {"Accounts": "External_Id__c", "Contacts": "External_Id__c", "Airports": "Airport_ID__c"}


class DemoOrganization:
    """Everything that the demo shows. sandbox_url: where the practice Salesforce org answers."""

    def __init__(self, sandbox_url: str) -> None:
        self.organization = Organization.objects.create(name="Demo", slug="demo")
        self.folder: Path = settings.SFSYNC_FILES / self.organization.slug
        self.folder.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(9)
        self._write_files()
        source = self._connection("Files", "delimited_file", {})
        destination = self._connection("Sandbox", "salesforce", {"auth_url": sandbox_url, **data.SANDBOX_LOGIN})
        self.accounts = self._sync("Accounts", source, destination)
        self.contacts = self._sync("Contacts", source, destination)
        self.airports = self._sync("Airports", source, destination, mode="mirror")
        self._people()
        Schedule.all_objects.create(
            organization=self.organization, sync=self.accounts, cron="30 6 * * 1-5", time_zone="Europe/Lisbon"
        )

    def change_contacts(self) -> int:
        """Change 1 % of the contacts in their file. Returns how many."""
        return data.change_some(self.folder / "contacts.csv", 0.01)

    def lose_airports(self) -> None:
        """Half of the airports leave their file: more deletes than are sent without approval."""
        data.write_airports(self.folder / "airports.csv", AIRPORTS // 2)

    def _write_files(self) -> None:
        data.write_accounts(self.folder / "accounts.csv", ACCOUNTS)
        data.write_contacts(self.folder / "contacts.csv", CONTACTS, ACCOUNTS)
        data.write_airports(self.folder / "airports.csv", AIRPORTS)
        data.write_newsletter(self.folder / "newsletter.csv", READERS)

    def _connection(self, name: str, kind: str, values: dict[str, str]) -> Connection:
        connection = Connection(organization=self.organization, name=name, kind=kind)
        connection.set_values(values)
        connection.save()
        return connection

    def _sync(self, name: str, source: Connection, destination: Connection, mode: str = "upsert") -> Sync:
        sync: Sync = Sync.all_objects.create(
            organization=self.organization,
            name=name,
            source=source,
            source_path=f"{name.lower()}.csv",
            destination=destination,
            object=OBJECTS[name],
            key_fields=[KEYS[name]],
            mode=mode,
        )
        for position, (target, column) in enumerate(MAPPINGS[name].items()):
            FieldMapping.all_objects.create(
                organization=self.organization,
                sync=sync,
                position=position,
                target=target,
                source_column=column,
                too_precise="round" if target == "Score__c" else "reject",
            )
        return sync

    def _people(self) -> None:
        """An owner to log in as, and a team whose member may run one sync and read another."""
        for name, role in (("demo", Role.OWNER), ("operator", Role.MEMBER)):
            user = User.objects.create_user(name, password=self.password)
            member = Membership.all_objects.create(organization=self.organization, user=user, role=role)
        team = Team.all_objects.create(organization=self.organization, name="Operations")
        team.members.add(member)
        access.grant(team, self.contacts, execute=True)
        access.grant(team, self.accounts, read=True)
