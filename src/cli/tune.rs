//! `recost tune`.

use super::print::Printer;
use super::run::chosen_device;
use super::watched::{Watched, stand};
use super::{Night, parse_choice};
use crate::compute::Choice;
use crate::config::Model;
use crate::error::Result;
use crate::evaluate::bootstrap::Estimate;
use crate::pipeline::runs::Job;
use crate::tune::run::{Outcome, Said, Tuning, changed};
use crate::tune::search::Trial;
use crate::watch::{Observer, event};

/// Arguments of `recost tune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    night: Night,
    /// The model, by its id in the pipeline file; `[models.search]` there says what is tried and for how long.
    model: String,
    /// Where to compute: auto, cpu, gpu, or part of a device's name [default: as in the pipeline file].
    #[arg(long, value_parser = parse_choice)]
    device: Option<Choice>,
}

/// Runs the command.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, library, date) = args.night.load()?;
    let device = chosen_device(args.device.as_ref(), &pipeline)?;
    let tuning = Tuning {
        pipeline: &pipeline,
        library,
        date,
        model: &args.model,
        device,
    };
    let model = pipeline.models.iter().find(|m| m.id == args.model);
    let params = model.map(|m| m.params.clone()).unwrap_or_default();
    let params = &params;
    let watched = Watched {
        pipeline: &pipeline,
        library: &tuning.library,
        job: Job::Tune,
        date,
    };
    watched.begin(None, printer);
    let work = async |observer: &mut Observer<'_>| {
        let next = Some("trial");
        tuning
            .run(&mut |said| match said {
                Said::Plan(plan, until) => {
                    let rungs = plan.rungs.iter();
                    let rungs: Vec<String> = rungs
                        .map(|r| format!("{} trials of {} passes", r.trials, r.passes))
                        .collect();
                    let text = &format!("search     {}; {until}", rungs.join(", "));
                    let name = "search";
                    observer(&event::Said { name, text, next });
                }
                Said::Tried(trial) => {
                    let (name, text) = ("trial", &line(trial, params));
                    observer(&event::Said { name, text, next });
                }
                Said::Happened(event) => observer(event),
            })
            .await
    };
    let outcome = watched
        .observe(printer, work, |outcome| outcome.snapshot.clone())
        .await;
    stand(&pipeline, printer).await;
    let outcome = outcome?;
    if let Some(model) = model {
        printer.result(&summary(&outcome, model));
    }
    Ok(())
}

fn line(trial: &Trial, params: &toml::Table) -> String {
    format!(
        "rung {} trial {:<3} {:>4} passes {:>8.2} s  {}  {}",
        trial.rung,
        trial.trial,
        trial.passes,
        trial.seconds,
        trial.value.map_or_else(|| "diverged".into(), figure),
        match trial.trial {
            0 => "what the pipeline file has".into(),
            _ => inline(&changed(trial, params)),
        }
    )
}

fn figure(value: Estimate) -> String {
    format!("{:.4} [{:.4}, {:.4}]", value.mean, value.low, value.high)
}

fn inline(table: &toml::Table) -> String {
    let pairs: Vec<String> = table
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    match pairs.len() {
        0 => "{}".into(),
        _ => format!("{{ {} }}", pairs.join(", ")),
    }
}

fn summary(outcome: &Outcome, model: &Model) -> String {
    let metric = model.search.clone().unwrap_or_default().metric;
    let mut lines = vec![format!(
        "Search {} of {}: {} trials, {} of them now; {}",
        outcome.search_id,
        model.id,
        outcome.trials.len(),
        outcome.new,
        match (outcome.finished, outcome.new) {
            (true, 0) => "it was finished before, there is nothing left to do",
            (true, _) => "finished",
            (false, _) =>
                "the budget is spent; with a larger one the same command goes on from here",
        }
    )];
    let Some(best) = &outcome.best else {
        lines.push("No setting gave a value: every training diverged, or none was tried.".into());
        return lines.join("\n");
    };
    let of = |trial: &Trial| {
        let value = trial.value.map_or_else(|| "diverged".into(), figure);
        format!("{metric} {value} after {} passes", trial.passes)
    };
    lines.push(String::new());
    lines.push(format!(
        "best   {} on the newest interactions before the test",
        of(best)
    ));
    if let Some(now) = outcome.now.as_ref().filter(|now| now.trial != best.trial) {
        lines.push(format!("now    {}", of(now)));
    }
    lines.push(String::new());
    if best.trial == 0 || changed(best, &model.params).is_empty() {
        lines.push("Nothing tried was better than what the pipeline file has.".into());
    } else {
        let mut params = model.params.clone();
        params.extend(best.settings.clone());
        lines.push("For the pipeline file:".into());
        lines.push(String::new());
        lines.push("[[models]]".into());
        lines.push(format!("id = {}", toml::Value::from(model.id.as_str())));
        lines.push(format!("family = \"{}\"", model.family));
        lines.push(format!("params = {}", inline(&params)));
    }
    lines.join("\n")
}
