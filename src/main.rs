//! The `phaselab` command.

fn main() -> std::process::ExitCode {
    phaselab::cli::main()
}
