import pytest

from connections.salesforce import collections
from jobs import planning, run
from jobs.models import Status
from orgs.tenancy import NoOrganization, current_organization
from tests.jobs.scenario import make_people_sync, people, write_csv
from tests.jobs.scenario import run as run_to_the_end

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_job_and_its_batches_are_worked_on_within_their_organization(sandbox, monkeypatch):
    seen = []

    def noting(function):
        def noted(*args, **options):
            seen.append((function.__name__, current_organization()))
            return function(*args, **options)

        return noted

    monkeypatch.setattr(planning.Planner, "plan", noting(planning.Planner.plan))
    monkeypatch.setattr(run, "finish", noting(run.finish))
    monkeypatch.setattr(collections, "upsert", noting(collections.upsert))
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(5))
    assert run_to_the_end(sync).status == Status.SUCCEEDED
    assert [name for name, _ in seen] == ["plan", "upsert", "finish"]
    assert {organization for _, organization in seen} == {sync.organization}
    with pytest.raises(NoOrganization):
        current_organization()
