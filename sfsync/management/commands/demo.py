"""The main job, from nothing: SQLite, an embedded broker, a worker, and the sandbox as Salesforce."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from jobs.management.commands._show import JobBar, show_outcome
from jobs.models import ENDED, Job, Status
from jobs.start import start_job
from orgs import access
from orgs.models import Organization
from sfsync import processes
from sfsync.demo.organization import DemoOrganization
from sfsync.supervisor import Supervisor, listen, start_services
from syncs.models import Sync


class Command(BaseCommand):
    help = (
        "Loads made-up accounts and contacts into the sandbox, changes 1 % of them, loads again, and shows the admin."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="End when the jobs have ended.")
        parser.add_argument("--bind", default=settings.SFSYNC_BIND, help="Address of the admin, host:port.")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console()
        data: Path = settings.SFSYNC_DATA
        try:
            with ExitStack() as stack:
                stack.enter_context(processes.only_one(data / "up.lock", "sfsync"))
                listening = None if options["once"] else stack.enter_context(listen(options["bind"]))
                call_command("migrate", verbosity=0)
                if Organization.objects.filter(slug="demo").exists():
                    raise CommandError(f"The demo was run before, in {data}. `make demo` starts a fresh one.")
                supervisor = stack.enter_context(Supervisor(data, console.print))
                self._show(console, supervisor, listening)
        except RuntimeError as error:
            raise CommandError(f"{error} The logs are in {data}.") from None

    def _show(self, console: Console, supervisor: Supervisor, listening: socket.socket | None) -> None:
        sandbox_url = self._start_sandbox(supervisor)
        if listening is None:
            supervisor.start("worker", ["manage.py", "worker", "--parent-pid", str(os.getpid())])
        else:
            start_services(supervisor, listening)
        demo = DemoOrganization(sandbox_url)
        self._load(console, supervisor, demo, more=listening is not None)
        if listening is None or supervisor.is_ending:
            return
        host, port = listening.getsockname()[:2]
        self._welcome(console, demo, f"http://{host}:{port}", sandbox_url)
        supervisor.watch()
        console.print("Ending.")

    def _start_sandbox(self, supervisor: Supervisor) -> str:
        """Start the practice Salesforce org. Returns its address."""
        ready = settings.SFSYNC_DATA / "sandbox.json"
        ready.unlink(missing_ok=True)
        arguments = ["-m", "sandbox", "--port", "0", "--ready-file", str(ready), "--parent-pid", str(os.getpid())]
        child = supervisor.start("sandbox", arguments)
        assert child.process is not None
        address: str = processes.wait_for_file(ready, child.process, 30)["http_url"]
        return address

    def _load(self, console: Console, supervisor: Supervisor, demo: DemoOrganization, *, more: bool) -> None:
        """Run the syncs. more: also what there is to look at in the admin, such as a job that waits for approval."""
        console.rule("Accounts")
        self._watch(console, supervisor, demo.accounts)
        console.rule("Contacts")
        self._watch(console, supervisor, demo.contacts)
        console.rule(f"Contacts again, {demo.change_contacts()} of them changed")
        self._watch(console, supervisor, demo.contacts)
        if more:
            console.rule("Airports, and again when half of them are gone")
            self._watch(console, supervisor, demo.airports)
            demo.lose_airports()
            self._watch(console, supervisor, demo.airports)

    def _watch(self, console: Console, supervisor: Supervisor, sync: Sync) -> None:
        """Start a job, follow it while the worker works on it, and show what it did."""
        if supervisor.is_ending:
            return
        job = start_job(sync, by=access.operator(sync.organization, "the demo"))
        with JobBar(console, sync.name) as bar:
            while job.status not in (*ENDED, Status.WAITING_APPROVAL) and not supervisor.is_ending:
                supervisor.look()
                time.sleep(0.2)
                job = Job.all_objects.select_related("sync").get(pk=job.pk)
                bar(job)
        if supervisor.is_ending:
            return
        show_outcome(console, job)
        if job.status not in (Status.SUCCEEDED, Status.PARTIAL, Status.WAITING_APPROVAL):
            raise CommandError(f"Job {job.pk} ended as {job.get_status_display().lower()}.")

    def _welcome(self, console: Console, demo: DemoOrganization, address: str, sandbox_url: str) -> None:
        """Say where to go; also in a file, for whoever started the demo without a terminal."""
        told = {"address": address, "user": "demo", "password": demo.password, "sandbox": sandbox_url}
        ready: Path = settings.SFSYNC_DATA / "demo.json"
        unfinished = ready.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(told), encoding="utf-8")
        unfinished.replace(ready)
        console.rule("Walk about in it")
        console.print(f"The admin:             {address}/admin/   user [b]demo[/b], password [b]{demo.password}[/b]")
        console.print(f"What has arrived:      {sandbox_url}")
        console.print(f"A file left to map:    {demo.folder / 'newsletter.csv'}")
        console.print("Ctrl-C ends all of it.")
