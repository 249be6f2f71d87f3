//! Which columns of its inputs each column of a query is made from, read off the logical plan.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

/// Table and column.
pub type Origin = (String, String);

/// What a column is made from. Columns that only decide which rows there are (filters, keys of joins) are not among them.
pub type Origins = BTreeSet<Origin>;

/// The origins of each column of a plan, in the order of its schema.
pub fn columns(plan: &LogicalPlan) -> Vec<Origins> {
    match plan {
        LogicalPlan::TableScan(scan) => match scan.source.get_logical_plan() {
            // A view.
            Some(inner) => {
                let inner = columns(&inner);
                let all = || (0..inner.len()).collect::<Vec<_>>();
                let chosen = scan.projection.clone().unwrap_or_else(all);
                let of = |at: &usize| inner.get(*at).cloned().unwrap_or_default();
                chosen.iter().map(of).collect()
            }
            None => {
                let table = scan.table_name.table();
                let fields = scan.projected_schema.fields().iter();
                let origin = |name: &String| BTreeSet::from([(table.to_string(), name.clone())]);
                fields.map(|field| origin(field.name())).collect()
            }
        },
        LogicalPlan::Projection(of) => of_exprs(&of.expr, &of.input),
        LogicalPlan::Aggregate(of) => {
            // Grouping sets have a column for each of their expressions, and their id as the last.
            let mut keys = vec![];
            for expr in &of.group_expr {
                match expr {
                    Expr::GroupingSet(set) => {
                        keys.extend(set.distinct_expr().into_iter().cloned());
                    }
                    other => keys.push(other.clone()),
                }
            }
            let mut found = of_exprs(&keys, &of.input);
            let missing = of.schema.fields().len() - of.aggr_expr.len();
            found.resize(missing, Origins::new());
            found.extend(of_exprs(&of.aggr_expr, &of.input));
            found
        }
        LogicalPlan::Window(of) => {
            let mut found = columns(&of.input);
            found.extend(of_exprs(&of.window_expr, &of.input));
            found
        }
        LogicalPlan::Distinct(Distinct::On(of)) => of_exprs(&of.select_expr, &of.input),
        LogicalPlan::Join(of) => {
            let (left, right) = (columns(&of.left), columns(&of.right));
            match of.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti => left,
                JoinType::RightSemi | JoinType::RightAnti => right,
                JoinType::LeftMark => [left, vec![Origins::new()]].concat(),
                JoinType::RightMark => [right, vec![Origins::new()]].concat(),
                _ => [left, right].concat(),
            }
        }
        LogicalPlan::Union(of) => {
            let mut found = vec![Origins::new(); of.schema.fields().len()];
            for input in &of.inputs {
                for (all, one) in found.iter_mut().zip(columns(input)) {
                    all.extend(one);
                }
            }
            found
        }
        LogicalPlan::Unnest(of) => {
            let inner = columns(&of.input);
            let from = |at: &usize| inner.get(*at).cloned().unwrap_or_default();
            of.dependency_indices.iter().map(from).collect()
        }
        LogicalPlan::Subquery(of) => columns(&of.subquery),
        // Filters, sorts, limits, aliases and the like: the columns of their one input.
        other => match other.inputs().as_slice() {
            [input] if input.schema().fields().len() == other.schema().fields().len() => {
                columns(input)
            }
            _ => vec![Origins::new(); other.schema().fields().len()],
        },
    }
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<Origins> {
    let inner = columns(input);
    let of = |expr: &Expr| {
        let mut found = Origins::new();
        for column in expr.column_refs() {
            let at = input.schema().maybe_index_of_column(column);
            found.extend(at.and_then(|at| inner.get(at).cloned()).unwrap_or_default());
        }
        let visited = expr.apply(|part| {
            if let Expr::ScalarSubquery(query) = part {
                found.extend(columns(&query.subquery).into_iter().flatten());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        // The closure never fails.
        drop(visited);
        found
    };
    exprs.iter().map(of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use datafusion::prelude::SessionContext;

    /// Each column of the query with what it is made from, as `column<table.column,…`.
    // A session of its own, which may define tables and views.
    #[allow(clippy::disallowed_methods)]
    fn of(sql: &str) -> Vec<String> {
        futures::executor::block_on(async {
            let ctx = SessionContext::new();
            for table in [
                "create table a (id int, x int, y int) as values (1, 2, 3)",
                "create table b (id int, z int, tags int[]) as values (1, 2, [1])",
                "create view v as select id, x + y as both from a",
            ] {
                ctx.sql(table).await.unwrap().collect().await.unwrap();
            }
            let frame = ctx.sql(sql).await.unwrap();
            let plan = frame.logical_plan();
            let found = columns(plan);
            assert_eq!(found.len(), plan.schema().fields().len());
            let one = |(field, from): (&String, Origins)| {
                let from: Vec<String> = from.iter().map(|(t, c)| format!("{t}.{c}")).collect();
                format!("{field}<{}", from.join(","))
            };
            let names = plan.schema().fields().iter().map(|f| f.name());
            names.zip(found).map(one).collect()
        })
    }

    #[test]
    fn columns_are_followed_through_every_kind_of_query() {
        assert_eq!(
            of("select x + y as s, 1 as one, id from a where y > 1 order by x limit 3"),
            ["s<a.x,a.y", "one<", "id<a.id"]
        );
        assert_eq!(
            of(
                "select a.id as id, sum(z) as z, count(*) as n from a join b on a.id = b.id group by a.id"
            ),
            ["id<a.id", "z<b.z", "n<"]
        );
        assert_eq!(
            of(
                "with c as (select id, x as w from a union all select id, z from b) select w from c"
            ),
            ["w<a.x,b.z"]
        );
        assert_eq!(of("select both as twice from v"), ["twice<a.x,a.y"]);
        assert_eq!(
            of("select id, sum(x) over (partition by id order by y) as r from a"),
            ["id<a.id", "r<a.id,a.x,a.y"]
        );
        assert_eq!(
            of("select x, (select max(z) from b) as most from a where id in (select id from b)"),
            ["x<a.x", "most<b.z"]
        );
        assert_eq!(
            of("select id, unnest(tags) as tag from b"),
            ["id<b.id", "tag<b.tags"]
        );
        assert_eq!(
            of("select x, y, sum(id) as s from a group by grouping sets ((x), (y), ())"),
            ["x<a.x", "y<a.y", "s<a.id"]
        );
        assert_eq!(of("select distinct on (x) x, y from a"), ["x<a.x", "y<a.y"]);
        assert_eq!(of("values (1, 2)"), ["column1<", "column2<"]);
    }
}
