"""The main job, from nothing: SQLite, an embedded broker, a worker, and the sandbox as Salesforce."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from connections.models import Connection
from jobs.management.commands._show import JobBar, show_outcome
from jobs.models import ENDED, Job, Status
from jobs.start import start_job
from orgs.models import Organization
from sfsync import demo_data, processes
from syncs.models import FieldMapping, Sync

ACCOUNTS, CONTACTS = 2_000, 10_000

ACCOUNT_MAPPING = {
    "External_Id__c": "number",
    "Name": "company",
    "Industry": "industry",
    "NumberOfEmployees": "employees",
    "AnnualRevenue": "revenue",
    "BillingCity": "city",
    "Website": "website",
}
CONTACT_MAPPING = {
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
}


class Command(BaseCommand):
    help = "Loads made-up accounts and contacts into the sandbox, changes 1 % of them, and loads again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="End when the jobs have ended.")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console()
        call_command("migrate", verbosity=0)
        if Organization.objects.filter(slug="demo").exists():
            raise CommandError(f"The demo was run before, in {settings.SFSYNC_DATA}. `make demo` starts a fresh one.")
        with processes.children() as stack:
            try:
                url = self._start_processes(stack)
                self._run(console, url)
                if not options["once"]:
                    console.print(f"\nWhat has arrived: [link={url}]{url}[/link] (Ctrl-C ends the demo)")
                    while True:
                        time.sleep(1)
            except RuntimeError as error:
                raise CommandError(f"{error}. See the logs in {settings.SFSYNC_DATA}.") from None
            except KeyboardInterrupt:
                console.print("Ending.")

    def _start_processes(self, stack: Any) -> str:
        """Start the sandbox and a worker (which brings the broker). Returns the sandbox's address."""
        data: Path = settings.SFSYNC_DATA
        ready = data / "sandbox.json"
        parent = str(os.getpid())
        sandbox = processes.start(
            stack,
            ["-m", "sandbox", "--port", "0", "--ready-file", str(ready), "--parent-pid", parent],
            data / "sandbox.log",
        )
        processes.start(stack, ["manage.py", "worker", "--parent-pid", parent], data / "worker.log")
        address: str = processes.wait_for_file(ready, sandbox, 30)["http_url"]
        return address

    def _run(self, console: Console, url: str) -> None:
        organization = Organization.objects.create(name="Demo", slug="demo")
        folder = settings.SFSYNC_FILES / organization.slug
        folder.mkdir(parents=True, exist_ok=True)
        demo_data.write_accounts(folder / "accounts.csv", ACCOUNTS)
        demo_data.write_contacts(folder / "contacts.csv", CONTACTS, ACCOUNTS)
        accounts, contacts = self._make_syncs(organization, url)
        console.rule("Accounts")
        self._watch(console, accounts)
        console.rule("Contacts")
        self._watch(console, contacts)
        changed = demo_data.change_some(folder / "contacts.csv", 0.01)
        console.rule(f"Contacts again, {changed} of them changed")
        self._watch(console, contacts)

    def _watch(self, console: Console, sync: Sync) -> None:
        """Start a job, follow it while the worker works on it, and show what it did."""
        job = start_job(sync, by="the demo")
        with JobBar(console, sync.name) as bar:
            while job.status not in (*ENDED, Status.WAITING_APPROVAL):
                time.sleep(0.2)
                job = Job.all_objects.select_related("sync").get(pk=job.pk)
                bar(job)
        show_outcome(console, job)
        if job.status not in (Status.SUCCEEDED, Status.PARTIAL):
            raise CommandError(f"Job {job.pk} ended as {job.get_status_display().lower()}.")

    def _make_syncs(self, organization: Organization, url: str) -> tuple[Sync, Sync]:
        source = Connection(organization=organization, name="Files", kind="delimited_file")
        source.set_values({})
        source.save()
        destination = Connection(organization=organization, name="Sandbox", kind="salesforce")
        destination.set_values({"auth_url": url, **demo_data.SANDBOX_LOGIN})
        destination.save()
        made = []
        for name, salesforce_object, mapping in (
            ("accounts", "Account", ACCOUNT_MAPPING),
            ("contacts", "Contact", CONTACT_MAPPING),
        ):
            sync = Sync.all_objects.create(
                organization=organization,
                name=name,
                source=source,
                source_path=f"{name}.csv",
                destination=destination,
                object=salesforce_object,
                key_field="External_Id__c",
                mode="upsert",
            )
            for position, (target, column) in enumerate(mapping.items()):
                FieldMapping.all_objects.create(
                    organization=organization,
                    sync=sync,
                    position=position,
                    target=target,
                    source_column=column,
                    too_precise="round" if target == "Score__c" else "reject",
                )
            made.append(sync)
        return made[0], made[1]
