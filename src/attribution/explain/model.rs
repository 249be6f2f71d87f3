//! Where the cost of a model came from, or of one of its versions, of idle, or of what has no owner.

use super::held::Held;
use super::{Explanation, Filter, quoted, rows};
use crate::attribution::{Stage, changes};
use crate::engine::rows::map;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result, nearest};
use crate::pipeline::close::days_of;

/// Stages that make a version: what they cost is recognised over its service life.
const MAKING: &str = "stage in ('development', 'training', 'upgrade')";

/// Whose cost is asked for.
struct Owner {
    /// Condition of every table that has models.
    of: String,
    is_model: bool,
    is_version: bool,
}

/// Explains a model, `MODEL@VERSION` (`MODEL@` is what names no version), `idle` or `unallocated`.
///
/// # Errors
/// `Kind::Config` when there is no such thing; those of SQL.
pub async fn explain(
    engine: &Engine,
    library: &Library,
    subject: &str,
    filter: &Filter,
) -> Result<Explanation> {
    let owner = owner(engine, subject).await?;
    let (mut of, mut restated) = (owner.of.clone(), owner.of.clone());
    if let Some(stage) = &filter.stage {
        let stage: Stage = stage.parse().map_err(|e| Error::config(format!("{e}")))?;
        of.push_str(&format!(" and stage = '{stage}'"));
        restated.clone_from(&of);
    }
    let owned = of.clone();
    // What was made before the period is recognised in it, too.
    let (mut moved, mut made) = (owner.of.clone(), format!("{} and {MAKING}", owner.of));
    if let Some(period) = &filter.period {
        let (first, last) = days_of(period)?;
        of.push_str(&format!(" and billing_period = '{period}'"));
        restated.push_str(&format!(
            " and (billing_period = '{period}' or restated_period = '{period}')"
        ));
        moved.push_str(&format!(
            " and day between date '{first}' and date '{last}'"
        ));
        made.push_str(&format!(" and billing_period <= '{period}'"));
    }
    let changes = changes::behind(engine, library, (&owned, &restated), filter.limit).await?;
    let held = Held::open(engine, library).await?;
    engine.restrict("allocation_days", &of).await?;
    engine.restrict("restatements", &restated).await?;
    let (mut service_life, mut making) = (vec![], vec![]);
    if owner.is_model && filter.stage.is_none() {
        engine.restrict("version_ledger", &moved).await?;
        let by = match filter.period {
            Some(_) => "service_life_days",
            None => "service_life",
        };
        service_life = rows(engine, library, by).await?;
    }
    if owner.is_version && !service_life.is_empty() {
        making = held.largest(&made, filter.limit).await?;
    }
    Ok(Explanation::Model {
        model_id: subject.to_string(),
        totals: rows(engine, library, "model_totals").await?,
        largest: held.largest(&of, filter.limit).await?,
        restatements: rows(engine, library, "model_restatements").await?,
        changes,
        service_life,
        making,
    })
}

/// Whom `subject` names.
async fn owner(engine: &Engine, subject: &str) -> Result<Owner> {
    let known = versions(engine).await?;
    let is_known = |model: &str| known.iter().any(|(known, _)| known == model);
    let model = |of: String, is_version| Owner {
        of,
        is_model: true,
        is_version,
    };
    if is_known(subject) {
        return Ok(model(format!("model_id = '{}'", quoted(subject)), false));
    }
    if ["idle", "unallocated"].contains(&subject) {
        return Ok(Owner {
            of: format!("target = '{subject}'"),
            is_model: false,
            is_version: false,
        });
    }
    if let Some((name, version)) = subject.rsplit_once('@').filter(|(m, _)| is_known(m)) {
        let wanted = (!version.is_empty()).then(|| version.to_string());
        let there = known.iter().filter(|(known, _)| known == name);
        if !there.clone().any(|(_, version)| *version == wanted) {
            let versions = there.filter_map(|(_, version)| version.as_deref());
            return Err(no_version(name, version, versions.collect()));
        }
        let of_version = match wanted {
            Some(version) => format!("model_version = '{}'", quoted(&version)),
            None => "model_version is null".to_string(),
        };
        let of = format!("model_id = '{}' and {of_version}", quoted(name));
        return Ok(model(of, true));
    }
    let error = Error::config(format!(
        "`{subject}` is neither a charge nor a model that cost anything"
    ));
    Err(match nearest(subject, known.iter().map(|k| k.0.as_str())) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help(
            "give a row_id of `charges` (six digits of it at least), FILE:ROW, the id of a model, MODEL@VERSION, `idle`, `unallocated`, request/REQUEST_ID or request/REQUEST_ID/ITEM_ID",
        ),
    })
}

fn no_version(model: &str, version: &str, there: Vec<&str>) -> Error {
    let error = match version {
        "" => Error::config(format!("every cost of the model `{model}` names a version")),
        _ => Error::config(format!(
            "the model `{model}` has no version `{version}` that cost anything"
        )),
    };
    error.help(match nearest(version, there.iter().copied()) {
        Some(near) => format!("did you mean `{model}@{near}`?"),
        None if there.is_empty() => format!("no cost of it names a version; give `{model}`"),
        None => format!("there are: {}", there.join(", ")),
    })
}

/// The models and versions that cost anything, sorted.
async fn versions(engine: &Engine) -> Result<Vec<(String, Option<String>)>> {
    let tables = ["model_costs", "restatements", "version_ledger"];
    let sql = tables.map(|table| {
        format!("select model_id, model_version from {table} where model_id is not null")
    });
    let sql = format!(
        "select distinct model_id, model_version from ({}) order by 1, 2",
        sql.join(" union all ")
    );
    map(&engine.collect(&sql).await?, |row| {
        Ok((row.needed("model_id")?, row.text("model_version")?))
    })
}
