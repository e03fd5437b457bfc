from django.db import migrations, models


def to_list(apps, schema_editor):
    for sync in apps.get_model("syncs", "Sync")._base_manager.exclude(key_field=""):
        sync.key_fields = [sync.key_field]
        sync.save(update_fields=["key_fields"])


class Migration(migrations.Migration):
    dependencies = [("syncs", "0002_house")]

    operations = [
        migrations.AddField(
            model_name="sync",
            name="key_fields",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="The sync key: API names of mapped fields. Empty only for mode insert with compare = nothing.",
            ),
        ),
        migrations.RunPython(to_list, migrations.RunPython.noop),
        migrations.RemoveField(model_name="sync", name="key_field"),
    ]
