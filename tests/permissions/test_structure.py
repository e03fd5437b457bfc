"""What keeps a page from being written that forgets to whom it belongs."""

import inspect

import pytest
from django.contrib import admin
from django.contrib.contenttypes.admin import GenericInlineModelAdmin
from django.db.models import ForeignKey, ManyToManyField

from orgs.api.base import TenantView
from orgs.grants_admin import GrantInline
from orgs.models import Organization
from orgs.tenancy import TenantModel
from orgs.tenant_admin import ScopedFilter, TenantAdmin, TenantInline
from sfsync.api import router

ADMINS = list(admin.site._registry.values())
OF_TENANTS = [each for each in ADMINS if issubclass(each.model, TenantModel)]


def label(each):
    return each.model._meta.label


def test_only_organizations_and_logins_have_an_admin_beside_tenant_data():
    others = {label(each) for each in ADMINS if each not in OF_TENANTS}
    assert others == {Organization._meta.label, "auth.User"}


@pytest.mark.parametrize("model_admin", OF_TENANTS, ids=label)
def test_every_admin_of_tenant_data_derives_from_ours(model_admin):
    assert isinstance(model_admin, TenantAdmin)
    for inline in model_admin.inlines:
        assert issubclass(inline, TenantInline | GrantInline), inline
        assert not issubclass(inline, GenericInlineModelAdmin) or inline is GrantInline


@pytest.mark.parametrize("model_admin", OF_TENANTS, ids=label)
def test_every_filter_by_a_related_row_is_scoped(model_admin):
    for entry in model_admin.list_filter:
        if inspect.isclass(entry):
            continue  # a filter of its own, with a test of its own
        name, kind = entry if isinstance(entry, tuple) else (entry, None)
        related = isinstance(model_admin.model._meta.get_field(name.split("__")[0]), ForeignKey | ManyToManyField)
        assert not related or (kind is not None and issubclass(kind, ScopedFilter)), entry


@pytest.mark.parametrize("model_admin", OF_TENANTS, ids=label)
def test_no_form_takes_ids_without_looking_them_up(model_admin):
    for part in (model_admin, *model_admin.inlines):
        for name in (*part.raw_id_fields, *part.autocomplete_fields):
            related = model_admin.model._meta.get_field(name).related_model
            assert issubclass(related, TenantModel) and related in admin.site._registry, name


def test_every_view_of_the_api_that_shows_rows_derives_from_ours():
    for _, viewset, _ in router.registry:
        assert issubclass(viewset, TenantView), viewset
