"""Whole numbers: amounts in units of 10^-18, split and rounded as docs/attribution.md says."""

UNIT = 10**18
HISTORY_DAYS = 66  # the window of a night: from before the first charge, as seen by the first night
STAGES = ["development", "training", "deployment", "operations", "upgrade"]
MAKING = ("development", "training", "upgrade")
CATEGORIES = ["compute", "storage", "network", "licence", "labour", "operations", "other"]
MACHINES = ("idle", ("all",))  # what a row that follows machines leaves to their idle


def decimal(units):
    sign, units = "-" if units < 0 else "", abs(units)
    return f"{sign}{units // UNIT}.{units % UNIT:018d}"


def largest_remainder(total, weights):
    whole = sum(weights)
    size = abs(total)
    parts = [size * w // whole for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % whole), i))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return [p if total >= 0 else -p for p in parts]


def half_even(numerator, denominator):
    """The quotient, rounded to a whole number, half to even."""
    whole, left = divmod(numerator, denominator)
    twice = 2 * left
    return whole + (twice > denominator or (twice == denominator and whole % 2 == 1))


def per(amount, n, count):
    """amount × n / count; None where count is 0."""
    if not count or amount is None:
        return None
    return half_even(amount * n, count) if count > 0 else half_even(-amount * n, -count)


def target_key(target):
    """The order of splits: models by id, version and stage, then idle, then unallocated."""
    if target[0] == "model":
        return (0, target[1], target[2] is not None, target[2] or "", STAGES.index(target[3]))
    if target[0] == "idle":
        return (1, target == MACHINES, target[1] is not None) + (target[1] or ())
    return (2, target[1])
