"""What tables that tools wrote come to, read by one reader, so that the same work can be told from other work."""
import duckdb

# One row each. Names that end in ~ are of floats or of amounts that peers round one by one.
EVENTS = "count(*) as rows, sum(cast(hash(event_id, event_time, user_id, session_id, event_type, item_id, query, request_id, model_id, model_version, surface, rank, compute_ns, price, quantity, currency) as hugeint)) as digest"
RESULTS = {
    "events": EVENTS,
    "items": "count(*) as rows, sum(price) as price, sum(unit_cost) as unit_cost, sum(cast(hash(item_id, ds, title, description, category, brand) as hugeint)) as digest",
    "users": "count(*) as rows, sum(len(tags)) as tags, sum(cast(hash(user_id, ds, age_band, gender, country, signup_date) as hugeint)) as digest",
    "usage": "count(*) as rows, sum(gpu_ns) as gpu_ns, sum(cpu_ns) as cpu_ns, sum(bytes) as bytes, sum(requests) as requests",
    "interactions": "count(*) as rows, sum(events) as events, count(*) filter (where bought) as bought, sum(cast(hash(user_id, item_id, last_time) as hugeint)) as digest, sum(weight) as \"weight~\"",
    "sessions": "count(*) as rows, sum(events) as events, sum(views) as views, sum(searches) as searches, sum(clicks) as clicks, sum(carts) as carts, sum(purchases) as purchases, sum(cast(hash(user_id, session_id, session_start, session_end) as hugeint)) as digest",
    "item_features": "count(*) as rows, sum(users) as users, sum(views) as views, sum(impressions) as impressions, sum(clicks) as clicks, sum(carts) as carts, sum(purchases) as purchases, sum(price_band) as bands, count(*) filter (where in_catalogue) as in_catalogue, sum(recency_days) as \"recency~\", sum(conversion) as \"conversion~\", sum(click_rate) as \"click_rate~\"",
    "user_features": "count(*) as rows, sum(events) as events, sum(sessions) as sessions, sum(views) as views, sum(searches) as searches, sum(impressions) as impressions, sum(clicks) as clicks, sum(carts) as carts, sum(purchases) as purchases, sum(price_band) as bands, sum(spend) as spend, count(country) as countries, sum(recency_days) as \"recency~\", sum(conversion) as \"conversion~\"",
    "allocations": "count(*) as rows, sum(billed) as \"billed~\", sum(effective) as \"effective~\", sum(effective) filter (where basis = 'usage' and target = 'idle') as \"idle~\", sum(effective) filter (where target = 'model' and model_id = 'home-als') as \"of a model~\", sum(effective) filter (where target = 'unallocated') as \"unallocated~\"",
    "served_days": "count(*) as rows, sum(served) as served, sum(requests) as requests",
    "recommendation_costs": "count(*) as rows, sum(compute_ns) as compute_ns, sum(rank) as ranks, sum(run_cost) as \"run_cost~\", sum({overhead}) as \"overhead~\", sum(cast(hash(ds, request_id, item_id, model_id, model_version, surface) as hugeint)) as digest, sum(run_cost * ((hash(request_id) % 1000)::int)) as \"run_cost by request~\"",
    "outcomes": "count(*) as rows, count(*) filter (where credited_by = 'request') as by_request, count(*) filter (where event_type = 'purchase') as purchases, sum(revenue) as revenue, sum(margin) as margin, sum(cast(hash(event_id, request_id, model_id, model_version, surface, rank) as hugeint)) as digest",
}  # fmt: skip


def results(folder, threads):
    """Table → name → value, of the tables below a folder. Files are read as they lie, by DuckDB."""
    db = duckdb.connect(config={"threads": threads, "memory_limit": "4GB"})
    db.execute("set TimeZone = 'UTC'")
    found = {}
    for table, sql in RESULTS.items():
        files = f"read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = true, union_by_name = true)"
        columns = {row[0] for row in db.execute(f"describe select * from {files}").fetchall()}
        sql = sql.replace("{overhead}", "overhead_cost" if "overhead_cost" in columns else "full_cost - run_cost - making_cost")
        cursor = db.execute(f"select {sql} from {files}")
        names = [column[0] for column in cursor.description]
        found[table] = dict(zip(names, cursor.fetchone()))
    return found


def differences(ours, theirs):
    """What is not the same, one line each. Counts, digests and sums of prices are held exactly; floats to a part in 10⁹; amounts that
    were split to 10⁻⁹ of a unit of currency or a part in 10¹²."""
    lines = []
    for table, values in ours.items():
        for name, value in values.items():
            other = theirs.get(table, {}).get(name)
            if name.endswith("~") and value is not None and other is not None:
                floats = isinstance(value, float) or isinstance(other, float)
                bound = 1e-9 * abs(float(value)) if floats else max(1e-9, 1e-12 * abs(float(value)))
                same = abs(float(value - type(value)(other))) <= bound
            else:
                same = value == other
            if not same:
                lines.append(f"{table}.{name.rstrip('~')}: {value}, and {other}")
    return lines
