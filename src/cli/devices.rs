//! `recost devices`.

use super::print::Printer;
use crate::compute;
use crate::error::Result;

/// Arguments of `recost devices`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_: &Args, printer: &mut Printer) -> Result<()> {
    let mut lines = vec![];
    for (n, device) in compute::list().iter().enumerate() {
        let auto = if n == 0 { "  <- auto" } else { "" };
        let memory = device
            .max_binding_bytes
            .map_or(String::new(), |b| format!(", {} MiB per binding", b >> 20));
        lines.push(format!(
            "{} ({}, {}{memory}){auto}",
            device.name,
            format!("{:?}", device.kind).to_lowercase(),
            device.backend
        ));
    }
    lines.push(
        "\n--device takes auto, cpu, gpu, or part of a name above; software adapters only by name"
            .into(),
    );
    printer.result(&lines.join("\n"));
    Ok(())
}
