"""What Airflow makes of each of recost's exit codes, by the DAG of the examples.

    python3 exit_codes.py DAGS_FOLDER FAKE_RECOST_FOLDER CODE...

A real Airflow parses the folder; the operator of its first task then runs a `recost` that ends with each code in turn. Prints a
line per code: `done`, `retry` or `fail`. Then it runs once with Airflow's provider for lineage in place, and prints what recost
is told of the task that started it.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
import types

home = tempfile.TemporaryDirectory()
os.environ["AIRFLOW_HOME"] = home.name

with contextlib.redirect_stdout(sys.stderr):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    bag = DagBag(sys.argv[1])
    assert not bag.import_errors, bag.import_errors
    dag = bag.dags["recost_nightly"]
    run = dag.get_task("run")
    assert [t.task_id for t in dag.topological_sort()] == ["run", "status"], dag.task_ids
    assert run.retries > 0 and dag.max_active_runs == 1

fake = pathlib.Path(sys.argv[2])
(fake / "recost").write_text(
    '#!/bin/sh\n[ "$1 $2 $3" = "run pipeline.toml --date" ] || exit 1\n'
    'echo "$OPENLINEAGE_PARENT_ID $OPENLINEAGE_ROOT_PARENT_ID" > parent\nexit "$CODE"\n'
)
(fake / "recost").chmod(0o755)
os.environ["PATH"] = f"{fake}:{os.environ['PATH']}"
sys.modules[type(run).__module__].SHOP = str(fake)
# As where the provider is not installed.
sys.modules["airflow.providers.openlineage.plugins"] = None
for code in sys.argv[3:]:
    os.environ["CODE"] = code
    with contextlib.redirect_stdout(sys.stderr):
        try:
            run.execute({})
            what = "done"
        except AirflowFailException:
            what = "fail"
        except AirflowException:
            what = "retry"
    print(code, what)
    assert (fake / "parent").read_text().strip() == "", "nothing is told without the provider"

macros = types.ModuleType("macros")
macros.lineage_parent_id = lambda task: f"default/{task}/a-run"
macros.lineage_root_parent_id = lambda task: f"default/{task}/the-whole"
plugins = types.ModuleType("airflow.providers.openlineage.plugins")
plugins.macros = macros
sys.modules |= {"airflow.providers.openlineage": types.ModuleType("openlineage"), plugins.__name__: plugins}
os.environ["CODE"] = "0"
with contextlib.redirect_stdout(sys.stderr):
    run.execute({"ti": "recost_nightly.run"})
print("parent", (fake / "parent").read_text().strip())
