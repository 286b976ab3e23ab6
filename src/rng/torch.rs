//! PyTorch's CPU generator: what `torch.manual_seed(s)` makes `torch.randperm`, `uniform_` and `normal_` (so `torch.randn`) draw.
//!
//! Reads a seed; writes permutations and uniforms with PyTorch's bits, and normals to 1e-6 of it (its vectorised functions round
//! otherwise). As it is on the CPU from version 1.x on: a tensor of 16 or more normals takes the uniforms of all of them first and turns
//! them into normals in blocks of 16, a smaller one draws pairs in f64 and keeps the second for the next small one. Source: PyTorch's
//! documented behaviour, seen through version 2.15 (`tests/fixtures/torch_rng.py`).

use super::mt19937::Mt19937;

/// From this size on `randperm` draws 64 bits a number, and from the start: a remainder of 32 bits would no longer be uniform.
const LARGE: usize = u32::MAX as usize / 20;

/// Normals that are made together.
const BLOCK: usize = 16;

/// The generator after `torch.manual_seed`.
#[derive(Debug, Clone)]
pub struct TorchRng {
    words: Mt19937,
    /// The second normal of a pair, for the next tensor of fewer than [`BLOCK`].
    spare_normal: Option<f64>,
}

impl TorchRng {
    /// `torch.manual_seed(seed)`, which reads the low 32 bits.
    pub fn manual_seed(seed: u64) -> TorchRng {
        TorchRng { words: Mt19937::new(seed as u32), spare_normal: None }
    }

    fn next_u32(&mut self) -> u32 {
        self.words.next_u32()
    }

    /// Two words, the first one high.
    fn next_u64(&mut self) -> u64 {
        let high = self.next_u32();
        u64::from(high) << 32 | u64::from(self.next_u32())
    }

    /// `torch.rand` of one f32: 24 bits.
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// `torch.rand` of one f64: 53 bits.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() & ((1 << 53) - 1)) as f64 / 9_007_199_254_740_992.0
    }

    /// `torch.randperm(n)`.
    ///
    /// # Panics
    /// If `n` does not fit 32 bits.
    pub fn randperm(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(n).expect("a permutation is of fewer than 2^32 numbers")).collect();
        if n < LARGE {
            for (at, from) in self.swaps(n) {
                order.swap(at, from);
            }
        } else {
            self.inside_out(n, |at, from| {
                order[at] = order[from];
                order[from] = at as u32;
            });
        }
        order
    }

    /// Fisher and Yates's exchanges, from the first place on; each from 32 bits, of which near places are a little likelier.
    fn swaps(&mut self, n: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..n.saturating_sub(1)).map(move |at| (at, at + (u64::from(self.next_u32()) % (n - at) as u64) as usize))
    }

    /// Fisher and Yates's order made from the start: number `at` goes to `from`, and what was there to `at`.
    fn inside_out(&mut self, n: usize, mut place: impl FnMut(usize, usize)) {
        for at in 0..n {
            place(at, (self.next_u64() % (at as u64 + 1)) as usize);
        }
    }

    /// `tensor.uniform_(-bound, bound)` for an f32 tensor. It multiplies and adds with one rounding, as PyTorch does on machines that can.
    pub fn fill_uniform_f32(&mut self, bound: f64, out: &mut [f64]) {
        let (from, to) = (-bound as f32, bound as f32);
        out.fill_with(|| f64::from(self.uniform_f32().mul_add(to - from, from)));
    }

    /// `tensor.uniform_(-bound, bound)` for an f64 tensor.
    pub fn fill_uniform_f64(&mut self, bound: f64, out: &mut [f64]) {
        out.fill_with(|| self.uniform_f64().mul_add(bound + bound, -bound));
    }

    /// `tensor.normal_()` for an f32 tensor; each number is within 1e-6 of PyTorch's.
    pub fn fill_normal_f32(&mut self, out: &mut [f64]) {
        self.fill_normal(out, |rng| f64::from(rng.uniform_f32()));
        out.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    }

    /// `tensor.normal_()` for an f64 tensor.
    pub fn fill_normal_f64(&mut self, out: &mut [f64]) {
        self.fill_normal(out, TorchRng::uniform_f64);
    }

    fn fill_normal(&mut self, out: &mut [f64], mut uniform: impl FnMut(&mut TorchRng) -> f64) {
        if out.len() < BLOCK {
            return out.fill_with(|| self.one_normal());
        }
        out.fill_with(|| uniform(self));
        out.chunks_exact_mut(BLOCK).for_each(block_to_normals);
        let n = out.len();
        if !n.is_multiple_of(BLOCK) {
            // The last block begins anew, over normals that are there already.
            let last = &mut out[n - BLOCK..];
            last.fill_with(|| uniform(self));
            block_to_normals(last);
        }
    }

    /// One number of a small tensor, in f64 whatever the tensor's type.
    fn one_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        let (angle, radius) = (std::f64::consts::TAU * self.uniform_f64(), self.uniform_f64());
        let radius = libm::sqrt(-2.0 * libm::log1p(-radius));
        let (sin, cos) = libm::sincos(angle);
        self.spare_normal = Some(radius * sin);
        radius * cos
    }
}

/// Sixteen uniforms as normals: the first eight give radii, the others angles.
fn block_to_normals(block: &mut [f64]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (radius, angle) in radii.iter_mut().zip(angles) {
        let length = libm::sqrt(-2.0 * libm::log(1.0 - *radius));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * *angle);
        (*radius, *angle) = (length * cos, length * sin);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture::{assert_permutations, lines};
    use super::*;

    #[test]
    fn permutations_are_torch_s() {
        assert_permutations("randperm", |seed, n| TorchRng::manual_seed(seed).randperm(n));
    }

    /// Around the size from which `randperm` goes another way; only what becomes of the first five places is kept.
    #[test]
    fn large_permutations_begin_as_torch_s() {
        for line in lines("randperm_start").iter().take(2) {
            let mut rng = TorchRng::manual_seed(line.seed);
            let mut order = [0; 5];
            if line.size < LARGE {
                let mut moved = BTreeMap::new();
                for (number, (at, from)) in order.iter_mut().zip(rng.swaps(line.size)) {
                    let here = *moved.get(&at).unwrap_or(&at);
                    *number = moved.insert(from, here).unwrap_or(from);
                }
            } else {
                rng.inside_out(line.size, |at, from| {
                    if at < 5 {
                        order[at] = order[from];
                    }
                    if from < 5 {
                        order[from] = at;
                    }
                });
            }
            assert_eq!(order.map(|number| number.to_string())[..], line.numbers, "{} numbers", line.size);
        }
    }

    /// The numbers that the script drew one after another from each seed: 20 from 0 to 1, 20 from -0.3 to 0.3.
    #[test]
    fn uniforms_have_torch_s_bits() {
        for (name, bits) in [
            ("f32", (|x| format!("{:x}", (x as f32).to_bits())) as fn(f64) -> String),
            ("f64", |x| format!("{:x}", x.to_bits())),
        ] {
            let (unit, wide) = (lines(&format!("rand_{name}")), lines(&format!("uniform_{name}")));
            assert_eq!((unit.len(), wide.len()), (11, 11));
            for (unit, wide) in unit.iter().zip(&wide) {
                let mut rng = TorchRng::manual_seed(unit.seed);
                let mut found = [0.0; 40];
                let (first, second) = found.split_at_mut(20);
                if name == "f32" {
                    first.fill_with(|| rng.uniform_f32().into());
                    rng.fill_uniform_f32(0.3, second);
                } else {
                    first.fill_with(|| rng.uniform_f64());
                    rng.fill_uniform_f64(0.3, second);
                }
                let theirs: Vec<&str> = unit.numbers.iter().chain(&wide.numbers).copied().collect();
                assert_eq!(found.map(bits)[..], theirs, "{name}, seed {}", unit.seed);
            }
        }
    }

    /// Twelve tensors one after another from each seed: below and above 16 numbers, whole blocks and not, with numbers left over.
    #[test]
    fn normals_are_torch_s_to_1e_6() {
        for (kind, tolerance) in [("randn_f32", 1e-6), ("randn_f64", 1e-14)] {
            let (mut rng, mut n_tensors, mut worst) = (TorchRng::manual_seed(0), 0, 0f64);
            for line in lines(kind) {
                if n_tensors % 12 == 0 {
                    rng = TorchRng::manual_seed(line.seed);
                    // The script drew 40 uniforms before.
                    let words = if kind == "randn_f32" { 40 } else { 80 };
                    for _ in 0..words {
                        rng.next_u32();
                    }
                }
                n_tensors += 1;
                let mut found = vec![0.0; line.size];
                match kind {
                    "randn_f32" => rng.fill_normal_f32(&mut found),
                    _ => rng.fill_normal_f64(&mut found),
                }
                for (&ours, theirs) in found.iter().zip(&line.numbers) {
                    worst = worst.max((ours - theirs.parse::<f64>().unwrap()).abs());
                }
                assert!(worst < tolerance, "{kind} of {}, seed {}: {worst:e}", line.size, line.seed);
            }
            assert_eq!(n_tensors, 11 * 12);
        }
    }
}
