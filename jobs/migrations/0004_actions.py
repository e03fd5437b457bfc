import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_lanes")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="baseline",
            field=models.BooleanField(
                default=False, help_text="Record what the source holds as known in Salesforce, and send nothing."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="replay_of",
            field=models.ForeignKey(
                blank=True,
                help_text="The job whose refused rows are all that this one reads.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="replays",
                to="jobs.job",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="parameters",
            field=models.JSONField(
                blank=True, default=dict, help_text="Values by name, fixed when it was started."
            ),
        ),
    ]
