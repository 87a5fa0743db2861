"""The daily run."""

from dagster import DefaultScheduleStatus, ScheduleDefinition

from orchestration.settings import Settings


def build_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """One run of everything a day, at half past three in the settings' time zone, off until somebody turns it on."""
    return [
        ScheduleDefinition(
            name="everything_daily",
            job_name="everything",
            cron_schedule="30 3 * * *",
            execution_timezone=settings.time_zone,
            default_status=DefaultScheduleStatus.STOPPED,
            description="Loads what has arrived since the last run and publishes it, where the landing sensor is not used.",
        )
    ]
