//! Work on the tables of a pipeline that is watched from outside: its events are shown and counted, a catalogue of lineage is
//! told of it, and its metrics say how everything stands after it. Nights, searches and closes are all watched so.

use std::path::PathBuf;
use std::time::SystemTime;

use chrono::{NaiveDate, Utc};

use super::print::Printer;
use crate::config::Pipeline;
use crate::engine::Library;
use crate::error::Result;
use crate::pipeline::runs::Job;
use crate::watch::event::Began;
use crate::watch::lineage::{self, State, Told};
use crate::watch::{Event, Observer, standing};

/// Work about to be done.
pub struct Watched<'a> {
    /// On the tables of this pipeline.
    pub pipeline: &'a Pipeline,
    /// Its SQL.
    pub library: &'a Library,
    /// What is done.
    pub job: Job,
    /// The night; of a close, the last day of its billing period.
    pub date: NaiveDate,
}

impl Watched<'_> {
    /// From now on the work is watched. `why` is said, where it is one of several.
    pub fn begin(&self, why: Option<&str>, printer: &mut Printer) {
        printer.watch().of(self.pipeline);
        printer.emit(&Began {
            job: self.job,
            date: self.date,
            why,
        });
    }

    /// Does the work; `published` says in which snapshot is what it published, if it did.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn observe<T>(
        &self,
        printer: &mut Printer,
        work: impl AsyncFnOnce(&mut Observer<'_>) -> Result<T>,
        published: impl FnOnce(&T) -> Option<PathBuf>,
    ) -> Result<T> {
        let since = SystemTime::now();
        let done = work(&mut |event: &dyn Event| {
            printer.emit(event);
            if let Some((stage, state)) = event.state() {
                printer.tell(&Told::of(stage, state));
            }
        })
        .await;
        match &done {
            Ok(outcome) => {
                if let Some(snapshot) = published(outcome) {
                    self.tell_published(printer, &snapshot, since).await;
                }
            }
            Err(e) => printer.tell_end(e),
        }
        done
    }

    /// Tells of each stage what it made, and that the run is complete.
    async fn tell_published(
        &self,
        printer: &mut Printer,
        snapshot: &std::path::Path,
        since: SystemTime,
    ) {
        if printer.watch().lineage.is_none() {
            return;
        }
        let (pipeline, library, date) = (self.pipeline, self.library, self.date);
        let outputs = lineage::outputs(pipeline, library, date, snapshot, since).await;
        let outputs = outputs.unwrap_or_else(|e| {
            printer.warning(&format!("the lineage event lacks its outputs: {e}"));
            serde_json::json!([])
        });
        let ended = printer.watch().counts.stages.clone();
        for stage in ended.iter().filter(|stage| !stage.resumed) {
            let (inputs, outputs) = lineage::of_stage(&outputs, Some(&stage.stage));
            let made = outputs.as_array().is_some_and(|made| !made.is_empty());
            if made {
                printer.tell(&Told {
                    inputs,
                    outputs,
                    ..Told::of(Some(&stage.stage), State::Other)
                });
            }
        }
        let (inputs, outputs) = lineage::of_stage(&outputs, None);
        printer.tell(&Told {
            inputs,
            outputs,
            ..Told::of(None, State::Complete)
        });
    }
}

/// Looks at how nights and sources stand, where metrics are asked for.
pub async fn stand(pipeline: &Pipeline, printer: &mut Printer) {
    if !printer.watch().is_asked_for() {
        return;
    }
    match standing::standing(pipeline, Utc::now()).await {
        Ok(standing) => printer.watch().standing = Some(standing),
        Err(e) => printer.warning(&format!(
            "the metrics lack how nights and sources stand: {e}"
        )),
    }
}
