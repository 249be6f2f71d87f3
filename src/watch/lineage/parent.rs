//! Of which run a run is a part: that of a scheduler, or of a backfill.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::facet;

/// Variables of the environment by which a scheduler says which run of its own starts this process, and in which run of all
/// that one is. They are those of other producers: <https://openlineage.io/docs/spec/facets/run-facets/parent_run>.
const VARIABLES: [&str; 2] = ["OPENLINEAGE_PARENT_ID", "OPENLINEAGE_ROOT_PARENT_ID"];

/// A run, as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The namespace of its job.
    pub namespace: String,
    /// Its job.
    pub job: String,
    /// Its id, a UUID.
    pub run: String,
}

impl Named {
    /// Reads `namespace/job/run-id`, of which the namespace may have slashes of its own.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().rsplitn(3, '/');
        let (run, job, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        let lengths = [8, 4, 4, 4, 12];
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
        let is_uuid = run.split('-').map(str::len).eq(lengths) && run.split('-').all(hex);
        (is_uuid && !job.is_empty() && !namespace.is_empty()).then(|| Named {
            namespace: namespace.to_string(),
            job: job.to_string(),
            run: run.to_ascii_lowercase(),
        })
    }

    fn says(&self) -> Value {
        json!({
            "run": {"runId": self.run}, "job": {"namespace": self.namespace, "name": self.job},
        })
    }
}

/// What a run is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The run right above it.
    pub of: Named,
    /// The one above all.
    pub root: Named,
}

impl Parent {
    /// What the scheduler says. What cannot be read is warned of, and no parent.
    pub fn from_env() -> Option<Self> {
        static FOUND: LazyLock<Option<Parent>> = LazyLock::new(|| {
            let [of, root] =
                VARIABLES.map(|name| std::env::var(name).ok().map(|text| (name, text)));
            let read = |(name, text): (&str, String)| {
                let named = Named::parse(&text);
                if named.is_none() && !text.trim().is_empty() {
                    tracing::warn!(
                        "{name} is {text:?}, and no `namespace/job/run-id` with a UUID: lineage goes without it"
                    );
                }
                named
            };
            let of = of.and_then(read)?;
            let root = root.and_then(read).unwrap_or_else(|| of.clone());
            Some(Parent { of, root })
        });
        FOUND.clone()
    }

    /// What `run` is to its parts, of which `above` says what it is itself a part of.
    pub fn to_parts(run: Named, above: Option<&Parent>) -> Self {
        let root = above.map_or_else(|| run.clone(), |above| above.root.clone());
        Parent { of: run, root }
    }

    /// The facet of a run that is a part of it.
    pub fn facet(&self) -> Value {
        let mut says = self.of.says();
        says["root"] = self.root.says();
        facet("1-1-0/ParentRunFacet", says)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_run_is_read_from_the_right_and_only_with_a_uuid() {
        let named = Named::parse(&format!("airflow://prod/eu/shop.nightly/{RUN}")).unwrap();
        assert_eq!(named.namespace, "airflow://prod/eu");
        assert_eq!(named.job, "shop.nightly");
        assert_eq!(named.run, RUN);
        for bad in [
            String::new(),
            RUN.into(),
            format!("nightly/{RUN}"),
            format!("/nightly/{RUN}"),
            format!("default//{RUN}"),
            "default/nightly/manual__2026-11-01".into(),
            format!("default/nightly/{}", RUN.replace('-', "")),
            format!("default/nightly/{}", RUN.replace('a', "g")),
        ] {
            assert_eq!(Named::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_root_is_that_of_what_is_above_or_the_run_itself() {
        let named = |job: &str| Named::parse(&format!("default/{job}/{RUN}")).unwrap();
        let alone = Parent::to_parts(named("shop"), None);
        assert_eq!((&alone.of, &alone.root), (&named("shop"), &named("shop")));
        let outer = Parent {
            of: named("dag.task"),
            root: named("dag"),
        };
        let part = Parent::to_parts(named("shop"), Some(&outer));
        let facet = part.facet();
        assert_eq!(facet["job"]["name"], "shop");
        assert_eq!(facet["root"]["job"]["name"], "dag");
    }
}
