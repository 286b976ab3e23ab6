//! What runs programs: a card, or in tests the host.

use super::program::{Buffer, Program};
use crate::error::Result;

/// A piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(super) usize);

/// Device memory, and programs over it.
pub(crate) trait Machine: Send {
    /// Bytes that can be had.
    fn free_bytes(&self) -> Result<usize>;
    /// Memory, all zero.
    fn allocate(&mut self, bytes: usize) -> Result<Memory>;
    /// Copies into memory, after all that was started before.
    fn write(&mut self, to: Memory, bytes: &[u8]) -> Result<()>;
    /// Waits for all that was started, and copies out.
    fn read(&mut self, from: Memory, bytes: &mut [u8]) -> Result<()>;
    /// Makes a program ready, its buffers being where `place` says.
    fn load(&mut self, program: Program, place: &dyn Fn(Buffer) -> Memory) -> Result<usize>;
    /// Starts a program so many times in a row.
    fn run(&mut self, program: usize, times: u64) -> Result<()>;
}
