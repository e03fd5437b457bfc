"""One practice org: its settings, records, sessions, jobs, faults and request log, shared by both listeners."""

from __future__ import annotations

import shutil
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.bulk.state import BulkState
from sandbox.clock import Clock
from sandbox.events.bus import Bus
from sandbox.events.changes import Changes
from sandbox.events.cometd import Clients
from sandbox.events.push_topics import PushTopics
from sandbox.faults import Faults
from sandbox.login.apps import Apps
from sandbox.login.grants import Grants
from sandbox.login.permissions import Permissions
from sandbox.login.sessions import Sessions
from sandbox.login.users import User, Users
from sandbox.rest.recent import Recent
from sandbox.rest.schema_dates import SchemaDates
from sandbox.rest.usage import ApiUsage
from sandbox.rows.policy import Policy
from sandbox.schema import Schema
from sandbox.store import Store, id18
from sandbox.web.exchanges import Exchanges

FIRST_VERSION = 31
LAST_VERSION = 67
REQUEST_LOG = 2000


@dataclass(frozen=True)
class Settings:
    """What the command line sets. Times are seconds."""

    folder: Path
    durable: bool = False
    schema_files: tuple[Path, ...] = ()
    org_id: str = "00D5s0000000001"
    username: str = "admin@sandbox.example"
    password: str = field(default="practice", repr=False)
    security_token: str = field(default="TOKEN", repr=False)
    client_id: str = "sandbox-client"
    client_secret: str = field(default="sandbox-secret", repr=False)
    import_file: Path | None = None
    daily_api_requests: int = 1_000_000
    bulk_delay: float = 0.0
    token_lifetime: float = 7200.0
    users_file: Path | None = None
    apps_file: Path | None = None
    app_certificate: Path | None = None
    change_data: tuple[str, ...] = ()
    pubsub_keep_alive: float = 270.0
    faults: tuple[str, ...] = ()


class Org:
    """The state behind all requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.schema = Schema(settings.schema_files)
        self.store = Store(self.schema, settings.folder, durable=settings.durable)
        self.org_id = id18(settings.org_id[:15])
        self.clock = Clock()
        self.bus = Bus(self)
        self.push_topics = PushTopics(self)
        self.streaming = Clients()
        self.changes = Changes(self, settings.change_data)
        self.permissions = Permissions(self.schema)
        self.users = Users(self, settings.users_file)
        self.apps = Apps(self, settings.apps_file, settings.app_certificate)
        self.grants = Grants(self)
        # Where the Pub/Sub API listens, once it does: the proxy leads its hosts there.
        self.pubsub_port: int | None = None
        # Where it is reached, by the name of each way, once it listens.
        self.addresses: dict[str, str] = {}
        self.faults = Faults()
        for rule in settings.faults:
            self.faults.add_text(rule)
        self.policy = Policy(self.schema)
        self.log: deque[dict[str, Any]] = deque(maxlen=REQUEST_LOG)
        self.exchanges = Exchanges()
        self.call_counts: Counter[str] = Counter()
        self.usage = ApiUsage(self.clock, settings.daily_api_requests)
        self.cursors: dict[str, Any] = {}
        self.recent = Recent()
        self.schema_dates = SchemaDates(self)
        self.jobs: dict[str, Any] = {}
        self.jobs_lock = threading.RLock()
        self.bulk = BulkState(self.clock, settings.bulk_delay)
        self.sessions = Sessions(self)
        self._seed()

    @property
    def admin(self) -> User:
        """The user the command line names: who logs in where no other user is named."""
        return self.users.admin

    @property
    def job_folder(self) -> Path:
        return self.settings.folder / "jobs"

    def _seed(self) -> None:
        """Create the records every org has (its organization, the users, a profile) unless they are there."""
        self.users.stand()
        if self.store.rows('SELECT 1 FROM "Organization" LIMIT 1'):
            return
        from sandbox.seed import plant

        plant(self)

    def reset(self) -> None:
        """Empty the org: no records, jobs, faults or logs; tokens stay valid."""
        with self.jobs_lock:
            for job in self.jobs.values():
                job.stop()
            self.jobs.clear()
        self.store.empty()
        shutil.rmtree(self.job_folder, ignore_errors=True)
        self.faults.clear()
        self.policy.reset()
        self.clock.reset()
        self.bus.clear()
        self.changes.reset()
        self.push_topics.forget()
        self.streaming.clear()
        self.bulk.reset()
        self.log.clear()
        self.exchanges.clear()
        self.call_counts.clear()
        self.cursors.clear()
        self.recent.clear()
        self.usage.reset()
        self.users.clear()
        self.apps.clear()
        self.grants.clear()
        self._seed()
        self.sessions.rebind()
