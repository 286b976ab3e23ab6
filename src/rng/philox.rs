//! Philox4x32-10: a counter and a key give four random words, with no state between calls.
//!
//! Reads a 128-bit counter and a 64-bit key as 32-bit words, lowest word first; writes `[4]` words for one counter and
//! `[4 · counters]` for a range of them. Integers only, so that every device makes the same words. Source: Salmon,
//! Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), and its Random123 library.

use crate::engine::simd::vectorized;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Counters that [`fill`] works on side by side: two AVX2 or one AVX-512 register a word.
const LANES: usize = 16;

/// Words that [`fill_by_word`] orders together.
pub const BLOCK_BY_WORD: usize = 4 * LANES;

/// The four words of one counter.
pub fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    rounds(counter.map(|word| [word.into()]), key).map(|[word]| word as u32)
}

/// The words of the counters (`first`, `stream`), (`first + 1`, `stream`), …, each 64-bit half lowest word first.
///
/// # Shapes
/// `out [4 · counters]`, four words a counter; a last counter may be cut short.
pub fn fill(key: [u32; 2], stream: [u32; 2], first: u64, out: &mut [u32]) {
    vectorized!({
        for (chunk, words) in out.chunks_mut(4 * LANES).enumerate() {
            let word_wi = rounds(counters(first.wrapping_add((chunk * LANES) as u64), stream), key);
            for (at, word) in words.iter_mut().enumerate() {
                *word = word_wi[at % 4][at / 4] as u32;
            }
        }
    });
}

/// The same words in an order that needs no shuffling: of each 16 counters first all first words, then all second ones, and so on.
///
/// # Shapes
/// `out [n]`, n a multiple of [`BLOCK_BY_WORD`].
pub fn fill_by_word(key: [u32; 2], stream: [u32; 2], first: u64, out: &mut [u32]) {
    vectorized!({
        for (chunk, words) in out.as_chunks_mut::<BLOCK_BY_WORD>().0.iter_mut().enumerate() {
            let word_wi = rounds(counters(first.wrapping_add((chunk * LANES) as u64), stream), key);
            for (words, word_i) in words.as_chunks_mut::<LANES>().0.iter_mut().zip(&word_wi) {
                for (word, wide) in words.iter_mut().zip(word_i) {
                    *word = *wide as u32;
                }
            }
        }
    });
}

/// [`LANES`] counters in a row, `[word, counter]`.
#[inline(always)]
fn counters(first: u64, stream: [u32; 2]) -> [[u64; LANES]; 4] {
    let (mut low, mut high) = ([0; LANES], [0; LANES]);
    for i in 0..LANES {
        low[i] = first.wrapping_add(i as u64);
        high[i] = low[i] >> 32;
    }
    [low, high, [stream[0].into(); LANES], [stream[1].into(); LANES]]
}

/// Ten rounds over `L` counters at once, `[word, counter]` in and out. Words are the lower halves of 64-bit numbers, which is where a
/// vector unit multiplies them; what stands in the upper halves does not count.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "four arrays in step: this is the form that vectorises")]
fn rounds<const L: usize>(mut c: [[u64; L]; 4], mut key: [u32; 2]) -> [[u64; L]; 4] {
    const LOW: u64 = u32::MAX as u64;
    for _ in 0..ROUNDS {
        for i in 0..L {
            let product_0 = u64::from(MULTIPLIERS[0]) * (c[0][i] & LOW);
            let product_1 = u64::from(MULTIPLIERS[1]) * (c[2][i] & LOW);
            c[0][i] = (product_1 >> 32) ^ c[1][i] ^ u64::from(key[0]);
            c[1][i] = product_1;
            c[2][i] = (product_0 >> 32) ^ c[3][i] ^ u64::from(key[1]);
            c[3][i] = product_0;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's known-answer file `kat_vectors`, the three lines `philox4x32 10`: counter, key, answer.
    const KNOWN: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ];

    #[test]
    fn known_answers_of_random123() {
        for (counter, key, answer) in KNOWN {
            assert_eq!(block(counter, key), answer, "counter {counter:08x?}, key {key:08x?}");
        }
    }

    #[test]
    fn words_by_word_are_the_same_in_another_order() {
        let (key, stream, first) = ([7, 8], [9, 10], (1 << 32) - 5);
        let (mut plain, mut by_word) = ([0; 128], [0; 128]);
        fill(key, stream, first, &mut plain);
        fill_by_word(key, stream, first, &mut by_word);
        for (at, word) in by_word.into_iter().enumerate() {
            let (block, word_of, counter) = (at / 64, at % 64 / 16, at % 16);
            assert_eq!(word, plain[64 * block + 4 * counter + word_of], "word {at}");
        }
    }

    #[test]
    fn a_filled_range_is_its_counters_one_by_one() {
        let (key, stream) = ([7, 8], [9, 10]);
        // The carry into the second word, and the wrap of both, fall inside the range.
        for first in [0, (1 << 32) - 5, u64::MAX - 20] {
            for len in [0, 1, 4, 63, 64, 65, 200] {
                let mut out = vec![0; len];
                fill(key, stream, first, &mut out);
                for (at, &word) in out.iter().enumerate() {
                    let n = first.wrapping_add(at as u64 / 4);
                    let one = block([n as u32, (n >> 32) as u32, stream[0], stream[1]], key);
                    assert_eq!(word, one[at % 4], "word {at} of {len} from counter {first}");
                }
            }
        }
    }
}
