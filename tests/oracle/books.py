"""The books of a shop over its nights: what is closed stays, and what comes later is restated."""
import costs
import serving
from allocate import Attribution
from ledger import all_charges
from service_life import version_ledger


class Books:
    def __init__(self, shop):
        self.shop, self.bills = shop, dict(shop.bills)
        self.allocations, self.costs, self.reconciliation, self.converted = {}, {}, {}, {}  # by billing period
        self.snapshots, self.late, self.bills_when_closed = {}, {}, {}
        self.restatements = {}  # by the period that books them: {(restated period, key): amounts}

    def run(self, night):
        self.night = night
        charges = all_charges(self.shop, night, self.bills)
        booking = f"{night:%Y-%m}"
        for period, snapshot in self.snapshots.items():
            today = Attribution(self.shop, charges[period]).allocations()
            # A bill that comes again as it was is the same delivery.
            if self.bills[period] != self.bills_when_closed[period]:
                self.late[period] = today
            self.restate(period, booking, costs.by_key(today))
        for period in {*charges, *self.restatements}.difference(self.snapshots):
            self.attribute(period, charges.get(period, []))

    def attribute(self, period, charges):
        allocations = Attribution(self.shop, charges).allocations() if charges else {}
        restatements = self.restatements.get(period, {})
        self.allocations[period] = allocations
        self.costs[period] = costs.model_costs(allocations)
        self.reconciliation[period] = costs.reconciliation(charges, allocations, restatements)
        self.converted[period] = costs.converted(self.shop, period, self.night, self.costs[period], restatements)

    def restate(self, period, booking, today):
        """today − snapshot − Σ restatements booked in other periods, where that is not zero."""
        was = [self.snapshots[period]]
        for other, booked in self.restatements.items():
            if other != booking:
                was.append({key: amounts for (restated, key), amounts in booked.items() if restated == period})
        booked = {k: v for k, v in self.restatements.get(booking, {}).items() if k[0] != period}
        for key in set(today).union(*was):
            zero = (0, 0, 0, 0)
            amounts = tuple(a - sum(b) for a, *b in zip(today.get(key, zero), *(w.get(key, zero) for w in was)))
            if any(amounts):
                booked[period, key] = amounts
        self.restatements[booking] = booked

    def close(self, period):
        self.snapshots[period] = costs.by_key(self.allocations[period])
        self.bills_when_closed[period] = self.bills[period]

    def tables(self):
        flat = lambda by_period: {(period, *key): amounts for period, found in by_period.items() for key, amounts in found.items()}
        shown = serving.recommendations(self.shop, self.night)
        served, credited = serving.served_days(shown), serving.outcomes(self.shop, self.night, shown)
        ledger = version_ledger(self.shop, self.night, self.costs, self.restatements, serving.served_by_version(shown))
        days = serving.model_days(self.allocations, ledger)
        recommended = serving.recommendation_costs(shown, days, self.night)
        whole = lambda found: {k: v for k, v in found.items() if any(v)}
        return {
            "allocations": whole(flat(self.allocations)),
            "late_allocations": whole(flat(self.late)),
            "model_costs": whole(flat(self.costs)),
            "reconciliation": whole(flat(self.reconciliation)),
            "converted_costs": whole_conversions(flat(self.converted)),
            "snapshots": whole(flat(self.snapshots)),
            "restatements": flat(self.restatements),
            "served_days": served,
            "version_ledger": ledger,
            "recommendation_costs": {k: (e["version"], e["surface"], e["rank"] or 0, *amounts) for k, (e, *amounts) in recommended.items()},
            "outcomes": {(k,): (e["request"], e["item"], str(e["time"].date()), e["version"], e["surface"], *row) for k, (_, e, *row) in credited.items()},
            "unit_costs": serving.unit_costs(days, recommended, served, credited),
        }


def whole_conversions(found):
    """Lines of nothing are left aside on both sides: whether there is one does not matter to anybody."""
    return {k: v for k, v in found.items() if any(v[3:]) or k[1] == "exchange_difference"}
