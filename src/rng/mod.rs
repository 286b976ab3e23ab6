//! Random numbers as functions of (seed, stream name, position): the same words in any order, on any thread.
//!
//! A stream is the words of [`philox`] for key = seed and counter = (block number, stream number), which is cuRAND's
//! layout (seed, offset, subsequence): a device can make the same words with no table. The stream number is FNV-1a
//! of the name, so two streams of one seed overlap only if two names hash alike, and two seeds share no key. No
//! thread generator, no clock, no platform mathematics library; a position is all that a resume needs.
//!
//! [`torch`] and [`python`] repeat what two other generators draw from a seed, both over [`mt19937`]: for the splits and starts of published
//! runs alone.

#[cfg(test)]
mod fixture;
pub mod mt19937;
pub mod philox;
pub mod python;
pub mod torch;

use std::convert::Infallible;

use rand::TryRng;

/// Words of one counter.
const BLOCK: u64 = 4;

/// A position in one stream of random 32-bit words.
///
/// Implements `rand`'s generator traits, so that `rand_distr` draws from it.
///
/// ```
/// use phaselab::rng::Rng;
///
/// let mut init = Rng::stream(3, "init");
/// let first = init.next_u32();
/// init.seek(0);
/// assert_eq!(init.next_u32(), first);
/// assert_ne!(Rng::stream(3, "split").next_u32(), first);
/// ```
#[derive(Debug, Clone)]
pub struct Rng {
    seed: u64,
    stream: u64,
    position: u64,
    /// The words of the counter that `position` is in, whenever `position` is inside one and not at its start.
    block: [u32; 4],
}

impl Rng {
    /// The stream called `name` of `seed`, at position 0.
    pub fn stream(seed: u64, name: &str) -> Rng {
        Rng::at_start(seed, fnv1a(name.as_bytes()))
    }

    /// Stream number `index` under this one, at its position 0; the same wherever this one stands.
    ///
    /// The new stream number is a bijection of `index`, so no two indices share a stream.
    pub fn substream(&self, index: u64) -> Rng {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        Rng::at_start(self.seed, mix(self.stream ^ mix(index.wrapping_add(GOLDEN))))
    }

    /// What its words are a function of, beside the seed and the position.
    pub(crate) fn stream_number(&self) -> u64 {
        self.stream
    }

    fn at_start(seed: u64, stream: u64) -> Rng {
        Rng { seed, stream, position: 0, block: [0; 4] }
    }

    /// Words drawn so far: what a resume point stores.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to where `position` words have been drawn, forward or back, in constant time.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
        if !position.is_multiple_of(BLOCK) {
            self.block = self.block_here();
        }
    }

    fn block_here(&self) -> [u32; 4] {
        let [low, high] = halves(self.position / BLOCK);
        let [stream_low, stream_high] = halves(self.stream);
        philox::block([low, high, stream_low, stream_high], halves(self.seed))
    }

    /// The next word.
    pub fn next_u32(&mut self) -> u32 {
        let word = self.position % BLOCK;
        if word == 0 {
            self.block = self.block_here();
        }
        self.position += 1;
        self.block[word as usize]
    }

    /// The next two words, the first one low.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32();
        join(low, self.next_u32())
    }

    /// Uniform in [0, 1), a multiple of 2⁻²⁴; one word.
    pub fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³; two words.
    pub fn uniform_f64(&mut self) -> f64 {
        unit_f64(self.next_u64())
    }

    /// Uniform in 0 … n − 1; always two words, so that a position tells how many were drawn.
    ///
    /// The high half of a 64-bit word times `n`, without rejection: a number's probability is off by less than
    /// 2⁻³² of itself.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u32
    }

    /// Fills `out` with the next words, many counters at once; equal to as many calls of [`Rng::next_u32`].
    pub fn fill_u32(&mut self, out: &mut [u32]) {
        let begun = self.position.wrapping_neg() % BLOCK;
        let (head, rest) = out.split_at_mut(out.len().min(begun as usize));
        head.fill_with(|| self.next_u32());
        let (body, tail) = rest.split_at_mut(rest.len() - rest.len() % BLOCK as usize);
        philox::fill(halves(self.seed), halves(self.stream), self.position / BLOCK, body);
        self.position += body.len() as u64;
        tail.fill_with(|| self.next_u32());
    }

    /// Fills `out` with the next words in the order of [`philox::fill_by_word`], which is faster.
    ///
    /// # Panics
    /// Unless the position and the length are multiples of 64.
    pub fn fill_by_word(&mut self, out: &mut [u32]) {
        let whole = philox::BLOCK_BY_WORD as u64;
        assert!(
            self.position.is_multiple_of(whole) && (out.len() as u64).is_multiple_of(whole),
            "invariant: words in this order come in whole blocks"
        );
        philox::fill_by_word(halves(self.seed), halves(self.stream), self.position / BLOCK, out);
        self.position += out.len() as u64;
    }

    /// Fills `out` with standard normal numbers by Box and Muller's formula; four words for every two numbers.
    ///
    /// With an odd length the second number of the last pair is dropped. The functions are those of `libm`, so the
    /// bits do not depend on the platform.
    pub fn fill_normal(&mut self, out: &mut [f64]) {
        const PAIRS: usize = 16;
        let mut words = [0; 4 * PAIRS];
        for chunk in out.chunks_mut(2 * PAIRS) {
            let words = &mut words[..4 * chunk.len().div_ceil(2)];
            self.fill_u32(words);
            for (pair, word) in chunk.chunks_mut(2).zip(words.chunks_exact(4)) {
                let radius_uniform = 1.0 - unit_f64(join(word[0], word[1])); // in (0, 1]: its logarithm is finite
                let angle = std::f64::consts::TAU * unit_f64(join(word[2], word[3]));
                let radius = libm::sqrt(-2.0 * libm::log(radius_uniform));
                let (sin, cos) = libm::sincos(angle);
                for (number, part) in pair.iter_mut().zip([cos, sin]) {
                    *number = radius * part;
                }
            }
        }
    }

    /// A random order of 0 … n − 1 (Fisher and Yates, from the end); 2(n − 1) words.
    ///
    /// # Panics
    /// If `n` does not fit 32 bits.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let n = u32::try_from(n).expect("a permutation is of fewer than 2^32 numbers");
        let mut order: Vec<u32> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Puts `items` into a random order, as [`Rng::permutation`] does; 2(n − 1) words.
    ///
    /// # Panics
    /// If their number does not fit 32 bits.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let n = u32::try_from(items.len()).expect("a permutation is of fewer than 2^32 numbers");
        for last in (1..n).rev() {
            items.swap(last as usize, self.below(last + 1) as usize);
        }
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        rand::rand_core::utils::fill_bytes_via_next_word(out, || Ok(self.next_u32()))
    }
}

/// A 64-bit number as two words, lowest first.
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The upper 53 bits as a number in [0, 1).
fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64's finalizer: a bijection of 64 bits in which each input bit moves half of the output bits.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_distr::Distribution;

    use super::*;

    /// Published values: FNV-1a's test suite; the first output of SplitMix64 from seed 0.
    #[test]
    fn hashes_have_their_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(mix(0x9E37_79B9_7F4A_7C15), 0xe220_a839_7b1d_cdaf);
    }

    /// The pins come from Philox, FNV-1a and SplitMix64 written a second time, in Python's integers, from their papers.
    /// A difference means that every published seed now gives another run: do that only with a new major version.
    #[test]
    fn pinned_words_and_numbers() {
        let words = |mut rng: Rng| -> [u32; 6] { std::array::from_fn(|_| rng.next_u32()) };
        assert_eq!(
            words(Rng::stream(0, "init")),
            [0x72bf_0efc, 0x7df8_0106, 0x4161_8513, 0x9b2e_696e, 0x2204_9717, 0xe642_1950]
        );
        assert_eq!(
            words(Rng::stream((1 << 63) + 12345, "split"))[..4],
            [0x83c4_b0f3, 0x9fc4_5e94, 0xe9d4_29a3, 0x67fe_d0d1]
        );
        assert_eq!(
            words(Rng::stream(0, "init").substream(7))[..4],
            [0x2a03_db45, 0x9162_736a, 0xa658_45ce, 0x09dc_668e]
        );
        assert_eq!(Rng::stream(1, "split").permutation(10), [5, 8, 7, 6, 1, 9, 3, 2, 0, 4]);
        let mut uniform = Rng::stream(1, "uniform");
        assert_eq!([uniform.uniform_f64(), uniform.uniform_f64()], [0.964_823_734_299_463_9, 0.937_535_766_659_522_2]);
        let mut normal = [0.0; 4];
        Rng::stream(1, "normal").fill_normal(&mut normal);
        let by_python = [-1.7087171086482398, 0.7051087904419002, -0.29111635866644886, 1.0025425520556248];
        for (ours, pinned) in normal.into_iter().zip(by_python) {
            assert!((ours - pinned).abs() < 1e-14, "{ours} is not {pinned}");
        }
    }

    #[test]
    fn a_seek_goes_to_the_word_and_a_fill_equals_single_draws() {
        let mut rng = Rng::stream(5, "fill");
        let words: Vec<u32> = (0..500).map(|_| rng.next_u32()).collect();
        assert_eq!(rng.position(), 500);
        for from in [0, 1, 2, 3, 4, 67, 130] {
            for len in [0, 1, 3, 4, 5, 64, 67, 300] {
                rng.seek(from as u64);
                let mut out = vec![0; len];
                rng.fill_u32(&mut out);
                assert_eq!(out, words[from..from + len], "{len} words from {from}");
                assert_eq!(rng.position(), (from + len) as u64);
                assert_eq!(rng.next_u32(), words[from + len], "the word after {len} words from {from}");
            }
        }
    }

    #[test]
    fn substreams_do_not_depend_on_the_position_and_differ() {
        let mut parent = Rng::stream(2, "batch");
        let before = parent.substream(3).next_u64();
        parent.next_u32();
        assert_eq!(parent.substream(3).next_u64(), before);
        let mut firsts: Vec<u64> = (0..1000).map(|i| parent.substream(i).next_u64()).collect();
        firsts.push(parent.substream(0).substream(0).next_u64());
        firsts.push(Rng::stream(2, "batch").next_u64());
        firsts.push(Rng::stream(3, "batch").next_u64());
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1003);
    }

    /// Mean and variance within five standard errors of the exact ones.
    fn assert_moments(numbers: &[f64], mean: f64, variance: f64, fourth_moment: f64) {
        let n = numbers.len() as f64;
        let found_mean = numbers.iter().sum::<f64>() / n;
        let found_variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let mean_error = (variance / n).sqrt();
        let variance_error = ((fourth_moment - variance * variance) / n).sqrt();
        assert!((found_mean - mean).abs() < 5.0 * mean_error, "mean {found_mean}, not {mean}");
        assert!((found_variance - variance).abs() < 5.0 * variance_error, "variance {found_variance}, not {variance}");
    }

    #[test]
    fn moments_of_uniforms_and_normals() {
        let mut rng = Rng::stream(0, "moments");
        let uniform: Vec<f64> = (0..50_000).map(|_| rng.uniform_f64()).collect();
        assert_moments(&uniform, 0.5, 1.0 / 12.0, 1.0 / 80.0);
        let uniform: Vec<f64> = (0..50_000).map(|_| rng.uniform_f32().into()).collect();
        assert_moments(&uniform, 0.5, 1.0 / 12.0, 1.0 / 80.0);
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
        let mut normal = vec![0.0; 50_001];
        rng.fill_normal(&mut normal);
        assert_moments(&normal, 0.0, 1.0, 3.0);
        let outside = normal.iter().filter(|x| x.abs() > 1.959_963_984_540_054).count() as f64;
        assert!((outside - 2500.0).abs() < 5.0 * (50_001.0 * 0.05 * 0.95f64).sqrt(), "{outside} beyond ±1.96");
    }

    /// Σ (found − expected)² / expected over equally likely cells.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = counts.iter().sum::<u32>() as f64 / counts.len() as f64;
        counts.iter().map(|&c| (f64::from(c) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn below_reaches_every_number_equally_often() {
        let mut rng = Rng::stream(0, "below");
        let mut counts = [0; 97];
        for _ in 0..97_000 {
            counts[rng.below(97) as usize] += 1;
        }
        // 96 degrees of freedom: mean 96, deviation √192.
        assert!((chi_square(&counts) - 96.0).abs() < 5.0 * 192f64.sqrt(), "{}", chi_square(&counts));
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn the_six_orders_of_three_are_equally_likely_over_streams() {
        let mut counts = [0; 6];
        for seed in 0..12_000 {
            let order = Rng::stream(seed, "split").permutation(3);
            let at = order[0] * 2 + u32::from(order[1] > order[2]);
            counts[at as usize] += 1;
        }
        // Five degrees of freedom: 25.7 is passed once in 10,000 times.
        assert!(chi_square(&counts) < 25.7, "{counts:?}");
    }

    #[test]
    fn rand_and_its_distributions_draw_from_it() {
        let mut rng = Rng::stream(0, "exponential");
        let numbers: Vec<f64> = (0..50_000).map(|_| rand_distr::Exp::new(2.0).unwrap().sample(&mut rng)).collect();
        assert_moments(&numbers, 0.5, 0.25, 9.0 / 16.0);
        let mut bytes = [0; 10];
        rng.seek(0);
        rand::Rng::fill_bytes(&mut rng, &mut bytes);
        rng.seek(0);
        let words = [rng.next_u32(), rng.next_u32(), rng.next_u32()].map(u32::to_le_bytes);
        assert_eq!(bytes[..], words.concat()[..10]);
    }
}
