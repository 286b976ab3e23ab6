//! Features of examples, tile by tile, as functions of (seed, stream, step, example): fresh at every step, or a fixed set of points.
//!
//! A feature takes one random word: present where the word lies below its chance times 2³², and then word over limit is its uniform
//! number, which becomes a value. Sets, one-hot examples and normal values take words of their own. The words of one feature lie together
//! over the examples of a batch, so that a tile is filled lane by lane; a tile does not depend on what other tiles are asked for.

use super::targets::Targets;
use crate::engine::Real;
use crate::engine::simd::vectorized;
use crate::engine::tiny::{TILE, Tile};
use crate::rng::Rng;
use crate::spec::{Sets, ToyReplica, ToySpec, Values};

/// The words of one batch after another.
#[derive(Debug, Clone)]
pub struct Stream {
    rng: Rng,
}

impl Stream {
    /// Examples of training.
    pub fn training(seed: u64) -> Stream {
        Stream { rng: Rng::stream(seed, "toy/examples") }
    }

    /// Examples of evaluations.
    pub fn evaluation(seed: u64) -> Stream {
        Stream { rng: Rng::stream(seed, "toy/evaluation") }
    }

    /// Fixed examples.
    pub fn points(seed: u64) -> Stream {
        Stream { rng: Rng::stream(seed, "toy/points") }
    }

    /// What dropout drops.
    pub fn dropout(seed: u64) -> Stream {
        Stream { rng: Rng::stream(seed, "toy/dropout") }
    }
}

/// How the examples of one replica are drawn.
#[derive(Debug, Clone)]
pub struct Examples {
    n: usize,
    prob_n: Vec<f64>,
    values: Values,
    sets: Sets,
    set_size: usize,
    unit_norm: bool,
    targets: Targets,
}

/// Words that are drawn together.
const WORDS: usize = crate::rng::philox::BLOCK_BY_WORD;

/// Words of an example beside one for each feature: of sets, or of which feature is present.
fn extra_words(sets: Sets, n: usize, set_size: usize) -> usize {
    match sets {
        Sets::None | Sets::Hierarchical => 0,
        Sets::Correlated | Sets::Anticorrelated => n / set_size,
        Sets::OneHot | Sets::Ring => 1,
    }
}

/// One batch: its number, and how many examples it has.
#[derive(Debug, Clone, Copy)]
pub struct BatchAt {
    /// Batches before it.
    pub number: u64,
    /// Its examples.
    pub examples: usize,
}

impl Examples {
    /// The examples of a replica.
    pub fn new(spec: &ToySpec, replica: &ToyReplica) -> Examples {
        Examples {
            n: spec.n_features,
            prob_n: replica.feature_prob.clone(),
            values: spec.values.clone(),
            sets: spec.sets,
            set_size: spec.set_size.max(1),
            unit_norm: spec.unit_norm,
            targets: Targets::new(spec, replica.seed),
        }
    }

    /// Words that an example takes.
    fn words(&self) -> usize {
        let of_values = if self.values == Values::Gaussian { 2 * self.n } else { self.n };
        of_values + extra_words(self.sets, self.n, self.set_size)
    }

    /// Fills `x` `[n, lanes]` with the examples from `first` on of a batch; lanes beyond it hold further examples.
    pub fn fill<T: Real>(&self, stream: &Stream, at: BatchAt, first: usize, lanes: usize, x: &mut [T]) {
        self.fill_once(stream, at, first, lanes, x, 0);
        if !self.unit_norm {
            return;
        }
        // An example without any feature is drawn again, as often as it takes.
        let mut again = vec![T::ZERO; x.len()];
        for tries in 1..=MAX_TRIES {
            let squares = squares(x, lanes);
            if squares[..lanes].iter().all(|square| *square != T::ZERO) {
                break;
            }
            self.fill_once(stream, at, first, lanes, &mut again, tries);
            for b in (0..lanes).filter(|&b| squares[b] == T::ZERO) {
                (b..x.len()).step_by(lanes).for_each(|i| x[i] = again[i]);
            }
        }
        let factors = squares(x, lanes).map(|square| if square > T::ZERO { T::ONE / square.sqrt() } else { T::ONE });
        for row in x.chunks_exact_mut(lanes) {
            row.iter_mut().zip(&factors).for_each(|(x, factor)| *x *= *factor);
        }
    }

    /// The examples of the first batch of a stream, one after another: what a run's evaluations and fixed points are.
    ///
    /// # Shapes
    /// `[examples, n]`
    pub fn rows(&self, stream: &Stream, examples: usize) -> Vec<f64> {
        let at = BatchAt { number: 0, examples };
        let mut rows = Vec::with_capacity(examples * self.n);
        for first in (0..examples).step_by(TILE) {
            let lanes = Tile::<f64>::lanes(examples - first);
            let mut x = vec![0.0; self.n * lanes];
            self.fill(stream, at, first, lanes, &mut x);
            for b in 0..lanes.min(examples - first) {
                rows.extend(x.iter().skip(b).step_by(lanes));
            }
        }
        rows
    }

    /// Fixed examples as the engine reads them: tiles of features and of targets, one after another. Tiles before the last are whole.
    ///
    /// # Shapes
    /// `[n, lanes]` and `[outputs, lanes]` each
    pub fn tiles<T: Real>(&self, stream: &Stream, examples: usize) -> (Vec<T>, Vec<T>) {
        let at = BatchAt { number: 0, examples };
        let (mut x, mut y) = (vec![], vec![]);
        for first in (0..examples).step_by(TILE) {
            let lanes = Tile::<T>::lanes(examples - first);
            let (x_at, y_at) = (x.len(), y.len());
            x.resize(x_at + self.n * lanes, T::ZERO);
            y.resize(y_at + self.targets.n_outputs * lanes, T::ZERO);
            self.fill(stream, at, first, lanes, &mut x[x_at..]);
            self.targets(&x[x_at..], lanes, &mut y[y_at..]);
        }
        (x, y)
    }

    fn fill_once<T: Real>(&self, stream: &Stream, at: BatchAt, first: usize, lanes: usize, x: &mut [T], tries: u64) {
        // Whole blocks of words a feature, so that every row starts at one.
        let room = at.examples.next_multiple_of(TILE) as u64;
        let of_batch = self.words() as u64 * room;
        let mut rng = if tries == 0 { stream.rng.clone() } else { stream.rng.substream(tries) };
        let mut words = [0u32; TILE];
        let mut row = |i: usize, words: &mut [u32; TILE]| {
            rng.seek(at.number * of_batch + i as u64 * room + first as u64);
            rng.fill_by_word(&mut words[..lanes.next_multiple_of(WORDS)]);
        };
        let normal = self.values == Values::Gaussian;
        let mut more = [0u32; TILE];
        for (i, x) in x.chunks_exact_mut(lanes).enumerate() {
            row(i, &mut words);
            let limit = match self.sets {
                // Presence is decided elsewhere.
                Sets::Correlated | Sets::Anticorrelated | Sets::OneHot | Sets::Ring => 1u64 << 32,
                Sets::None | Sets::Hierarchical => limit(self.prob_n[i]),
            };
            match &self.values {
                Values::Uniform(low, high) => vectorized!(uniform(x, &words, limit, (*low, *high))),
                Values::OneOf(list) => one_of(x, &words, limit, list),
                Values::Gaussian => {
                    row(self.n + i, &mut more);
                    gaussian(x, &words, &more, limit);
                }
            }
        }
        let extra = if normal { 2 * self.n } else { self.n };
        match self.sets {
            Sets::None => {}
            Sets::Hierarchical => {
                for set in x.chunks_exact_mut(self.set_size * lanes) {
                    let (parent, children) = set.split_at_mut(lanes);
                    for child in children.chunks_exact_mut(lanes) {
                        child.iter_mut().zip(&*parent).for_each(|(x, p)| {
                            if *p == T::ZERO {
                                *x = T::ZERO
                            }
                        });
                    }
                }
            }
            Sets::Correlated | Sets::Anticorrelated => {
                for (s, set) in x.chunks_exact_mut(self.set_size * lanes).enumerate() {
                    row(extra + s, &mut words);
                    let limit = limit(self.prob_n[s * self.set_size]);
                    for (b, &word) in words[..lanes].iter().enumerate() {
                        let present = u64::from(word) < limit;
                        // Given that the set is there, the word is uniform below the limit: it says which feature.
                        let which = match present {
                            true => (u128::from(word) * self.set_size as u128 / u128::from(limit)) as usize,
                            false => 0,
                        };
                        for f in 0..self.set_size {
                            let stays = present && (self.sets == Sets::Correlated || f == which);
                            if !stays {
                                set[f * lanes + b] = T::ZERO;
                            }
                        }
                    }
                }
            }
            Sets::OneHot => {
                row(extra, &mut words);
                for (b, &word) in words[..lanes].iter().enumerate() {
                    let which = ((u64::from(word) * self.n as u64) >> 32) as usize;
                    for i in (0..self.n).filter(|&i| i != which) {
                        x[i * lanes + b] = T::ZERO;
                    }
                }
            }
            Sets::Ring => {
                row(extra, &mut words);
                let (n, reach) = (self.n as f64, self.set_size as f64);
                for (b, &word) in words[..lanes].iter().enumerate() {
                    let place = f64::from(word) / 2f64.powi(32) * n;
                    let value = x[(place.round() as usize % self.n) * lanes + b].to_f64();
                    for i in 0..self.n {
                        let apart = (place - i as f64).abs();
                        let height = (1.0 - apart.min(n - apart) / reach).max(0.0);
                        x[i * lanes + b] = T::from_f64(value * height);
                    }
                }
            }
        }
    }

    /// What the outputs `y` `[outputs, lanes]` of examples `x` `[n, lanes]` are compared with.
    pub fn targets<T: Real>(&self, x: &[T], lanes: usize, y: &mut [T]) {
        self.targets.of(x, lanes, y);
    }

    /// The same for examples one after another.
    ///
    /// # Shapes
    /// `x_bn` `[b, n]` -> `[b, outputs]`
    pub fn targets_of_rows(&self, x_bn: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.targets.n_outputs];
        let targets = |x_n: &[f64]| {
            self.targets(x_n, 1, &mut y);
            y.clone()
        };
        x_bn.chunks_exact(self.n).flat_map(targets).collect()
    }

    /// Factors of dropout of a hidden layer `[width, lanes]`, whose first row is row `row_at` of the batch's.
    pub fn keep<T: Real>(
        stream: &Stream,
        (at, rows, row_at): (BatchAt, usize, usize),
        (first, lanes): (usize, usize),
        share: f64,
        keep: &mut [T],
    ) {
        let room = at.examples.next_multiple_of(TILE) as u64;
        let (limit, kept) = (limit(share), T::from_f64(1.0 / (1.0 - share)));
        let (mut rng, mut words) = (stream.rng.clone(), [0u32; TILE]);
        for (i, keep) in keep.chunks_exact_mut(lanes).enumerate() {
            rng.seek((at.number * rows as u64 + (row_at + i) as u64) * room + first as u64);
            rng.fill_by_word(&mut words[..lanes.next_multiple_of(WORDS)]);
            for (keep, &word) in keep.iter_mut().zip(&words) {
                *keep = if u64::from(word) < limit { T::ZERO } else { kept };
            }
        }
    }
}

/// Times that an empty example is drawn again before it is left empty (with chances that leave fewer than 1 in 10 empty, never).
const MAX_TRIES: u64 = 1000;

/// Σ over features of each example's squares.
fn squares<T: Real>(x: &[T], lanes: usize) -> [T; TILE] {
    let mut squares = [T::ZERO; TILE];
    for row in x.chunks_exact(lanes) {
        squares.iter_mut().zip(row).for_each(|(square, x)| *square += *x * *x);
    }
    squares
}

/// Words below it are a feature's.
fn limit(prob: f64) -> u64 {
    (prob * (1u64 << 32) as f64).round() as u64
}

/// low + (high − low) u where the word is below the limit, u = word / limit.
#[inline(always)]
fn uniform<T: Real>(x: &mut [T], words: &[u32], limit: u64, (low, high): (f64, f64)) {
    let scale = T::from_f64((high - low) / (limit.max(1)) as f64);
    let low = T::from_f64(low);
    // Words are signed for the conversion, which vector units have for signed numbers alone.
    let top = limit.saturating_sub(1).min(u64::from(u32::MAX)) as u32;
    let none = limit == 0;
    for (x, &word) in x.iter_mut().zip(words) {
        let value = T::from_word(word).mul_add(scale, low);
        *x = if word <= top && !none { value } else { T::ZERO };
    }
}

fn one_of<T: Real>(x: &mut [T], words: &[u32], limit: u64, list: &[f64]) {
    let list: Vec<T> = list.iter().map(|&x| T::from_f64(x)).collect();
    let per_limit = list.len() as f64 / limit.max(1) as f64;
    for (x, &word) in x.iter_mut().zip(words) {
        let which = (f64::from(word) * per_limit) as usize;
        *x = if u64::from(word) < limit { list[which.min(list.len() - 1)] } else { T::ZERO };
    }
}

/// By Box and Muller's formula, the radius from the word that says that the feature is present.
fn gaussian<T: Real>(x: &mut [T], words: &[u32], more: &[u32], limit: u64) {
    for ((x, &word), &angle) in x.iter_mut().zip(words).zip(more) {
        let u = (f64::from(word) + 0.5) / limit.max(1) as f64;
        let angle = std::f64::consts::TAU * f64::from(angle) / (1u64 << 32) as f64;
        let normal = libm::sqrt(-2.0 * libm::log(u)) * libm::cos(angle);
        *x = if u64::from(word) < limit { T::from_f64(normal) } else { T::ZERO };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::PerFeature;

    /// Examples of six features, `[n, examples]`, of one batch.
    fn drawn(spec: &ToySpec, examples: usize) -> Vec<Vec<f64>> {
        let replica = &spec.replicas(&[3]).unwrap()[0];
        let (rule, stream) = (Examples::new(spec, replica), Stream::training(3));
        let at = BatchAt { number: 2, examples };
        let mut out = vec![vec![]; spec.n_features];
        for first in (0..examples).step_by(TILE) {
            let lanes = TILE.min(examples - first).next_multiple_of(32);
            let mut x = vec![0.0f64; spec.n_features * lanes];
            rule.fill(&stream, at, first, lanes, &mut x);
            for (out, x) in out.iter_mut().zip(x.chunks_exact(lanes)) {
                out.extend(&x[..lanes.min(examples - first)]);
            }
        }
        out
    }

    fn six() -> ToySpec {
        ToySpec { n_features: 6, feature_prob: PerFeature::Number(0.3), ..ToySpec::default() }
    }

    const N: usize = 40_000;

    /// A share within five standard errors.
    fn assert_share(found: usize, of: usize, prob: f64, what: &str) {
        let (share, error) = (found as f64 / of as f64, (prob * (1.0 - prob) / of as f64).sqrt());
        assert!((share - prob).abs() <= 5.0 * error, "{what}: {share}, not {prob}");
    }

    #[test]
    fn presence_and_values_have_their_moments() {
        let list = PerFeature::List(vec![0.0, 0.02, 0.3, 0.5, 0.9, 1.0]);
        // Mean and mean square of a present value.
        let cases = [
            (Values::Uniform(0.0, 1.0), 0.5, 1.0 / 3.0),
            (Values::Uniform(0.5, 1.0), 0.75, 7.0 / 12.0),
            (Values::OneOf(vec![1.0]), 1.0, 1.0),
            (Values::OneOf(vec![1.0, 2.0, 3.0]), 2.0, 14.0 / 3.0),
            (Values::Gaussian, 0.0, 1.0),
        ];
        for (values, mean, square) in cases {
            let spec = ToySpec { values: values.clone(), feature_prob: list.clone(), ..six() };
            let x_ni = drawn(&spec, N);
            for (x_i, prob) in x_ni.iter().zip([0.0, 0.02, 0.3, 0.5, 0.9, 1.0]) {
                let present: Vec<f64> = x_i.iter().copied().filter(|x| *x != 0.0).collect();
                assert_share(present.len(), N, prob, &format!("{values:?}"));
                if present.len() > 500 {
                    let n = present.len() as f64;
                    let found = [1, 2].map(|power| present.iter().map(|x| x.powi(power)).sum::<f64>() / n);
                    let error = 5.0 * (3.0 * square / n).sqrt();
                    assert!(
                        (found[0] - mean).abs() < error && (found[1] - square).abs() < 3.0 * error,
                        "{values:?}: {found:?}"
                    );
                }
            }
            let both = x_ni[2].iter().zip(&x_ni[3]).filter(|(x, y)| **x != 0.0 && **y != 0.0).count();
            assert_share(both, N, 0.15, "features are independent");
        }
    }

    #[test]
    fn sets_come_together_or_apart_or_below_their_first() {
        let count = |x_ni: &[Vec<f64>], which: &dyn Fn(&[bool]) -> bool| {
            (0..N).filter(|&i| which(&x_ni.iter().map(|x_i| x_i[i] != 0.0).collect::<Vec<_>>())).count()
        };
        let of = |sets| drawn(&ToySpec { sets, set_size: 3, ..six() }, N);
        let correlated = of(Sets::Correlated);
        assert_share(count(&correlated, &|on| on[0]), N, 0.3, "correlated");
        assert_eq!(count(&correlated, &|on| on[0] != on[1] || on[1] != on[2] || on[3] != on[5]), 0);
        assert_share(count(&correlated, &|on| on[0] && on[3]), N, 0.09, "sets are independent");
        let apart = of(Sets::Anticorrelated);
        assert_eq!(count(&apart, &|on| on[..3].iter().filter(|on| **on).count() > 1), 0);
        for i in 0..6 {
            assert_share(count(&apart, &|on| on[i]), N, 0.1, "anticorrelated");
        }
        let below = of(Sets::Hierarchical);
        assert_eq!(count(&below, &|on| !on[0] && (on[1] || on[2])), 0);
        assert_share(count(&below, &|on| on[0]), N, 0.3, "first");
        assert_share(count(&below, &|on| on[1]), N, 0.09, "below the first");
        let one = of(Sets::OneHot);
        assert_eq!(count(&one, &|on| on.iter().filter(|on| **on).count() != 1), 0);
        for i in 0..6 {
            assert_share(count(&one, &|on| on[i]), N, 1.0 / 6.0, "one-hot");
        }
    }

    #[test]
    fn unit_examples_have_norm_1_and_are_never_empty() {
        let spec = ToySpec { unit_norm: true, feature_prob: PerFeature::Number(0.02), ..six() };
        let x_ni = drawn(&spec, 1000);
        for i in 0..1000 {
            let square: f64 = x_ni.iter().map(|x_i| x_i[i] * x_i[i]).sum();
            assert!((square - 1.0).abs() < 1e-12, "{square}");
        }
    }

    #[test]
    fn a_tile_is_the_same_whatever_else_is_drawn_and_batches_differ() {
        let spec = six();
        let replica = &spec.replicas(&[3]).unwrap()[0];
        let (rule, stream) = (Examples::new(&spec, replica), Stream::training(3));
        let tile = |number, first| {
            let mut x = vec![0.0f32; 6 * TILE];
            rule.fill(&stream, BatchAt { number, examples: 1024 }, first, TILE, &mut x);
            x
        };
        let all = [tile(0, 0), tile(0, 256), tile(1, 0), tile(1, 256)];
        assert_eq!(tile(1, 0), all[2]);
        for (i, j) in (0..4).flat_map(|i| (0..i).map(move |j| (i, j))) {
            assert_ne!(all[i], all[j]);
        }
    }

    #[test]
    fn a_ring_sees_one_bump_at_any_place() {
        let spec = ToySpec { sets: Sets::Ring, set_size: 2, values: Values::OneOf(vec![1.0]), ..six() };
        let x_ni = drawn(&spec, N);
        let mut mean_place = 0.0;
        for b in 0..N {
            let x: Vec<f64> = x_ni.iter().map(|x_i| x_i[b]).collect();
            // A bump of reach 2 over inputs at distance 1: heights on each side are 1 apart in twice their number, so they add up to 2.
            assert!((x.iter().sum::<f64>() - 2.0).abs() < 1e-9, "{x:?}");
            let first = (0..6).find(|&i| x[(i + 5) % 6] == 0.0 && x[i] > 0.0).unwrap();
            let heights: Vec<f64> = (0..4).map(|i| x[(first + i) % 6]).collect();
            assert!((heights[1] - heights[0] - 0.5).abs() < 1e-9, "{x:?}");
            mean_place += x[0] / N as f64;
        }
        assert!((mean_place - 2.0 / 6.0).abs() < 0.01, "{mean_place}");
    }

    #[test]
    fn dropout_drops_its_share() {
        let at = BatchAt { number: 0, examples: 1024 };
        let mut dropped = 0;
        for first in (0..1024).step_by(TILE) {
            let mut keep = vec![0.0f64; 10 * TILE];
            Examples::keep(&Stream::dropout(1), (at, 10, 0), (first, TILE), 0.2, &mut keep);
            assert!(keep.iter().all(|x| *x == 0.0 || *x == 1.25));
            dropped += keep.iter().filter(|x| **x == 0.0).count();
        }
        assert_share(dropped, 10_240, 0.2, "dropped");
    }
}
