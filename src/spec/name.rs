//! Names of things that a program adds: free words in a spec, small to copy.

use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

/// A name, kept once a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name(&'static str);

static NAMES: Mutex<Vec<&'static str>> = Mutex::new(vec![]);

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        Name(names.iter().copied().find(|known| *known == text).unwrap_or_else(|| {
            let kept: &'static str = Box::leak(text.into());
            names.push(kept);
            kept
        }))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
