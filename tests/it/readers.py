"""Reads two tables over and over while they are published, by each engine that is installed, until the file `stop` appears.
With `RECOST_TESTS=all` all of them have to be.

    readers.py WAREHOUSE RUN,AMOUNT RUN,AMOUNT [ENDPOINT s3://BUCKET/PATH]

The second and third name columns of `allocations` and of `charges`: of each run all rows have the run's number in the one, and
the other adds up to a thousand times that. Prints, by engine and way of reading, how many results were of one run, of several
(`torn`), of a part of one (`short`), and how often a file was gone by the time it was to be opened.
"""

import importlib
import json
import os
import sys
import urllib.request

root = sys.argv[1]
columns = dict(zip(("allocations", "charges"), (names.split(",") for names in sys.argv[2:4])))
endpoint, store = sys.argv[4:6] if len(sys.argv) > 4 else (None, None)
current = os.path.join(root, "current")


def present(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if os.environ.get("RECOST_TESTS") == "all":
            raise
        return None


duckdb, polars, pandas = present("duckdb"), present("polars"), present("pandas")
if duckdb is None and polars is None and pandas is None:
    raise ModuleNotFoundError("none of duckdb, polars and pandas")


def by_duckdb(base, table):
    glob = f"{base}/{table}/**/*.parquet"
    run, amount = columns[table]
    return duckdb.execute(f"select min({run}), max({run}), sum({amount}) from read_parquet('{glob}')").fetchone()


def by_polars(base, table, **options):
    rows = polars.scan_parquet(f"{base}/{table}/**/*.parquet", **options)
    run, amount = (polars.col(name) for name in columns[table])
    return rows.select(run.min().alias("a"), run.max().alias("b"), amount.sum()).collect().row(0)


def by_pandas(base, table, **options):
    rows = pandas.read_parquet(f"{base}/{table}", **options)
    run, amount = (rows[name] for name in columns[table])
    return run.min(), run.max(), amount.sum()


def by_pointer(base, _):
    """Both tables in one query, by the one-liner of the manual."""
    duckdb.execute(f"set variable s = (select '{root}/' || snapshot from read_json('{root}/current.json'))")
    (run_a, a), (run_c, c) = columns["allocations"], columns["charges"]
    return duckdb.execute(
        f"""
        select min(run), max(run), if(sum(amount) filter (t = 'a') = sum(amount) filter (t = 'c'), sum(amount) filter (t = 'a'), -1)
        from (
            select 'a' as t, {run_a} as run, {a} as amount from read_parquet(getvariable('s') || 'allocations/**/*.parquet')
            union all
            select 'c', {run_c}, {c} from read_parquet(getvariable('s') || 'charges/**/*.parquet')
        )
        """
    ).fetchone()


def published():
    """The snapshot in the store, asked for once."""
    path = store.removeprefix("s3://")
    pointer = json.load(urllib.request.urlopen(f"{endpoint}/{path}/current.json"))
    return f"{path}/{pointer['snapshot'].rstrip('/')}"


def polars_there(base, table):
    options = {"aws_endpoint_url": endpoint, "aws_allow_http": "true", "aws_region": "here", "aws_skip_signature": "true"}
    return by_polars(f"s3://{base}", table, storage_options=options)


def pandas_there(base, table):
    fs = present("pyarrow.fs").S3FileSystem(endpoint_override=endpoint, region="here", anonymous=True)
    return by_pandas(base, table, filesystem=fs)


def folder():
    return os.path.realpath(current)


# How a table is read, and where: both tables of one snapshot, or each wherever the link leads at that moment.
ways = {}
if duckdb:
    ways["duckdb, current"] = (by_duckdb, None)
    ways["duckdb, current.json"] = (by_pointer, folder)
if polars:
    ways["polars, current"] = (by_polars, None)
    ways["polars, resolved once"] = (by_polars, folder)
    if store:
        ways["polars, store"] = (polars_there, published)
if pandas and present("pyarrow"):
    ways["pandas, current"] = (by_pandas, None)
    ways["pandas, resolved once"] = (by_pandas, folder)
    if store:
        ways["pandas, store"] = (pandas_there, published)

counts = {way: {"one run": 0, "torn": 0, "short": 0, "gone": 0} for way in ways}
while not os.path.exists(os.path.join(root, "stop")):
    for way, (read, once) in ways.items():
        count = counts[way]
        try:
            base = once() if once else current
            found = [read(base, table) for table in ("allocations", "charges")]
        except (OSError, duckdb.IOException if duckdb else OSError) as error:
            count["gone"] += 1
            count["said"] = str(error)[:200]
            continue
        single = all(low == high for low, high, _ in found)
        whole = all(total == low * 1000 for low, _, total in found)
        # Of both tables together only what asks once where they lie promises anything.
        together = not once or read is by_pointer or found[0][0] == found[1][0]
        count["torn" if not (single and together) else "one run" if whole else "short"] += 1
print(json.dumps(counts))
