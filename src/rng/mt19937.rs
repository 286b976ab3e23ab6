//! MT19937, the Mersenne Twister of PyTorch's and CPython's CPU generators.
//!
//! Reads a seed, or a key of words; writes 32-bit words. It serves only to repeat what was made elsewhere: phaselab's own numbers are
//! [`Rng`](super::Rng)'s. Source: Matsumoto and Nishimura, "Mersenne Twister" (1998), and its `mt19937ar` of 2002.

/// Words of the state.
const N: usize = 624;
/// Distance of the word that each new one is mixed with.
const M: usize = 397;

/// The generator: its words, and how many of them have been given since they were made.
#[derive(Debug, Clone)]
pub struct Mt19937 {
    state: [u32; N],
    given: usize,
}

impl Mt19937 {
    /// `init_genrand`: from one word.
    pub fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; N];
        for i in 1..N {
            let last = state[i - 1];
            state[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Mt19937 { state, given: N }
    }

    /// `init_by_array`: from a key of at least one word; an empty key counts as `[0]`.
    pub fn from_key(key: &[u32]) -> Mt19937 {
        let key = if key.is_empty() { &[0] } else { key };
        let mut state = Mt19937::new(19_650_218).state;
        let mut i = 1;
        let mut step = |state: &mut [u32; N], factor: u32, change: &dyn Fn(u32, usize) -> u32| {
            let last = state[i - 1];
            state[i] = change(state[i] ^ (last ^ (last >> 30)).wrapping_mul(factor), i);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        };
        for k in 0..N.max(key.len()) {
            let j = k % key.len();
            step(&mut state, 1_664_525, &|word, _| word.wrapping_add(key[j]).wrapping_add(j as u32));
        }
        for _ in 1..N {
            step(&mut state, 1_566_083_941, &|word, i| word.wrapping_sub(i as u32));
        }
        state[0] = 1 << 31;
        Mt19937 { state, given: N }
    }

    /// The next word.
    pub fn next_u32(&mut self) -> u32 {
        if self.given == N {
            self.renew();
        }
        let mut word = self.state[self.given];
        self.given += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for i in 0..N {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if mixed % 2 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (mixed >> 1) ^ twist;
        }
        self.given = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C++ standard ([rand.predef]): the 10,000th word of a default `std::mt19937`, whose seed is 5489, is 4123659995.
    #[test]
    fn the_ten_thousandth_word_is_the_standard_s() {
        let mut words = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| words.next_u32()).last(), Some(4_123_659_995));
    }

    /// The first line of `mt19937ar.out`, the published output for the key {0x123, 0x234, 0x345, 0x456}.
    #[test]
    fn a_key_gives_the_published_words() {
        let mut words = Mt19937::from_key(&[0x123, 0x234, 0x345, 0x456]);
        let found: [u32; 5] = std::array::from_fn(|_| words.next_u32());
        assert_eq!(found, [1_067_595_299, 955_945_823, 477_289_528, 4_107_218_783, 4_228_976_476]);
        // A key longer than the state, and none, are keys too.
        assert_ne!(Mt19937::from_key(&[1; 700]).next_u32(), Mt19937::from_key(&[1; 701]).next_u32());
        assert_eq!(Mt19937::from_key(&[]).next_u32(), Mt19937::from_key(&[0]).next_u32());
    }
}
