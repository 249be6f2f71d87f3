-- frontier: quality against cost, one row per model of the night × basis × currency.
-- Inputs: models, evaluation, evaluation_pairs, unit_costs (the days of the window); model_costs, restatements (all that was attributed).
-- On the basis `served` a point is what the window's recommendations shown cost, by unit_costs; on `written` what the versions
-- made in the window cost over what they wrote, of those that a bill names. There the cost of a model that was made from
-- another holds what making the other cost, since it cannot be had without. A model that no bill names has one row, without
-- currency; so has one shown before the first bill (XXX). Numerators and denominators are added up, then divided.
with newest as (
    select * from models where ds = (select max(ds) from models)
),
cutoff as (
    select k
    from (
        select k, row_number() over (order by abs(k - 20), k) as place
        from (
            select distinct k
            from evaluation
            where metric = 'recall' and ds = (select max(ds) from models)
        )
    )
    where place = 1
),
quality as (
    select
        evaluation.model_id,
        max(evaluation.k) as k,
        max(value) filter (where metric = 'recall') as recall,
        max(low) filter (where metric = 'recall') as recall_low,
        max(high) filter (where metric = 'recall') as recall_high,
        max(value) filter (where metric = 'ndcg') as ndcg,
        max(low) filter (where metric = 'ndcg') as ndcg_low,
        max(high) filter (where metric = 'ndcg') as ndcg_high
    from evaluation
    join cutoff on evaluation.k = cutoff.k
    where ds = (select max(ds) from models)
    group by evaluation.model_id
),
parts as (
    select model_id, model_version, stage, currency, allocation_effective as cost
    from model_costs
    where target = 'model' and model_version is not null
    union all
    select model_id, model_version, stage, currency, allocation_effective as cost
    from restatements
    where target = 'model' and model_version is not null
),
versions as (
    select
        model_id, model_version, currency,
        sum(cost) as cost,
        sum(cost) filter (where stage in ('development', 'training', 'upgrade')) as making
    from parts
    group by model_id, model_version, currency
),
priced as (
    select
        models.model_id,
        'written' as basis,
        versions.currency,
        min(models.model_version) as cost_from,
        max(models.model_version) as cost_to,
        sum(versions.cost) as own_cost,
        sum(coalesce(parents.making, 0)) as parent_cost,
        sum(models.recommendations) as recommendations
    from models
    join versions
        on versions.model_id = models.model_id
        and versions.model_version = models.model_version
    left join versions as parents
        on parents.model_id = models.made_from
        and parents.model_version = models.model_version
        and parents.currency = versions.currency
    where models.recommendations > 0
    group by models.model_id, versions.currency
    union all
    select
        model_id,
        'served' as basis,
        currency,
        cast(min(ds) as varchar) as cost_from,
        cast(max(ds) as varchar) as cost_to,
        sum(full_cost) as own_cost,
        0 as parent_cost,
        sum(served) as recommendations
    from unit_costs
    where currency <> 'XXX'
    group by model_id, currency
    having sum(served) > 0
),
points as (
    select
        newest.model_id,
        newest.model_version,
        newest.family,
        newest.dim,
        newest.made_from,
        newest.compression,
        newest.bytes,
        1000 * newest.scoring_seconds / nullif(newest.scored_users, 0) as scoring_seconds_per_1000,
        coalesce(priced.basis, 'written') as basis,
        quality.k,
        recall, recall_low, recall_high, ndcg, ndcg_low, ndcg_high,
        priced.currency,
        cost_from,
        cost_to,
        cast(own_cost as decimal(38, 18)) as own_cost,
        cast(parent_cost as decimal(38, 18)) as parent_cost,
        cast(own_cost + parent_cost as decimal(38, 18)) as cost,
        priced.recommendations
    from newest
    left join priced on priced.model_id = newest.model_id
    left join quality on quality.model_id = newest.model_id
),
divided as (
    select *, per(cost, 1000, recommendations) as cost_per_1000 from points
),
better as (
    select
        point.model_id,
        point.basis,
        point.currency,
        other.model_id as dominated_by,
        pairs.differs as recall_differs,
        row_number() over (
            partition by point.model_id, point.basis, point.currency
            order by other.recall desc, other.cost_per_1000, other.model_id
        ) as place
    from divided as point
    join divided as other
        on other.basis = point.basis
        and other.currency = point.currency
    left join evaluation_pairs as pairs
        on pairs.ds = (select max(ds) from models)
        and pairs.model_id = point.model_id
        and pairs.other_id = other.model_id
        and pairs.metric = 'recall'
        and pairs.k = point.k
    where other.cost_per_1000 <= point.cost_per_1000
        and other.recall >= point.recall
        and (other.cost_per_1000 < point.cost_per_1000 or other.recall > point.recall)
)
select
    divided.model_id, divided.model_version, divided.family, divided.dim, divided.made_from, divided.compression,
    divided.bytes, divided.scoring_seconds_per_1000, divided.basis, divided.k,
    divided.recall, divided.recall_low, divided.recall_high, divided.ndcg, divided.ndcg_low, divided.ndcg_high,
    divided.currency, divided.cost_from, divided.cost_to, divided.own_cost, divided.parent_cost, divided.cost,
    divided.recommendations, divided.cost_per_1000, better.dominated_by, better.recall_differs
from divided
left join better
    on better.model_id = divided.model_id
    and better.basis = divided.basis
    and better.currency = divided.currency
    and better.place = 1
