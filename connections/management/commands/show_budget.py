from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from connections import budget, kinds
from connections.models import Connection


class Command(BaseCommand):
    help = "Shows what is used of the limits of a connection's Salesforce org, by everybody and by sfsync per day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", help="Name of the connection.")
        parser.add_argument(
            "--organization", help="Slug of its organization; needed when several have such a connection."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        connection = _find(options["connection"], options["organization"])
        standings = budget.standings(connection)
        if not standings:
            self.stdout.write(f"No job has used the connection '{connection}' yet, so nothing is known of its limits.")
            return
        share = f"{settings.SFSYNC_ORG_SHARE_PERCENT:g} %"
        self.stdout.write(f"Salesforce org {connection.salesforce_org_id}, of whose limits {share} are for sfsync:")
        for each in standings:
            if each.max is None:
                self.stdout.write(f"{each.label}: the limit is not known; {each.used:,} used")
            else:
                self.stdout.write(
                    f"{each.label}: {each.used:,} of {each.max:,} used, {each.reserved:,} set aside, {each.left:,} "
                    f"left of the share of {each.share:,} (told at {each.told_at:%Y-%m-%d %H:%M:%S} UTC)"
                )
            for day, used in each.by_us:
                self.stdout.write(f"  {day}: {used:,} by sfsync")


def _find(name: str, organization: str | None) -> Connection:
    """The Salesforce connection with this name. Raises CommandError when there is none, or more than one."""
    rows = Connection.all_objects.select_related("organization").defer("secrets").filter(kind=kinds.SALESFORCE)
    if organization:
        rows = rows.filter(organization__slug=organization)
    found = list(rows.filter(name=name)[:20])
    if len(found) == 1:
        return found[0]
    if found:
        slugs = ", ".join(sorted(each.organization.slug for each in found))
        raise CommandError(f"Several organizations have a connection '{name}': {slugs}. Add --organization SLUG.")
    names = ", ".join(dict.fromkeys(rows.order_by("name").values_list("name", flat=True)[:20])) or "none yet"
    raise CommandError(f"There is no Salesforce connection '{name}'. Salesforce connections: {names}.")
