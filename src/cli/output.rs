//! stdout for the result, stderr for the rest; colour or not, decided once.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use super::exit::Failure;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`
    Auto,
    /// Also into files and pipes
    Always,
    /// Nowhere
    Never,
}

/// Format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One row a replica, as in summary.csv
    Csv,
    /// Everything, as one object
    Json,
}

/// Where to write in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    stdout: bool,
    stderr: bool,
}

/// The two streams.
#[derive(Debug)]
pub struct Output {
    color: Color,
    quiet: bool,
}

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The value of `--color` before the arguments are parsed, since help and usage errors are coloured too.
pub fn color_asked(arguments: &[OsString]) -> ColorWhen {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let inline = words.iter().rev().find_map(|word| word.strip_prefix("--color="));
    let apart = words.windows(2).rev().find(|pair| pair[0] == "--color").map(|pair| pair[1]);
    match inline.or(apart) {
        Some("always") => ColorWhen::Always,
        Some("never") => ColorWhen::Never,
        _ => ColorWhen::Auto,
    }
}

impl Color {
    /// The decision for both streams, from `--color` and the environment.
    pub fn decide(asked: ColorWhen) -> Color {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = |is_terminal| is_on(asked, no_color || is_dumb, is_terminal);
        Color { stdout: on(io::stdout().is_terminal()), stderr: on(io::stderr().is_terminal()) }
    }

    /// The same decision for help and usage errors.
    pub fn for_clap(self) -> clap::ColorChoice {
        match self {
            Color { stdout: true, stderr: true } => clap::ColorChoice::Always,
            Color { stdout: false, stderr: false } => clap::ColorChoice::Never,
            // One of the two is a terminal: clap looks at the stream that it writes to.
            _ => clap::ColorChoice::Auto,
        }
    }
}

/// `--color` first, then the environment, then whether it is a terminal.
fn is_on(asked: ColorWhen, wants_plain: bool, is_terminal: bool) -> bool {
    match asked {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => is_terminal && !wants_plain,
    }
}

impl Output {
    /// Streams in these colours; `quiet` leaves notes out.
    pub fn new(color: Color, quiet: bool) -> Output {
        Output { color, quiet }
    }

    /// Whether notes and progress are left out.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes a result to stdout, with a line break at its end.
    ///
    /// # Errors
    /// [`Failure::Stdout`], a closed pipe included.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.trim_end().as_bytes()).and_then(|()| stdout.write_all(b"\n"));
        written.and_then(|()| stdout.flush()).map_err(Failure::Stdout)
    }

    /// Writes a line to stderr that a reader may want to know; if stderr is gone, nobody wants to.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Writes an error to stderr, quiet or not.
    pub fn error(&self, message: &str, causes: &[String], hint: Option<&str>) {
        let label = |color: &str, word: &str| paint(self.color.stderr, color, word);
        let mut text = format!("{} {message}\n", label(RED, "error:"));
        for cause in causes {
            text += &format!("{} {cause}\n", label(YELLOW, "cause:"));
        }
        if let Some(hint) = hint {
            text += &format!("{}  {hint}\n", label(GREEN, "hint:"));
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// A heading on stdout.
    pub fn bold(&self, text: &str) -> String {
        paint(self.color.stdout, BOLD, text)
    }

    /// Something that went well, on stdout.
    pub fn good(&self, text: &str) -> String {
        paint(self.color.stdout, GREEN, text)
    }

    /// Something that did not, on stdout.
    pub fn bad(&self, text: &str) -> String {
        paint(self.color.stdout, RED, text)
    }
}

fn paint(on: bool, color: &str, text: &str) -> String {
    if on { format!("{color}{text}{RESET}") } else { text.to_owned() }
}

/// Rows of text in columns, each as wide as its widest cell; `right` says which columns are flush right.
pub fn columns(rows: &[Vec<String>], right: &[usize]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> ColorWhen {
        color_asked(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn color_is_read_in_both_spellings_and_defaults_to_auto() {
        assert_eq!(asked(&["phaselab", "--color", "always", "list"]), ColorWhen::Always);
        assert_eq!(asked(&["phaselab", "list", "--color=never"]), ColorWhen::Never);
        assert_eq!(asked(&["phaselab", "list", "--color"]), ColorWhen::Auto);
        assert_eq!(asked(&["phaselab"]), ColorWhen::Auto);
    }

    #[test]
    fn the_flag_is_asked_before_the_environment_and_that_before_the_terminal() {
        let environments = [(false, false), (false, true), (true, false), (true, true)];
        let of = |asked| environments.map(|(wants_plain, is_terminal)| is_on(asked, wants_plain, is_terminal));
        assert_eq!(of(ColorWhen::Always), [true; 4]);
        assert_eq!(of(ColorWhen::Never), [false; 4]);
        assert_eq!(of(ColorWhen::Auto), [false, true, false, false]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "1".into()], vec!["bcd".into(), "10".into()], vec!["e".into()]];
        assert_eq!(columns(&rows, &[1]), "a     1\nbcd  10\ne\n");
    }
}
