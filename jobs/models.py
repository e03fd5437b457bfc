from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from connections.models import Connection
from orgs.tenancy import TenantModel
from syncs.models import Sync


class Status(models.TextChoices):
    QUEUED = "queued", "Queued"  # waits for a worker
    PLANNING = "planning", "Planning"  # reads the source, validates, compares
    WAITING_APPROVAL = "waiting_approval", "Waiting for approval"  # a guard stopped it; nothing was sent
    LOADING = "loading", "Loading"  # batches are on their way
    CANCELLING = "cancelling", "Cancelling"  # nothing new is sent; what was sent is being read back
    FINISHING = "finishing", "Finishing"  # all batches ended; outcomes are added up, the snapshot is written
    PLANNED = "planned", "Planned"  # a preview: its plan can be looked at, and nothing was sent
    SUCCEEDED = "succeeded", "Succeeded"  # every row is in Salesforce as wanted
    PARTIAL = "partial", "Finished with row errors"  # done, but some rows were refused
    FAILED = "failed", "Failed"  # something stopped it, or the fate of some rows is not known
    CANCELLED = "cancelled", "Cancelled"


LIVE = [
    Status.QUEUED,
    Status.PLANNING,
    Status.WAITING_APPROVAL,
    Status.LOADING,
    Status.CANCELLING,
    Status.FINISHING,
]
ENDED = [Status.PLANNED, Status.SUCCEEDED, Status.PARTIAL, Status.FAILED, Status.CANCELLED]


class Leased(models.Model):
    """A row that one worker at a time works on. See jobs/leases.py."""

    holder = models.CharField(max_length=120, blank=True, default="")
    token = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    # When somebody should look at it again; null when nobody needs to until another step says so.
    next_poll_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        abstract = True


class Job(TenantModel, Leased):
    """One execution of a sync. Carries all it needs from its start; a resume reads nothing else."""

    access_path = "sync"

    sync = models.ForeignKey(Sync, on_delete=models.PROTECT, related_name="jobs")
    source = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    destination = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.QUEUED)
    reason = models.TextField(blank=True, default="", help_text="Why it waits, or why it failed, in plain words.")
    spec = models.JSONField()
    spec_hash = models.CharField(max_length=64)
    full_resync = models.BooleanField(default=False, help_text="Compare with nothing known: send every row again.")
    baseline = models.BooleanField(
        default=False, help_text="Record what the source holds as known in Salesforce, and send nothing."
    )
    preview = models.BooleanField(default=False, help_text="It plans, and ends without sending anything.")
    undo_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="undos",
        help_text="The job whose changes it takes back.",
    )
    test_row = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The one row of `replay_of` that it sends, to see the exact request and answer.",
    )
    canary_rows = models.PositiveIntegerField(
        null=True, blank=True, help_text="So many rows are sent first; then it waits until somebody lets it go on."
    )
    canary_done = models.BooleanField(default=False, editable=False, help_text="Somebody looked, and let it go on.")
    replay_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="replays",
        help_text="The job whose refused rows are all that this one reads.",
    )
    parameters = models.JSONField(default=dict, blank=True, help_text="Values by name, fixed when it was started.")
    salesforce_org_id = models.CharField(max_length=18, blank=True, default="")
    # "<Salesforce org id>:<object>" while the job loads; unique, so that one job at a time loads one object.
    load_slot = models.CharField(max_length=130, null=True, blank=True, unique=True, editable=False)
    serial = models.BooleanField(
        default=False, help_text="One batch at a time: its key is not unique, or its rows lock each other out."
    )
    # The settings' versions of source and destination that its plan was made with.
    connection_versions = models.JSONField(default=list, blank=True, editable=False)
    forecast = models.JSONField(default=dict, blank=True, help_text="Calls and seconds that its plan will cost, about.")
    # What each finished stage left: name -> manifest. A stage whose manifest stands does not run again.
    manifests = models.JSONField(default=dict, blank=True)
    counts = models.JSONField(default=dict, blank=True)
    progress = models.JSONField(default=dict, blank=True)
    api_calls = models.PositiveIntegerField(default=0, help_text="Calls made while planning and finishing.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed tries of the present step, in a row.")
    approved_by = models.CharField(max_length=150, blank=True, default="")
    started_by = models.CharField(max_length=150, blank=True, default="")
    # The start of its schedule that made it; unique per sync, so that a start happens once.
    scheduled_for = models.DateTimeField(null=True, blank=True)
    # The API's Idempotency-Key of the call that started it.
    idempotency_key = models.CharField(max_length=200, null=True, blank=True, editable=False)
    # When its files were deleted because they were past their retention.
    files_removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    planned_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(
                fields=["sync", "preview"],
                condition=Q(status__in=[str(status) for status in LIVE]),
                name="one_live_job_per_sync",
            ),
            models.UniqueConstraint(fields=["sync", "scheduled_for"], name="one_job_per_start_of_a_schedule"),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key"], name="one_job_per_idempotency_key_and_organization"
            ),
        ]

    def __str__(self) -> str:
        return f"Job {self.pk} of {self.sync}"

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def is_undo(self) -> bool:
        """It takes another job back; it stays so when that one is deleted."""
        return self.undo_of_id is not None or "undo" in self.manifests

    @property
    def action(self) -> str:
        """What it was started for, in a word or two; "" for a plain run."""
        if self.is_undo:
            what = "Undo" if self.undo_of_id is None else f"Undo of job {self.undo_of_id}"
            return f"Preview of an {what[0].lower()}{what[1:]}" if self.preview else what
        if self.test_row is not None:
            return f"Test of row {self.test_row} of job {self.replay_of_id}"
        if self.replay_of_id is not None:
            return f"Replay of job {self.replay_of_id}"
        what = "Baseline" if self.baseline else "Full resync" if self.full_resync else ""
        return f"Preview{f' of a {what.lower()}' if what else ''}" if self.preview else what

    @property
    def compares_with_nothing(self) -> bool:
        """Whether it sends rows although Salesforce is known to hold them."""
        return self.full_resync or self.test_row is not None

    @property
    def replayable(self) -> int:
        """How many of its rows were refused and can be tried again: all but malformed ones."""
        return sum(self.counts.get(name, 0) for name in ("rejected", "failed"))

    def unfinished_batches(self) -> models.QuerySet[Batch]:
        """Its batches that have not ended; those behind a canary only when somebody let it go on."""
        return unfinished_batches(self.pk)

    @property
    def folder(self) -> Path:
        """Where the job's files lie."""
        root: Path = settings.SFSYNC_STORAGE
        return root / str(self.organization_id) / "jobs" / str(self.pk)


class JobEvent(TenantModel):
    """Something that happened to a job: each change of status, and what a person should know."""

    access_path = "job__sync"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    status = models.CharField(max_length=20, choices=Status.choices, help_text="The job's status from here on.")
    text = models.TextField(blank=True, default="")
    at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.status} {self.text}".strip()


class BatchState(models.TextChoices):
    """The ledger of a batch. Each is saved before the call that follows it. See docs/discussions/exactly-once.md."""

    PLANNED = "planned", "Planned"  # nothing of it is at Salesforce, but perhaps an empty open job
    SENDING = "sending", "Sending"  # calls of collections are being made, each named before it goes out
    CREATED = "created", "Created"  # the Salesforce job exists; perhaps its rows were uploaded
    CLOSING = "closing", "Closing"  # uploaded; perhaps Salesforce was told to go on
    CLOSED = "closed", "Closed"  # Salesforce is working on it
    ABORTING = "aborting", "Aborting"  # being aborted, to learn what became of it
    DONE = "done", "Done"  # every row has an outcome, or a reason why not


class Batch(TenantModel, Leased):
    """The part of a plan that is sent together: one Bulk API job at a time, or a run of calls of collections."""

    access_path = "job__sync"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="batches")
    number = models.PositiveIntegerField()
    lane = models.CharField(max_length=12, default="bulk", help_text="How it is sent: bulk, collections or events.")
    wave = models.PositiveIntegerField(default=0, help_text="It waits for the end of every batch of a lower wave.")
    operation = models.CharField(max_length=10)
    state = models.CharField(max_length=10, choices=BatchState.choices, default=BatchState.PLANNED)
    attempt = models.PositiveIntegerField(default=0, help_text="Salesforce jobs, or runs of calls, made for it so far.")
    salesforce_job_id = models.CharField(max_length=18, blank=True, default="")
    rows = models.PositiveIntegerField()
    payload = models.JSONField(
        help_text="The CSV that the present attempt sends: path, rows, bytes; lane and call_rows where they differ."
    )
    # How often its rows were sent again because they had been refused, and payloads of that pass still to be sent.
    retries = models.PositiveIntegerField(default=0)
    waiting = models.JSONField(default=list, blank=True, editable=False)
    # Refused rows are left alone until then, and meanwhile the batch takes nobody's turn.
    rest_until = models.DateTimeField(null=True, blank=True, editable=False)
    # Of collections: the call that is being made, and where the answers of those before it lie.
    calls = models.JSONField(default=dict, blank=True, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="When that call went out.")
    # When the Salesforce job last did something, and what it said of itself then.
    progress_at = models.DateTimeField(null=True, blank=True, editable=False)
    salesforce_state = models.CharField(max_length=20, blank=True, default="", editable=False)
    outcomes = models.JSONField(default=list, blank=True, help_text="What became of its rows: one entry per attempt.")
    counts = models.JSONField(default=dict, blank=True, help_text="Rows per outcome, over all attempts; absolute.")
    records_processed = models.PositiveIntegerField(default=0, help_text="As Salesforce last said, of this attempt.")
    unresolved = models.CharField(
        max_length=10, blank=True, default="", help_text="What rows without an outcome are: not_sent or unknown."
    )
    reason = models.TextField(blank=True, default="")
    failures = models.PositiveIntegerField(default=0, help_text="Failed calls in a row.")
    surprises = models.PositiveIntegerField(default=0, help_text="Unexpected errors in a row.")
    rereads = models.PositiveIntegerField(default=0, help_text="Times that this attempt's results did not add up.")
    barren = models.PositiveIntegerField(default=0, help_text="Attempts in a row that settled no row.")
    polls = models.PositiveIntegerField(default=0)
    api_calls = models.PositiveIntegerField(default=0)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="batch_number_once_per_job")]

    def __str__(self) -> str:
        return f"Batch {self.number} of job {self.job_id}"


# Batches that nobody may start yet: those of the canary have wave 0, and nobody has let the others go on. Of a job that
# is being cancelled they are ended, which sends nothing.
BEHIND_THE_CANARY = Q(
    job__status__in=[Status.WAITING_APPROVAL, Status.LOADING],
    job__canary_rows__isnull=False,
    job__canary_done=False,
    wave__gt=0,
)


def unfinished_batches(job_id: int) -> models.QuerySet[Batch]:
    """The batches of a job that have not ended and that may be worked on, as the database says now."""
    found: models.QuerySet[Batch] = Batch.all_objects.filter(job=job_id).exclude(state=BatchState.DONE)
    return found.exclude(BEHIND_THE_CANARY)


class HistoryFile(TenantModel):
    """A file of what jobs of a sync did to which records. See syncs/engine/history.py."""

    access_path = "sync"

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="history_files")
    path = models.CharField(max_length=500)
    level = models.PositiveIntegerField(default=0, help_text="How often its rows were merged into a larger file.")
    first_job = models.PositiveBigIntegerField()
    last_job = models.PositiveBigIntegerField()
    rows = models.PositiveBigIntegerField()
    # When the newest of its jobs ended: it is past its retention when that is.
    newest = models.DateTimeField()

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"History of jobs {self.first_job} to {self.last_job}"


class ErrorGroup(TenantModel):
    """Row errors of a job that are alike."""

    access_path = "job__sync"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="error_groups")
    source = models.CharField(max_length=12, help_text="Who refused: sfsync's `rule`, or `salesforce`.")
    code = models.CharField(max_length=100)
    field = models.CharField(max_length=255, blank=True, default="")
    rows = models.PositiveIntegerField()
    sample_row = models.BigIntegerField(null=True, blank=True)
    sample_message = models.TextField()
    advice = models.TextField(blank=True, default="")

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["-rows", "code"]

    def __str__(self) -> str:
        return f"{self.rows} x {self.code}"
