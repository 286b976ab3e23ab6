//! The `phaselab` command.

fn main() {}
