//! A panic inside a reader of foreign bytes, as a value.
//!
//! The HDF5 crate is young and a damaged file may make it panic. [`quietly`] turns that into an error, without the
//! panic message that the default hook would print over the user's terminal.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; gives the panic's message when it panics.
///
/// What `f` was changing must not be used after an error.
pub fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(before);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
    })
}

/// Puts a hook before the one there is, once: it keeps quiet on threads that are inside [`quietly`].
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(quietly(|| 1 + 1), Ok(2));
        let index = 7;
        assert_eq!(quietly(|| panic!("index {index}")), Err::<(), _>("index 7".to_owned()));
        assert_eq!(quietly(|| panic!("flat")), Err::<(), _>("flat".to_owned()));
    }
}
