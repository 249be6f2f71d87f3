"""recost every night from Airflow 3, and each exit code turned into a retry or a failure.

Copy this file into the DAGs folder. The night is the day on which the data interval begins, so a run that Airflow catches up
on, or that someone clears, covers the night it was meant for.
"""

import os
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowException, AirflowFailException

SHOP = "/srv/shop"
# A source that is not there yet, a lock, passing trouble with files, an interrupt; and 137 and 143, a process that was killed.
PASSING = {6, 7, 9, 130, 137, 143}


def parent(context):
    """Variables by which recost's run is a part of this task in a catalogue of lineage; none without Airflow's provider for it."""
    try:
        from airflow.providers.openlineage.plugins import macros
    except ImportError:
        return {}
    return {
        "OPENLINEAGE_PARENT_ID": macros.lineage_parent_id(context["ti"]),
        "OPENLINEAGE_ROOT_PARENT_ID": macros.lineage_root_parent_id(context["ti"]),
    }


class Recost(BaseOperator):
    """Runs recost; an error that passes is tried again, any other fails at once."""

    template_fields = ("arguments",)

    def __init__(self, arguments, **kwargs):
        super().__init__(**kwargs)
        self.arguments = arguments
        self.hook = SubprocessHook()

    def execute(self, context):
        env = {**os.environ, **parent(context)}
        code = self.hook.run_command(["recost", *self.arguments], env=env, cwd=SHOP).exit_code
        # A process that a signal ended has the signal's number, negative.
        code = 128 - code if code < 0 else code
        if code in PASSING:
            raise AirflowException(f"recost ended with {code}: it is tried again")
        if code != 0:
            raise AirflowFailException(f"recost ended with {code}: trying again would not help")

    def on_kill(self):
        # recost ends within seconds; the tables stay whole.
        self.hook.send_sigterm()


with DAG(
    dag_id="recost_nightly",
    schedule=CronDataIntervalTimetable("15 3 * * *", timezone=timezone.utc),
    start_date=datetime(2026, 11, 1, tzinfo=timezone.utc),
    # Nights that Airflow slept through are run in order, one at a time.
    catchup=True,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": timedelta(hours=8),
    },
    tags=["recost"],
):
    Recost(
        task_id="run",
        arguments=["run", "pipeline.toml", "--date", "{{ data_interval_start | ds }}"],
    ) >> Recost(
        task_id="status",
        arguments=["status", "pipeline.toml", "--date", "{{ data_interval_start | ds }}"],
        retries=0,
    )
