//! `phaselab selftest`: whether a GPU computes what the processor does.

use phaselab::error::Error;
use phaselab::train::{Finding, selftest};

use super::device::DeviceArgs;
use super::exit::{Answer, Failure};
use super::output::{Output, columns};

/// Compares a GPU with the processor: every op, trainings, bits, a resume from one to the other
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Small networks that have every op between them are trained for 20 steps here and there. What is shown are relative errors, \
norms of differences over norms, in f64 and in f32; `bits` are those of a second run and of a replica alone.

Exit status: 0 all agrees, 1 something does not.

Example:
  phaselab selftest --device cuda")]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
}

/// Prints a line a finding.
///
/// # Errors
/// [`Error::Gpu`] for a GPU that cannot be used; [`Failure::Stdout`].
pub fn run(args: &Args, output: &Output) -> Result<Answer, Failure> {
    let Some(gpu) = args.device.choice(output)? else {
        return Err(Failure::Library(Error::Value {
            what: "--device".into(),
            got: "the processor, which a GPU is compared with".into(),
            expected: "cuda, or cuda:N".into(),
        }));
    };
    let mut rows = vec![["", "", "f64", "f32", ""].map(str::to_owned).to_vec()];
    let passed = selftest(&gpu, &mut |finding| {
        output.note(&format!("{} {}: {}", finding.part, finding.name, state(finding)));
        rows.push(row(finding));
    })?;
    output.print(&columns(&rows, &[2, 3]))?;
    Ok(if passed { Answer::Yes } else { Answer::No })
}

fn state(finding: &Finding) -> &'static str {
    if finding.passed { "ok" } else { "DIFFERS" }
}

fn row(finding: &Finding) -> Vec<String> {
    let [f64, f32] = finding.errors.map(|error| if error.is_nan() { String::new() } else { format!("{error:.1e}") });
    vec![finding.part.to_owned(), finding.name.clone(), f64, f32, state(finding).to_owned()]
}
