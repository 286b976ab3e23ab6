//! CPython's `random` after `random.seed(n)` for a whole number n ≥ 0: what `random.shuffle` makes of a list, in every version from 3.2 on.
//!
//! Reads a seed; writes permutations. Source: CPython's documented behaviour, seen through version 3.11 (`tests/fixtures/torch_rng.py`).

use super::mt19937::Mt19937;

/// The generator after `random.seed`.
#[derive(Debug, Clone)]
pub struct PythonRng {
    words: Mt19937,
}

impl PythonRng {
    /// `random.seed(seed)`: the key is the number's words, lowest first, without leading zeros.
    pub fn seed(seed: u64) -> PythonRng {
        let key = super::halves(seed);
        PythonRng { words: Mt19937::from_key(if key[1] == 0 { &key[..1] } else { &key }) }
    }

    /// `random.getrandbits(bits)` for 1 to 32 bits.
    fn bits(&mut self, bits: u32) -> u32 {
        self.words.next_u32() >> (32 - bits)
    }

    /// `random.randrange(n)`, for `n` above 0: as many bits as `n` has, again and again until they are below it.
    fn below(&mut self, n: u32) -> u32 {
        let bits = 32 - n.leading_zeros();
        loop {
            let number = self.bits(bits);
            if number < n {
                return number;
            }
        }
    }

    /// `random.shuffle(list)`.
    ///
    /// # Panics
    /// If the number of items does not fit 32 bits.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        let n = u32::try_from(items.len()).expect("a permutation is of fewer than 2^32 numbers");
        for last in (1..n).rev() {
            items.swap(last as usize, self.below(last + 1) as usize);
        }
    }

    /// `random.shuffle(list(range(n)))`.
    ///
    /// # Panics
    /// If `n` does not fit 32 bits.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(n).expect("a permutation is of fewer than 2^32 numbers")).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::assert_permutations;
    use super::*;

    #[test]
    fn shuffles_are_cpython_s() {
        assert_permutations("shuffle", |seed, n| PythonRng::seed(seed).permutation(n));
    }
}
