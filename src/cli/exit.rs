//! How a command ends: its exit status, and an error as three kinds of lines on stderr.
//!
//! 0 done · 1 done and the answer is no · 2 usage or spec · 3 missing or damaged data · 4 not-a-number met ·
//! 130 interrupted. Whoever closes the pipe has seen enough: 0.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use phaselab::error::Error;

use super::output::Output;

/// What a command that did its work found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Exit status 0.
    Yes,
    /// Exit status 1: no replica grokked, a card has faults.
    No,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub enum Failure {
    /// The library says why.
    Library(Error),
    /// The result could not be written to stdout.
    Stdout(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Library(error)
    }
}

/// The exit status of a command; an error is told first.
pub fn of(ended: Result<Answer, Failure>, output: &Output) -> ExitCode {
    match ended {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(Failure::Stdout(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Stdout(e)) => {
            output.error("cannot write the result to stdout", &[e.to_string()], None);
            ExitCode::from(3)
        }
        Err(Failure::Library(e)) => {
            tell(&e, output);
            ExitCode::from(e.exit_code())
        }
    }
}

/// Writes an error to stderr: `error:`, then each `cause:`, then the `hint:`.
pub fn tell(error: &Error, output: &Output) {
    output.error(&error.to_string(), &error.cause(), error.hint().as_deref());
}

/// The exit status of arguments that are wrong, or that ask for help or the version.
pub fn of_usage(error: &clap::Error) -> ExitCode {
    // Help goes to stdout, where a closed pipe is no failure; to stderr, where nobody is left to be told of one.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
