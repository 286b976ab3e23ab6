//! What `tests/fixtures/torch_rng.py` wrote: numbers of PyTorch's and CPython's generators.

const NUMBERS: &str = include_str!("../../tests/fixtures/torch_rng.txt");

/// One line of the file.
pub(super) struct Line {
    kind: &'static str,
    pub seed: u64,
    pub size: usize,
    pub numbers: Vec<&'static str>,
}

/// All lines of a kind, in the file's order.
pub(super) fn lines(kind: &str) -> Vec<Line> {
    let read = |line: &'static str| {
        let (head, numbers) = line.split_once(':').expect("a line has a colon");
        let mut head = head.split(' ');
        let mut word = || head.next().expect("a line begins with kind, seed and size");
        let (kind, seed, size) = (word(), word().parse(), word().parse());
        let numbers = numbers.split_whitespace().collect();
        Line { kind, seed: seed.expect("a seed"), size: size.expect("a size"), numbers }
    };
    let found: Vec<Line> = NUMBERS.lines().map(read).filter(|line| line.kind == kind).collect();
    assert!(!found.is_empty(), "the file has no {kind}");
    found
}

/// Compares permutations of 11 seeds and 22 sizes: all numbers of short ones, the first eight and a checksum of long ones.
pub(super) fn assert_permutations(kind: &str, permutation: impl Fn(u64, usize) -> Vec<u32>) {
    let found = lines(kind);
    assert_eq!(found.len(), 11 * 22);
    for Line { seed, size, numbers, .. } in found {
        let order = permutation(seed, size);
        assert_eq!(order.len(), size);
        let mut shown = order.clone();
        if size > 17 {
            let bytes: Vec<u8> = order.iter().flat_map(|i| i.to_le_bytes()).collect();
            shown.truncate(8);
            shown.push(crc32fast::hash(&bytes));
        }
        let shown: Vec<String> = shown.iter().map(u32::to_string).collect();
        assert_eq!(shown, numbers, "{kind} of {size}, seed {seed}");
    }
}
