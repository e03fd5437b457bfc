from django.apps import AppConfig
from django.contrib.admin import apps as djangos


class OrgsConfig(AppConfig):
    default = True
    name = "orgs"
    verbose_name = "Organizations"


class AdminConfig(djangos.AdminConfig):
    """Django's admin, with our site in the place of its own."""

    default = False  # not the configuration of this package
    default_site = "orgs.site.SfsyncAdminSite"
