//! Progress on stderr: a bar on a terminal, else a plain line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use phaselab::train::{Progress, Watch};

use super::output::Output;

/// Between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Between changes of the bar.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Shows how far training or measuring is.
pub struct Meter<'a> {
    output: &'a Output,
    /// None where stderr is no terminal, or must stay quiet.
    bar: Option<ProgressBar>,
    /// What is counted: `steps`, `checkpoints`.
    unit: &'static str,
    /// Time and position of the first report, from which the rate is taken.
    first: Option<(Instant, u64)>,
    shown: Instant,
}

impl<'a> Meter<'a> {
    /// Nothing is shown before the first report.
    pub fn new(output: &'a Output, unit: &'static str) -> Meter<'a> {
        let bar = (!output.is_quiet() && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {wide_msg}");
            bar.set_style(style.expect("invariant: the template is valid").progress_chars("█▉▊▋▌▍▎▏ "));
            bar
        });
        Meter { output, bar, unit, first: None, shown: Instant::now() }
    }

    /// `done` of `all`, and a few words more.
    pub fn at(&mut self, done: u64, all: u64, words: impl FnOnce() -> String) {
        let now = Instant::now();
        let (started, from) = *self.first.get_or_insert((now, done));
        let every = if self.bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
        if self.output.is_quiet() || now - self.shown < every && done < all {
            return;
        }
        // The first report has no rate.
        let per_s = (done > from).then(|| (done - from) as f64 / (now - started).as_secs_f64());
        let left = per_s.and_then(|per_s| Duration::try_from_secs_f64((all - done.min(all)) as f64 / per_s).ok());
        // The time first: on a narrow terminal the end is cut off.
        let words: Vec<String> = [
            per_s.map(|per_s| format!("{per_s:.1} {}/s", self.unit)),
            left.map(|left| format!("{} left", duration(left))),
            Some(words()).filter(|words| !words.is_empty()),
        ]
        .into_iter()
        .flatten()
        .collect();
        match &self.bar {
            Some(bar) => {
                bar.set_length(all);
                bar.set_message(words.join(" · "));
                bar.set_position(done);
            }
            // The end is told by the result.
            None if now - self.shown < LINE_EVERY => return,
            None => {
                let all = std::iter::once(format!("{} {done} of {all}", self.unit)).chain(words);
                self.output.note(&all.collect::<Vec<_>>().join(" · "));
            }
        }
        self.shown = now;
    }
}

impl Watch for Meter<'_> {
    fn progress(&mut self, at: &Progress) {
        self.at(at.step, at.steps, || losses(at));
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.note(text)),
            None => self.output.note(text),
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Medians over replicas: loss in nats and accuracy in percent, by split.
fn losses(at: &Progress) -> String {
    let split = |name: &str, loss: f64, acc: f64| match loss.is_nan() {
        true => None,
        // A toy model has no accuracy.
        false if acc.is_nan() => Some(format!("{name} {}", loss_nats(loss))),
        false => Some(format!("{name} {} ({:.0} %)", loss_nats(loss), 100.0 * acc)),
    };
    let failed = (at.non_finite > 0).then(|| format!("{} not finite", at.non_finite));
    let parts = [
        split("train", at.train_loss_nats, at.train_acc_frac),
        split("test", at.test_loss_nats, at.test_acc_frac),
        failed,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Three digits, whatever the size.
pub fn loss_nats(loss: f64) -> String {
    match loss {
        x if x.is_nan() => "–".into(),
        x if x >= 0.01 => format!("{x:.3}"),
        x => format!("{x:.1e}"),
    }
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_losses_are_short() {
        assert_eq!([59, 61, 7325].map(|s| duration(Duration::from_secs(s))), ["59 s", "1 min 1 s", "2 h 2 min"]);
        assert_eq!([3.97029, 0.01, 2.4e-7, f64::NAN].map(loss_nats), ["3.970", "0.010", "2.4e-7", "–"]);
    }

    #[test]
    fn a_run_without_a_test_split_tells_of_training_alone() {
        let at = Progress {
            step: 10,
            steps: 20,
            train_loss_nats: 1.5,
            train_acc_frac: 0.25,
            test_loss_nats: f64::NAN,
            test_acc_frac: f64::NAN,
            non_finite: 1,
        };
        assert_eq!(losses(&at), "train 1.500 (25 %) · 1 not finite");
    }
}
