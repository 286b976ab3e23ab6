//! For tests: programs on the host, their kernels built by the system's C++ compiler, a block after the other.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;

use super::machine::{Machine, Memory};
use super::program::{Address, Arg, Buffer, Gemm, Matrix, Node, Program};
use super::source;
use crate::engine::real::Real;
use crate::error::Result;
use crate::spec::Dtype;

/// Words of arguments that a kernel gets.
const WORDS: usize = 32;

type Kernel = unsafe extern "C" fn();
type Launch = unsafe extern "C" fn(Kernel, i32, *const [u64; WORDS], u32, u32, u32);

/// Who launches: one at a time in each library.
static TURN: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];

/// A device that is none.
#[derive(Default)]
pub(crate) struct Host {
    memory: Vec<Vec<u64>>,
    programs: Vec<(Program, Vec<(Buffer, Memory)>)>,
}

impl Host {
    /// None, with a note, where the system has no C++ compiler.
    pub(crate) fn new() -> Option<Host> {
        if library(Dtype::F64).is_none() {
            eprintln!("skipped: there is no C++ compiler to build the device's kernels for the host");
            return None;
        }
        Some(Host::default())
    }
}

/// The kernels in one number type, built when first asked for.
fn library(dtype: Dtype) -> Option<&'static Library> {
    static BUILT: [OnceLock<Option<Library>>; 2] = [const { OnceLock::new() }; 2];
    let (slot, real) = if dtype == Dtype::F32 { (0, "float") } else { (1, "double") };
    BUILT[slot].get_or_init(|| build(real)).as_ref()
}

fn build(real: &str) -> Option<Library> {
    let folder = tempfile::tempdir().expect("a folder for the build");
    let (from, to) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
    let text = [&format!("#define REAL {real}\n"), include_str!("host.h"), &source(), include_str!("host_end.h")];
    std::fs::write(&from, text.concat()).expect("the source is written");
    let compiled = |compiler: &&str| compile(compiler, &from, &to);
    ["c++", "g++", "clang++"].iter().any(compiled).then(|| {
        // SAFETY: the library is what was just built, and has nothing that runs when it is loaded.
        unsafe { Library::new(&to) }.expect("what was built can be loaded")
    })
}

fn compile(compiler: &str, from: &Path, to: &Path) -> bool {
    let mut command = Command::new(compiler);
    command
        .args(["-O1", "-std=c++17", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-w", "-o"])
        .arg(to)
        .arg(from);
    match command.output() {
        Err(_) => false,
        Ok(done) => {
            assert!(done.status.success(), "{compiler}: {}", String::from_utf8_lossy(&done.stderr));
            true
        }
    }
}

/// Of a loaded program, where its buffers are.
struct Places<'a> {
    memory: &'a mut [Vec<u64>],
    of: &'a [(Buffer, Memory)],
    dtype: Dtype,
}

impl Places<'_> {
    fn pointer(&mut self, address: Address) -> *mut u8 {
        let at = self.of.iter().find(|(buffer, _)| *buffer == address.buffer).expect("a place").1;
        let memory = &mut self.memory[at.0];
        let byte = address.at * address.buffer.unit(self.dtype);
        assert!(byte <= memory.len() * 8, "{address:?} lies outside of its buffer");
        memory.as_mut_ptr().cast::<u8>().wrapping_add(byte)
    }

    fn launch(&mut self, kernel: &str, grid: [usize; 3], args: &[Arg]) {
        let mut words = [0u64; WORDS];
        for (word, arg) in words.iter_mut().zip(args) {
            *word = match *arg {
                Arg::At(address) => self.pointer(address) as u64,
                Arg::Null => 0,
                Arg::Int(x) => x as u64,
                Arg::Real(x) => x.to_bits(),
            };
        }
        let library = library(self.dtype).expect("built before");
        let [x, y, z] = grid.map(|n| n as u32);
        let _turn = TURN[usize::from(self.dtype == Dtype::F32)].lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: all kernels have this one signature; that they stay within their buffers is what the tests are about.
        unsafe {
            let launch = library.get::<Launch>(b"launch_on_host\0").expect("of host_end.h");
            let is_team = library.get::<*const i32>(format!("{kernel}_is_team\0").as_bytes()).is_ok();
            let kernel = library.get::<Kernel>(format!("{kernel}\0").as_bytes()).expect("a kernel of that name");
            launch(*kernel, i32::from(is_team), &words, x, y, z);
        }
    }

    /// The products number by number, added in f64.
    fn gemm(&mut self, gemm: &Gemm) {
        match self.dtype {
            Dtype::F32 => self.gemm_in::<f32>(gemm),
            Dtype::F64 => self.gemm_in::<f64>(gemm),
        }
    }

    fn gemm_in<T: Real>(&mut self, gemm: &Gemm) {
        let [m, n, k] = gemm.sizes;
        let at = |matrix: &Matrix, r: usize, i: usize, j: usize| {
            let [i, j] = if matrix.transposed { [j, i] } else { [i, j] };
            r * matrix.stride + i * matrix.row + j
        };
        let last = |matrix: &Matrix, rows: usize, cols: usize| at(matrix, gemm.batch - 1, rows - 1, cols - 1);
        let ends = [last(&gemm.a, m, k), last(&gemm.b, k, n), last(&gemm.d, m, n)];
        let starts = [&gemm.a, &gemm.b, &gemm.d].map(|matrix| matrix.at);
        for (start, end) in starts.into_iter().zip(ends) {
            self.pointer(Address { at: start.at + end, ..start });
        }
        let [a, b, d] = starts.map(|start| self.pointer(start).cast::<T>());
        let c = gemm.c.map(|c| (self.pointer(c.at).cast::<T>(), c));
        let bias = gemm.bias.map(|bias| (self.pointer(bias.at).cast::<T>(), bias.stride));
        // SAFETY: first and last numbers lie inside their buffers, which hold numbers of this type.
        unsafe {
            for (r, i, j) in (0..gemm.batch).flat_map(|r| (0..m).flat_map(move |i| (0..n).map(move |j| (r, i, j)))) {
                let mut sum = c.map_or(0.0, |(c, matrix)| (*c.add(at(&matrix, r, i, j))).to_f64());
                sum += bias.map_or(0.0, |(bias, stride)| (*bias.add(r * stride + j)).to_f64());
                for l in 0..k {
                    sum += (*a.add(at(&gemm.a, r, i, l))).to_f64() * (*b.add(at(&gemm.b, r, l, j))).to_f64();
                }
                *d.add(at(&gemm.d, r, i, j)) = T::from_f64(sum);
            }
        }
    }
}

impl Machine for Host {
    fn free_bytes(&self) -> Result<usize> {
        Ok(1 << 30)
    }

    fn allocate(&mut self, bytes: usize) -> Result<Memory> {
        self.memory.push(vec![0; bytes.div_ceil(8)]);
        Ok(Memory(self.memory.len() - 1))
    }

    fn write(&mut self, to: Memory, bytes: &[u8]) -> Result<()> {
        let memory = &mut self.memory[to.0];
        assert!(bytes.len() <= memory.len() * 8, "a write beyond the buffer");
        // SAFETY: it lies within, and any bytes are numbers.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_mut_ptr().cast(), bytes.len()) };
        Ok(())
    }

    fn read(&mut self, from: Memory, bytes: &mut [u8]) -> Result<()> {
        let memory = &self.memory[from.0];
        assert!(bytes.len() <= memory.len() * 8, "a read beyond the buffer");
        // SAFETY: it lies within, and any bytes are numbers.
        unsafe { std::ptr::copy_nonoverlapping(memory.as_ptr().cast(), bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn load(&mut self, program: Program, place: &dyn Fn(Buffer) -> Memory) -> Result<usize> {
        let places = program.sizes.keys().map(|&buffer| (buffer, place(buffer))).collect();
        self.programs.push((program, places));
        Ok(self.programs.len() - 1)
    }

    fn run(&mut self, program: usize, times: u64) -> Result<()> {
        let (program, of) = &self.programs[program];
        let mut places = Places { memory: &mut self.memory, of, dtype: program.dtype };
        for _ in 0..times {
            for node in &program.nodes {
                match node {
                    Node::Launch { kernel, grid, args } => places.launch(kernel, *grid, &args.0),
                    Node::Gemm(gemm) => places.gemm(gemm),
                }
            }
        }
        Ok(())
    }
}
