import pytest
from django.apps import apps
from django.http import StreamingHttpResponse

from connections.models import CallLease, Connection, OrgLimit, UsedOfLimit
from orgs.models import Organization
from orgs.tenancy import (
    NoOrganization,
    TenantManager,
    TenantModel,
    current_organization,
    organization_scope,
    scoped_to_the_end,
)
from syncs.models import Sync
from tests.factories import make_organization, make_sync

pytestmark = pytest.mark.django_db

TENANT_MODELS = [model for model in apps.get_models() if issubclass(model, TenantModel)]

QUESTIONS = [
    lambda manager: manager.all(),
    lambda manager: manager.count(),
    lambda manager: manager.exists(),
    lambda manager: manager.first(),
    lambda manager: manager.get(pk=1),
    lambda manager: manager.filter(pk=1).delete(),
    lambda manager: manager.values_list("pk"),
    lambda manager: manager.explain(),
    lambda manager: manager.update(organization=1),
    lambda manager: manager.in_bulk(),
    lambda manager: manager.aggregate(),
    lambda manager: manager.none(),
]


# What is used of a Salesforce org belongs to all organizations that use it, and tells nothing of any.
OF_A_SALESFORCE_ORG = {OrgLimit, CallLease, UsedOfLimit}


def test_every_model_of_ours_but_the_organization_itself_belongs_to_one():
    ours = {model for model in apps.get_models() if model._meta.app_label in ("orgs", "connections", "syncs", "jobs")}
    assert ours == {Organization, *TENANT_MODELS, *OF_A_SALESFORCE_ORG}
    assert len(ours) >= 7


@pytest.mark.parametrize("model", TENANT_MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("ask", QUESTIONS)
def test_outside_a_scope_every_question_raises(model, ask):
    assert isinstance(model.objects, TenantManager)
    with pytest.raises(NoOrganization):
        ask(model.objects)


def test_within_a_scope_only_its_own_rows_exist():
    alpha, beta = make_organization("alpha"), make_organization("beta")
    ours, theirs = make_sync(alpha), make_sync(beta)
    with organization_scope(alpha):
        assert list(Sync.objects.all()) == [ours]
        assert not Sync.objects.filter(pk=theirs.pk).exists()
        assert Connection.objects.count() == 2
    with organization_scope(beta):
        assert list(Sync.objects.all()) == [theirs]


def test_the_scope_ends_with_an_exception_too():
    alpha = make_organization()
    with pytest.raises(ValueError), organization_scope(alpha):
        assert current_organization() == alpha
        raise ValueError
    with pytest.raises(NoOrganization):
        current_organization()


def test_a_scope_inside_another_gives_the_outer_one_back():
    alpha, beta = make_organization("alpha"), make_organization("beta")
    with organization_scope(alpha):
        with organization_scope(beta):
            assert current_organization() == beta
        assert current_organization() == alpha


def test_a_stream_sees_its_organization_to_its_last_byte():
    alpha = make_organization("alpha")

    def names():
        for _ in range(3):
            yield f"{current_organization()}\n".encode()

    response = scoped_to_the_end(StreamingHttpResponse(names()), alpha)
    sent = []
    for part in response.streaming_content:
        sent.append(part)
        # Between two parts the server does other things, which are not this organization's.
        with pytest.raises(NoOrganization):
            current_organization()
    assert sent == [b"Alpha\n"] * 3


def test_a_stream_that_nobody_reads_to_its_end_is_closed():
    alpha, closed = make_organization("alpha"), []

    def parts():
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    response = scoped_to_the_end(StreamingHttpResponse(parts()), alpha)
    next(iter(response.streaming_content))
    response.close()
    assert closed == [True]
