//! A GPU: programs captured as CUDA graphs, matrix products by cuBLASLt.
//!
//! All work goes to one stream, in order. An algorithm of cuBLASLt is asked for with one replica and used with all of them, and those that
//! split a sum are passed over, so that a replica's bits depend neither on the number of its neighbours nor on the order of atomics.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::Arc;

use cudarc::cublaslt::{result as lt, sys};
use cudarc::driver::sys as driver;
use cudarc::driver::{CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DriverError};
use cudarc::nvrtc::Ptx;

use super::compile::{cubin, kernels};
use super::machine::{Machine, Memory};
use super::probe::Gpu;
use super::program::{Address, Arg, Args, Buffer, Gemm, Matrix, Node, Program, Rows};
use crate::error::{Error, Result};
use crate::spec::Dtype;

/// Bytes of cuBLASLt's room.
const ROOM: usize = 32 << 20;
/// Algorithms that are looked at for a product.
const ALGORITHMS: usize = 16;
/// Steps of the longer of a program's two graphs.
const IN_A_ROW: u64 = 8;
/// Words of arguments that a kernel gets, as in `prelude.cuh`.
const WORDS: usize = 32;
/// Memory that is left to the driver and to graphs.
const LEFT: usize = 256 << 20;

/// What matrix products of f32 are computed in; sums are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Products {
    /// f32.
    #[default]
    F32,
    /// Factors rounded to TF32, 10 bits of mantissa.
    Tf32,
    /// Factors rounded to bf16, 7 bits of mantissa; the weights that are kept stay f32.
    Bf16,
}

/// A GPU, and how it is used.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Which.
    pub gpu: Gpu,
    /// What its matrix products are computed in.
    pub products: Products,
    /// Where compiled kernels are kept, if they are.
    pub cache: Option<PathBuf>,
}

impl Choice {
    /// The GPU's name and what its matrix products are computed in.
    pub fn describe(&self, dtype: Dtype) -> String {
        let products = match (dtype, self.products) {
            (Dtype::F64, _) => "f64",
            (Dtype::F32, Products::F32) => "f32",
            (Dtype::F32, Products::Tf32) => "TF32",
            (Dtype::F32, Products::Bf16) => "bf16",
        };
        format!("{}, matrix products in {products}", self.gpu.name)
    }
}

/// A GPU at work.
pub(crate) struct Card {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    handle: sys::cublasLtHandle_t,
    room: CudaSlice<u8>,
    memory: Vec<CudaSlice<u64>>,
    functions: BTreeMap<String, CudaFunction>,
    programs: Vec<Graphs>,
    products: Products,
}

// SAFETY: a handle of cuBLASLt may be used from any thread; everything else is `Send` by itself.
unsafe impl Send for Card {}

/// A program of one step, and of several in a row.
struct Graphs {
    one: CudaGraph,
    several: CudaGraph,
}

fn failed(what: &str) -> impl FnOnce(DriverError) -> Error + '_ {
    move |e| Error::Gpu {
        what: what.into(),
        causes: vec![e.to_string()],
        hint: "if it does not pass, --device cpu needs no GPU".into(),
    }
}

fn failed_product(what: &str, e: impl std::fmt::Debug) -> Error {
    Error::Gpu {
        what: format!("cuBLASLt {what}"),
        causes: vec![format!("{e:?}")],
        hint: "another version of cuBLASLt may help; --device cpu needs none".into(),
    }
}

impl Card {
    /// Begins to use a GPU, with kernels in one number type.
    ///
    /// # Errors
    /// [`Error::Gpu`].
    pub(crate) fn new(choice: &Choice, dtype: Dtype) -> Result<Card> {
        let Choice { gpu, products, cache } = choice;
        let context = CudaContext::new(gpu.ordinal).map_err(failed("the driver gives no context"))?;
        // SAFETY: all work goes to one stream, so that nothing needs events to wait for other work; a capture would refuse them.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed("the driver gives no stream"))?;
        let code = cubin(dtype, gpu.capability, cache.as_deref())?;
        let module =
            context.load_module(Ptx::from_binary(code)).map_err(failed("the driver does not load the kernels"))?;
        let mut functions = BTreeMap::new();
        for name in kernels() {
            let name = name.to_string_lossy().into_owned();
            let function = module.load_function(&name).map_err(failed("a kernel is missing"))?;
            functions.insert(name, function);
        }
        let handle = lt::create_handle().map_err(|e| failed_product("does not begin", e))?;
        let room = stream.alloc_zeros(ROOM).map_err(failed("there is no memory for matrix products"))?;
        Ok(Card { context, stream, handle, room, memory: vec![], functions, programs: vec![], products: *products })
    }

    fn capture(&self, times: u64, work: &[Work]) -> Result<CudaGraph> {
        let mode = driver::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.stream.begin_capture(mode).map_err(failed("a graph cannot be begun"))?;
        let issued = (0..times).try_for_each(|_| work.iter().try_for_each(|work| self.issue(work)));
        // Ends the capture whatever happened in it.
        let graph = self.stream.end_capture(driver::CUgraphInstantiate_flags(0));
        issued?;
        let graph = graph.map_err(failed("a graph cannot be made"))?;
        let graph = graph.ok_or_else(|| Error::Gpu {
            what: "a graph is empty".into(),
            causes: vec![],
            hint: "--device cpu needs no GPU".into(),
        })?;
        graph.upload().map_err(failed("a graph cannot be uploaded"))?;
        Ok(graph)
    }

    fn issue(&self, work: &Work) -> Result<()> {
        match work {
            Work::Launch { function, grid, words } => {
                let function = &self.functions[*function];
                let mut words = *words;
                let mut params = [words.as_mut_ptr().cast::<c_void>()];
                let [x, y, z] = *grid;
                // SAFETY: every kernel takes these words by value, and its pointers lie in memory that this card holds.
                unsafe {
                    let stream = self.stream.cu_stream();
                    let function = function.cu_function();
                    let done =
                        cudarc::driver::result::launch_kernel(function, (x, y, z), (256, 1, 1), 0, stream, &mut params);
                    done.map_err(failed("a kernel cannot be started"))
                }
            }
            Work::Product(product) => product.issue(self),
        }
    }

    fn pointer(&self, address: Address, dtype: Dtype, place: &dyn Fn(Buffer) -> Memory) -> u64 {
        let memory = &self.memory[place(address.buffer).0];
        let (start, _) = memory.device_ptr(&self.stream);
        start + (address.at * address.buffer.unit(dtype)) as u64
    }
}

/// A node with its addresses.
enum Work {
    Launch { function: &'static str, grid: [u32; 3], words: [u64; WORDS] },
    Product(Product),
}

/// A matrix product with all that cuBLASLt asks for.
struct Product {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 4],
    algorithm: sys::cublasLtMatmulAlgo_t,
    pointers: [u64; 4],
    beta: f64,
    dtype: Dtype,
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: made by `Product::new` and destroyed here alone.
        unsafe {
            let _ = lt::destroy_matmul_desc(self.description);
            for layout in self.layouts {
                let _ = lt::destroy_matrix_layout(layout);
            }
        }
    }
}

/// Sets an attribute by one of cuBLASLt's functions.
macro_rules! set {
    ($set:path, $of:expr, $attribute:expr, $value:expr) => {{
        let value = $value;
        // SAFETY: the description is alive, and the value has the attribute's type.
        unsafe { $set($of, $attribute, (&raw const value).cast(), size_of_val(&value)) }
            .map_err(|e| failed_product("refuses an attribute", e))
    }};
}

impl Product {
    /// Row-major `D = A B (+ C)` is column-major `Dᵀ = Bᵀ Aᵀ (+ Cᵀ)`: the same memory, and B comes first.
    fn new(
        card: &Card,
        gemm: &Gemm,
        with_bias: bool,
        dtype: Dtype,
        place: &dyn Fn(Buffer) -> Memory,
    ) -> Result<Product> {
        use sys::cublasLtMatmulDescAttributes_t as Desc;
        let (compute, number) = match (dtype, card.products) {
            (Dtype::F64, _) => (sys::cublasComputeType_t::CUBLAS_COMPUTE_64F, sys::cudaDataType::CUDA_R_64F),
            (_, Products::F32) => (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F),
            (_, Products::Tf32) => {
                (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32, sys::cudaDataType::CUDA_R_32F)
            }
            (_, Products::Bf16) => {
                (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_16BF, sys::cudaDataType::CUDA_R_32F)
            }
        };
        let [m, n, k] = gemm.sizes;
        let description =
            lt::create_matmul_desc(compute, number).map_err(|e| failed_product("gives no description", e))?;
        let c = gemm.c.unwrap_or(gemm.d);
        let sized = [(&gemm.b, [k, n]), (&gemm.a, [m, k]), (&c, [m, n]), (&gemm.d, [m, n])];
        let layout = |batch: usize, (matrix, [rows, cols]): (&Matrix, [usize; 2])| -> Result<_> {
            // As it is stored: a row-major array is a column-major one of its transpose.
            let [rows, cols] = if matrix.transposed { [cols, rows] } else { [rows, cols] };
            let layout = lt::create_matrix_layout(number, cols as u64, rows as u64, matrix.row as i64)
                .map_err(|e| failed_product("gives no layout", e))?;
            use sys::cublasLtMatrixLayoutAttribute_t as Layout;
            set!(lt::set_matrix_layout_attribute, layout, Layout::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, batch as i32)?;
            let stride = matrix.stride as i64;
            set!(lt::set_matrix_layout_attribute, layout, Layout::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride)?;
            Ok(layout)
        };
        let turned = |matrix: &Matrix| i32::from(matrix.transposed);
        set!(lt::set_matmul_desc_attribute, description, Desc::CUBLASLT_MATMUL_DESC_TRANSA, turned(&gemm.b))?;
        set!(lt::set_matmul_desc_attribute, description, Desc::CUBLASLT_MATMUL_DESC_TRANSB, turned(&gemm.a))?;
        let pointer = |address: Address| card.pointer(address, dtype, place);
        if let Some(bias) = gemm.bias.filter(|_| with_bias) {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            set!(lt::set_matmul_desc_attribute, description, Desc::CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)?;
            let at = pointer(bias.at);
            set!(lt::set_matmul_desc_attribute, description, Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, at)?;
            let stride = bias.stride as i64;
            set!(lt::set_matmul_desc_attribute, description, Desc::CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, stride)?;
        }
        let mut layouts = vec![];
        let mut of_one = vec![];
        for sized in sized {
            layouts.push(layout(gemm.batch, sized)?);
            of_one.push(layout(1, sized)?);
        }
        let layouts: [_; 4] = layouts.try_into().expect("invariant: four matrices");
        let alignments = sized.map(|(matrix, _)| alignment(matrix, dtype));
        let algorithm = choose(card, description, (&layouts, &of_one), alignments);
        for layout in of_one {
            // SAFETY: made above, and used nowhere else.
            let _ = unsafe { lt::destroy_matrix_layout(layout) };
        }
        let pointers = sized.map(|(matrix, _)| pointer(matrix.at));
        let beta = if gemm.c.is_some() { 1.0 } else { 0.0 };
        // From here on its parts are destroyed with it, chosen or not.
        let mut product = Product {
            description,
            layouts,
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
            pointers,
            beta,
            dtype,
        };
        product.algorithm = algorithm?;
        Ok(product)
    }

    fn issue(&self, card: &Card) -> Result<()> {
        let (room, _) = card.room.device_ptr(&card.stream);
        let [a, b, c, d] = self.pointers;
        let (one, beta) = ([1f32, self.beta as f32], [1f64, self.beta]);
        let (alpha, beta): (*const c_void, *const c_void) = match self.dtype {
            Dtype::F32 => ((&raw const one[0]).cast(), (&raw const one[1]).cast()),
            Dtype::F64 => ((&raw const beta[0]).cast(), (&raw const beta[1]).cast()),
        };
        let [la, lb, lc, ld] = self.layouts;
        let stream = card.stream.cu_stream().cast();
        // SAFETY: descriptions and layouts are alive, pointers lie in memory that the card holds, and factors outlive the call.
        let done = unsafe {
            lt::matmul(
                card.handle,
                self.description,
                alpha,
                beta,
                a as *const c_void,
                la,
                b as *const c_void,
                lb,
                c as *const c_void,
                lc,
                d as *mut c_void,
                ld,
                &raw const self.algorithm,
                room as *mut c_void,
                ROOM,
                stream,
            )
        };
        done.map_err(|e| failed_product("refuses a product", e))
    }
}

/// Bytes that all of a matrix's batch begin at multiples of; memory itself begins at multiples of 256.
fn alignment(matrix: &Matrix, dtype: Dtype) -> u32 {
    let unit = matrix.at.buffer.unit(dtype);
    let bits = (matrix.at.at * unit) | (matrix.stride * unit) | 256;
    1 << bits.trailing_zeros()
}

/// The first algorithm for one replica that does not split sums and also does all replicas.
fn choose(
    card: &Card,
    description: sys::cublasLtMatmulDesc_t,
    (layouts, of_one): (&[sys::cublasLtMatrixLayout_t; 4], &[sys::cublasLtMatrixLayout_t]),
    alignments: [u32; 4],
) -> Result<sys::cublasLtMatmulAlgo_t> {
    use sys::cublasLtMatmulPreferenceAttributes_t as Pref;
    let preference = lt::create_matmul_pref().map_err(|e| failed_product("takes no preference", e))?;
    let set = || -> Result<()> {
        set!(lt::set_matmul_pref_attribute, preference, Pref::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, ROOM)?;
        set!(lt::set_matmul_pref_attribute, preference, Pref::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 0u32)?;
        let attributes = [
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        attributes
            .into_iter()
            .zip(alignments)
            .try_for_each(|(attribute, bytes)| set!(lt::set_matmul_pref_attribute, preference, attribute, bytes))
    };
    let found = set().and_then(|()| heuristic(card, description, of_one, preference));
    // SAFETY: made above, and used nowhere else.
    let _ = unsafe { lt::destroy_matmul_pref(preference) };
    let fits = |algorithm: &sys::cublasLtMatmulAlgo_t| {
        let [a, b, c, d] = *layouts;
        let mut result = std::mem::MaybeUninit::uninit();
        // SAFETY: everything is alive; the result is written where the call succeeds.
        unsafe {
            let done = sys::cublasLtMatmulAlgoCheck(
                card.handle,
                description,
                a,
                b,
                c,
                d,
                std::ptr::from_ref(algorithm),
                result.as_mut_ptr(),
            );
            done.result().is_ok() && result.assume_init().workspaceSize <= ROOM
        }
    };
    let algorithm = found?.into_iter().find(|algorithm| !splits(algorithm) && fits(algorithm));
    algorithm.ok_or_else(|| failed_product("has no algorithm for a product", "none without split sums"))
}

fn heuristic(
    card: &Card,
    description: sys::cublasLtMatmulDesc_t,
    of_one: &[sys::cublasLtMatrixLayout_t],
    preference: sys::cublasLtMatmulPreference_t,
) -> Result<Vec<sys::cublasLtMatmulAlgo_t>> {
    let mut results: Vec<std::mem::MaybeUninit<sys::cublasLtMatmulHeuristicResult_t>> =
        (0..ALGORITHMS).map(|_| std::mem::MaybeUninit::uninit()).collect();
    let mut found = 0;
    // SAFETY: everything is alive, and there is room for so many results; the first `found` are written.
    unsafe {
        let done = sys::cublasLtMatmulAlgoGetHeuristic(
            card.handle,
            description,
            of_one[0],
            of_one[1],
            of_one[2],
            of_one[3],
            preference,
            ALGORITHMS as i32,
            results.as_mut_ptr().cast(),
            &raw mut found,
        );
        done.result().map_err(|e| failed_product("finds no algorithm", e))?;
        let results = results.into_iter().take(found.max(0) as usize).map(|result| result.assume_init());
        Ok(results.filter(|result| result.state.result().is_ok()).map(|result| result.algo).collect())
    }
}

/// Whether parts of a sum are computed by different blocks.
fn splits(algorithm: &sys::cublasLtMatmulAlgo_t) -> bool {
    let (mut parts, mut written) = (0i32, 0usize);
    let attribute = sys::cublasLtMatmulAlgoConfigAttributes_t::CUBLASLT_ALGO_CONFIG_SPLITK_NUM;
    // SAFETY: the algorithm is one of the heuristic's, and the attribute is a number of 32 bits.
    let told = unsafe {
        sys::cublasLtMatmulAlgoConfigGetAttribute(
            std::ptr::from_ref(algorithm),
            attribute,
            (&raw mut parts).cast(),
            size_of::<i32>(),
            &raw mut written,
        )
    };
    told.result().is_ok() && parts > 1
}

impl Machine for Card {
    fn free_bytes(&self) -> Result<usize> {
        let (free, _) = self.context.mem_get_info().map_err(failed("the driver does not tell its memory"))?;
        Ok(free.saturating_sub(LEFT))
    }

    fn allocate(&mut self, bytes: usize) -> Result<Memory> {
        let memory = self.stream.alloc_zeros(bytes.div_ceil(8).max(1)).map_err(failed("there is no memory"))?;
        self.memory.push(memory);
        Ok(Memory(self.memory.len() - 1))
    }

    fn write(&mut self, to: Memory, bytes: &[u8]) -> Result<()> {
        let (start, _) = self.memory[to.0].device_ptr(&self.stream);
        assert!(bytes.len() <= self.memory[to.0].num_bytes(), "invariant: a write lies inside its memory");
        self.context.bind_to_thread().map_err(failed("the driver gives no context"))?;
        // SAFETY: inside by the assertion. Memory that is not pinned is copied before the call returns.
        let done = unsafe { cudarc::driver::result::memcpy_htod_async(start, bytes, self.stream.cu_stream()) };
        done.map_err(failed("numbers cannot be copied to it"))
    }

    fn read(&mut self, from: Memory, bytes: &mut [u8]) -> Result<()> {
        let (start, _) = self.memory[from.0].device_ptr(&self.stream);
        assert!(bytes.len() <= self.memory[from.0].num_bytes(), "invariant: a read lies inside its memory");
        self.context.bind_to_thread().map_err(failed("the driver gives no context"))?;
        // SAFETY: inside by the assertion, and the stream is waited for before the slice is used.
        let done = unsafe { cudarc::driver::result::memcpy_dtoh_async(bytes, start, self.stream.cu_stream()) };
        done.and_then(|()| self.stream.synchronize()).map_err(failed("numbers cannot be copied from it"))
    }

    fn load(&mut self, program: Program, place: &dyn Fn(Buffer) -> Memory) -> Result<usize> {
        let dtype = program.dtype;
        let mut work = vec![];
        for node in &program.nodes {
            match node {
                Node::Launch { kernel, grid, args } => work.push(self.launch(kernel, *grid, args, dtype, place)),
                Node::Gemm(gemm) => self.product(gemm, dtype, place, &mut work)?,
            }
        }
        let (one, several) = (self.capture(1, &work)?, self.capture(IN_A_ROW, &work)?);
        self.programs.push(Graphs { one, several });
        Ok(self.programs.len() - 1)
    }

    fn run(&mut self, program: usize, times: u64) -> Result<()> {
        let graphs = &self.programs[program];
        let launch = |graph: &CudaGraph| graph.launch().map_err(failed("a graph cannot be started"));
        (0..times / IN_A_ROW).try_for_each(|_| launch(&graphs.several))?;
        (0..times % IN_A_ROW).try_for_each(|_| launch(&graphs.one))
    }
}

impl Card {
    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        args: &Args,
        dtype: Dtype,
        place: &dyn Fn(Buffer) -> Memory,
    ) -> Work {
        let mut words = [0; WORDS];
        for (word, arg) in words.iter_mut().zip(&args.0) {
            *word = match *arg {
                Arg::At(address) => self.pointer(address, dtype, place),
                Arg::Null => 0,
                Arg::Int(x) => x as u64,
                Arg::Real(x) => x.to_bits(),
            };
        }
        Work::Launch { function: kernel, grid: grid.map(|n| n as u32), words }
    }

    /// A product, whose bias a launch puts into place first where cuBLASLt does not add it.
    fn product(&self, gemm: &Gemm, dtype: Dtype, place: &dyn Fn(Buffer) -> Memory, work: &mut Vec<Work>) -> Result<()> {
        let fused = Product::new(self, gemm, true, dtype, place);
        match (fused, gemm.bias) {
            (Ok(product), _) => work.push(Work::Product(product)),
            (Err(e), None) => return Err(e),
            (Err(_), Some(bias)) => {
                let [m, n, _] = gemm.sizes;
                let rows = |matrix: &Matrix| Rows { at: matrix.at, stride: matrix.stride };
                let args = Args::new().rows(bias).maybe(gemm.c.as_ref().map(rows)).rows(rows(&gemm.d));
                let grid = [(m * n).div_ceil(1024), gemm.batch, 1];
                work.push(self.launch("start_rows", grid, &args.int(m * n).int(n), dtype, place));
                let rest = Gemm { c: Some(gemm.d), bias: None, ..*gemm };
                work.push(Work::Product(Product::new(self, &rest, false, dtype, place)?));
            }
        }
        Ok(())
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
        self.programs.clear();
        // SAFETY: made by `Card::new`, and nothing uses it any more.
        let _ = unsafe { lt::destroy_handle(self.handle) };
    }
}
