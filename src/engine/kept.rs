//! For ops that call functions of others: what they keep from one stage of a step to the next, and what went wrong in them.
//!
//! Built-in ops keep numbers in the plan's buffers and cannot fail; they use neither.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::op::ValueId;
use crate::error::Error;

/// A thing that is kept.
type Thing = Arc<dyn Any + Send + Sync>;

/// What ops keep in a slot, each under its output value and the first row of its tile.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<(ValueId, usize), Thing>>);

impl Kept {
    /// Keeps `thing`, instead of what was there.
    pub(crate) fn put(&self, at: (ValueId, usize), thing: impl Any + Send + Sync) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(at, Arc::new(thing));
    }

    /// What is kept there.
    pub(crate) fn get<X: Any + Send + Sync>(&self, at: (ValueId, usize)) -> Option<Arc<X>> {
        let thing = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at).cloned();
        thing.and_then(|thing| thing.downcast().ok())
    }

    /// What was kept there.
    pub(crate) fn take<X: Any + Send + Sync>(&self, at: (ValueId, usize)) -> Option<Arc<X>> {
        let thing = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&at);
        thing.and_then(|thing| thing.downcast().ok())
    }
}

/// The first error of a step.
#[derive(Debug, Default)]
pub(crate) struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Notes an error; later ones say nothing new.
    pub(crate) fn note(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The error, if there was one.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}
