//! Ctrl-C: the first one asks for an orderly stop, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phaselab::error::{Error, Result};

/// Installs the handler and gives the flag that it sets; also for SIGTERM and SIGHUP.
///
/// # Errors
/// [`Error::Value`] when the system refuses the handler.
pub fn flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let handler = move || {
        if set.swap(true, Ordering::Relaxed) {
            // Files appear whole or not at all, so ending at once loses no more than the steps since the last of them.
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::Value {
        what: "the handler for Ctrl-C".into(),
        got: e.to_string(),
        expected: "installed once, before any work".into(),
    })?;
    Ok(flag)
}
