//! Finite groups as tables: by name, or from rows that are checked to be a group.
//!
//! Reads a name such as `S5` or `Z2xZ4`, or rows of numbers; writes a [`GroupTable`], or what is wrong in words. Element 0 of a named group
//! is its identity.

/// Elements that a group may have.
const MAX_ORDER: usize = 1024;

/// What a wrong name is answered with.
const KNOWN: &str = "known: Z7 (or C7), D5, S3 to S6, A3 to A6, Q8, and products such as Z2xZ4";

/// A finite group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupTable {
    /// `[n]`: how each element is written.
    pub words: Vec<String>,
    /// `[n, n]`: at (a, b) the element a b.
    pub product: Vec<u32>,
}

/// One factor of a group's name.
#[derive(Debug, Clone, Copy)]
enum Factor {
    Cyclic(usize),
    Dihedral(usize),
    Symmetric(usize),
    Alternating(usize),
    Quaternion,
}

impl Factor {
    fn parse(name: &str) -> Option<Factor> {
        let digits = name.get(1..).filter(|rest| rest.starts_with(|c: char| ('1'..='9').contains(&c)))?;
        let number: usize = digits.parse().ok()?;
        match (name.as_bytes()[0], number) {
            (b'Z' | b'C', _) => Some(Factor::Cyclic(number)),
            (b'D', _) => Some(Factor::Dihedral(number)),
            (b'S', 3..=6) => Some(Factor::Symmetric(number)),
            (b'A', 3..=6) => Some(Factor::Alternating(number)),
            (b'Q', 8) => Some(Factor::Quaternion),
            _ => None,
        }
    }

    fn order(self) -> usize {
        match self {
            Factor::Cyclic(n) => n,
            Factor::Dihedral(n) => n.saturating_mul(2),
            Factor::Symmetric(n) => (1..=n).product(),
            Factor::Alternating(n) => (3..=n).product(),
            Factor::Quaternion => 8,
        }
    }

    fn table(self) -> GroupTable {
        match self {
            Factor::Cyclic(n) => GroupTable::of((0..n).map(|a| a.to_string()).collect(), |a, b| (a + b) % n),
            Factor::Dihedral(n) => dihedral(n),
            Factor::Symmetric(n) => permutation_group(&permutations(n)),
            Factor::Alternating(n) => {
                let even: Vec<Vec<usize>> = permutations(n).into_iter().filter(|list| is_even(list)).collect();
                permutation_group(&even)
            }
            Factor::Quaternion => quaternion(),
        }
    }
}

impl GroupTable {
    fn of(words: Vec<String>, product: impl Fn(usize, usize) -> usize) -> GroupTable {
        let n = words.len();
        let product = (0..n * n).map(|pair| product(pair / n, pair % n) as u32).collect();
        GroupTable { words, product }
    }

    /// The group of a name.
    ///
    /// # Errors
    /// What is wrong with the name, in words.
    pub(super) fn named(name: &str) -> Result<GroupTable, String> {
        let factor = |part| Factor::parse(part).ok_or_else(|| format!("there is no group `{part}`; {KNOWN}"));
        let factors = name.split('x').map(factor).collect::<Result<Vec<Factor>, String>>()?;
        let order = factors.iter().fold(1, |order: usize, factor| order.saturating_mul(factor.order()));
        if !(2..=MAX_ORDER).contains(&order) {
            return Err(format!("{name} has too {} elements", if order < 2 { "few" } else { "many" })
                + &format!("; it must have 2 to {MAX_ORDER}"));
        }
        let tables = factors.into_iter().map(Factor::table);
        Ok(tables.reduce(|left, right| left.times(&right)).expect("invariant: a split text has a first part"))
    }

    /// The group of a table, whose elements are written as their numbers.
    ///
    /// # Errors
    /// All that is wrong with the rows, in words.
    pub(super) fn of_rows(rows: &[Vec<u32>]) -> Result<GroupTable, Vec<String>> {
        let n = rows.len();
        if !(2..=MAX_ORDER).contains(&n) {
            return Err(vec![format!("has {n} rows; it must have 2 to {MAX_ORDER}")]);
        }
        let ragged = (0..n).filter(|&a| rows[a].len() != n);
        let not_square =
            |a: usize| format!("row {a} has {} entries, as against {n} rows; it must be square", rows[a].len());
        let outside =
            (0..n).flat_map(|a| (0..rows[a].len()).map(move |b| (a, b))).filter(|&(a, b)| rows[a][b] as usize >= n);
        let out_of_range = |(a, b): (usize, usize)| {
            format!("row {a}, column {b} (from 0): {} is out of range; it must be 0 to {}", rows[a][b], n - 1)
        };
        let faults = first(ragged.map(not_square)).into_iter().chain(first(outside.map(out_of_range)));
        let faults: Vec<String> = faults.collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let table = GroupTable { words: super::rule::numbers(n), product: rows.concat() };
        let faults = table.broken_axioms();
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    /// How many elements there are.
    pub(super) fn order(&self) -> usize {
        self.words.len()
    }

    /// The element a b.
    pub(super) fn times_at(&self, a: usize, b: usize) -> usize {
        self.product[a * self.order() + b] as usize
    }

    /// The pairs of elements of two groups, the first one major.
    fn times(&self, other: &GroupTable) -> GroupTable {
        let n = other.order();
        let pairs = self.words.iter().flat_map(|left| other.words.iter().map(move |right| format!("{left},{right}")));
        let product = |a: usize, b: usize| self.times_at(a / n, b / n) * n + other.times_at(a % n, b % n);
        GroupTable::of(pairs.collect(), product)
    }

    fn identity(&self) -> Option<usize> {
        let n = self.order();
        (0..n).find(|&e| (0..n).all(|a| self.times_at(e, a) == a && self.times_at(a, e) == a))
    }

    /// The element b with a b = b a = e.
    fn inverse(&self, a: usize, e: usize) -> Option<usize> {
        (0..self.order()).find(|&b| self.times_at(a, b) == e && self.times_at(b, a) == e)
    }

    /// The classes {g a g^-1 : g}, each ascending, in order of their first elements.
    pub(super) fn conjugacy_classes(&self) -> Vec<Vec<u32>> {
        let (n, e) = (self.order(), self.identity().expect("invariant: a group has an identity"));
        let inverse = |g| self.inverse(g, e).expect("invariant: each element of a group has an inverse");
        let inverses: Vec<usize> = (0..n).map(inverse).collect();
        let (mut placed, mut classes) = (vec![false; n], vec![]);
        for a in 0..n {
            if placed[a] {
                continue;
            }
            let mut class: Vec<u32> = (0..n).map(|g| self.times_at(self.times_at(g, a), inverses[g]) as u32).collect();
            class.sort_unstable();
            class.dedup();
            class.iter().for_each(|&member| placed[member as usize] = true);
            classes.push(class);
        }
        classes
    }

    /// What keeps a square table from being a group.
    fn broken_axioms(&self) -> Vec<String> {
        let mut faults = vec![];
        match self.identity() {
            Some(e) => {
                let without = (0..self.order()).filter(|&a| self.inverse(a, e).is_none());
                let message = |a| format!("not a group: element {a} has no inverse, no b with {a} b = b {a} = {e}");
                faults.extend(first(without.map(message)));
            }
            None => faults.push("not a group: no identity, no element e with e a = a e = a for all a".to_owned()),
        }
        faults.extend(self.not_associative().map(|(a, b, c)| {
            let (ab, bc) = (self.times_at(a, b), self.times_at(b, c));
            let (left, right) = (self.times_at(ab, c), self.times_at(a, bc));
            format!("not associative: ({a} {b}) {c} = {ab} {c} = {left}, but {a} ({b} {c}) = {a} {bc} = {right}")
        }));
        faults
    }

    /// Elements a, b, c with (a b) c ≠ a (b c), if there are any.
    ///
    /// Light's test: the b for which all (a b) c = a (b c) are closed under products, so that generators are all to look at.
    fn not_associative(&self) -> Option<(usize, usize, usize)> {
        let n = self.order();
        let differs = |a, b, c| self.times_at(self.times_at(a, b), c) != self.times_at(a, self.times_at(b, c));
        let triples = |b| (0..n * n).map(move |pair| (pair / n, b, pair % n));
        self.generators().into_iter().flat_map(triples).find(|&(a, b, c)| differs(a, b, c))
    }

    /// Elements whose products, in any order and with any brackets, are all elements.
    fn generators(&self) -> Vec<usize> {
        let n = self.order();
        let (mut generators, mut reached, mut found, mut done) = (vec![], vec![false; n], vec![], 0);
        for element in 0..n {
            if reached[element] {
                continue;
            }
            generators.push(element);
            reached[element] = true;
            found.push(element);
            // The products of any two of found[..done] are found already.
            while done < found.len() {
                for other in 0..=done {
                    let (a, b) = (found[done], found[other]);
                    for product in [self.times_at(a, b), self.times_at(b, a)] {
                        if !std::mem::replace(&mut reached[product], true) {
                            found.push(product);
                        }
                    }
                }
                done += 1;
            }
        }
        generators
    }
}

/// The first of several messages, with how many more there are.
fn first(mut messages: impl Iterator<Item = String>) -> Option<String> {
    let message = messages.next()?;
    Some(match messages.count() {
        0 => message,
        more => format!("{message} (and {more} more like it)"),
    })
}

/// The symmetries of a polygon with n corners: n rotations r^k, then n reflections s r^k, where r s = s r^-1.
fn dihedral(n: usize) -> GroupTable {
    let words = (0..2 * n).map(|a| if a < n { format!("r{a}") } else { format!("sr{}", a - n) });
    GroupTable::of(words.collect(), |a, b| {
        let (i, j) = (a % n, b % n);
        match (a < n, b < n) {
            (true, true) => (i + j) % n,
            (false, true) => n + (i + j) % n,
            (true, false) => n + (j + n - i) % n,
            (false, false) => (j + n - i) % n,
        }
    })
}

/// 1, i, j, k and their negatives, of which i j = k, j k = i, k i = j and i i = j j = k k = -1.
fn quaternion() -> GroupTable {
    let words = ["1", "-1", "i", "-i", "j", "-j", "k", "-k"].map(str::to_owned);
    GroupTable::of(words.to_vec(), |a, b| {
        let (x, y) = (a / 2, b / 2);
        let (unit, negative) = match (x, y) {
            (0, other) | (other, 0) => (other, 0),
            _ if x == y => (0, 1),
            // Of three units the third one is 6 minus the others; its sign is + in the order i, j, k, i.
            _ => (6 - x - y, usize::from(x % 3 + 1 != y)),
        };
        2 * unit + (negative + a + b) % 2
    })
}

/// All orders of 0 … n − 1, in lexicographic order.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    let longer = |lists: Vec<Vec<usize>>, _| {
        let extend = |list: &Vec<usize>| {
            let free = (0..n).filter(|item| !list.contains(item));
            free.map(|item| [&list[..], &[item]].concat()).collect::<Vec<_>>()
        };
        lists.iter().flat_map(extend).collect()
    };
    (0..n).fold(vec![vec![]], longer)
}

fn is_even(list: &[usize]) -> bool {
    let pairs = (0..list.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.filter(|&(i, j)| list[i] > list[j]).count() % 2 == 0
}

/// The group of permutations in one-line notation, which are closed under composition: a b sends i to a(b(i)).
fn permutation_group(lists: &[Vec<usize>]) -> GroupTable {
    let n = lists[0].len();
    let words = lists.iter().map(|list| list.iter().map(usize::to_string).collect());
    let code = |items: &mut dyn Iterator<Item = usize>| items.fold(0, |code, item| code * n + item);
    let mut number = vec![0; n.pow(n as u32)];
    for (i, list) in lists.iter().enumerate() {
        number[code(&mut list.iter().copied())] = i;
    }
    let compose = |a: usize, b: usize| number[code(&mut lists[b].iter().map(|&item| lists[a][item]))];
    GroupTable::of(words.collect(), compose)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Order and number of conjugacy classes, as in any table of small groups.
    const KNOWN_GROUPS: [(&str, usize, usize); 20] = [
        ("Z7", 7, 7),
        ("C12", 12, 12),
        ("D1", 2, 2),
        ("D2", 4, 4),
        ("D4", 8, 5),
        ("D5", 10, 4),
        ("D6", 12, 6),
        ("S3", 6, 3),
        ("S4", 24, 5),
        ("S5", 120, 7),
        ("S6", 720, 11),
        ("A3", 3, 3),
        ("A4", 12, 4),
        ("A5", 60, 5),
        ("A6", 360, 7),
        ("Q8", 8, 5),
        ("Z2xZ4", 8, 8),
        ("S3xZ2", 12, 6),
        ("Z2xZ2xZ2", 8, 8),
        ("A4xZ5", 60, 20),
    ];

    /// All axioms by brute force, the identity being element 0.
    fn assert_group(name: &str, product: &[u32], n: usize) {
        let at = |a: usize, b: usize| product[a * n + b] as usize;
        for a in 0..n {
            assert_eq!((at(0, a), at(a, 0)), (a, a), "{name}");
            assert!((0..n).any(|b| at(a, b) == 0 && at(b, a) == 0), "{name}: {a} has no inverse");
            for b in 0..n {
                let ab = at(a, b);
                assert!(ab < n && (0..n).all(|c| at(ab, c) == at(a, at(b, c))), "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn every_named_group_is_one_with_its_order_and_classes() {
        for (name, order, classes) in KNOWN_GROUPS {
            let table = GroupTable::named(name).unwrap();
            assert_eq!((table.order(), table.product.len()), (order, order * order), "{name}");
            assert_group(name, &table.product, order);
            let found = table.conjugacy_classes();
            assert_eq!(found.len(), classes, "{name}");
            assert_eq!(found[0], [0], "{name}");
            let mut members = found.concat();
            members.sort_unstable();
            assert!(members.into_iter().eq(0..order as u32), "{name}");
            let mut words = table.words;
            words.sort();
            words.dedup();
            assert_eq!(words.len(), order, "{name}");
        }
        let sizes: Vec<usize> = GroupTable::named("S5").unwrap().conjugacy_classes().iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 120);
        assert!([1, 10, 15, 20, 20, 24, 30].into_iter().all(|size| sizes.contains(&size)), "{sizes:?}");
    }

    #[test]
    fn a_group_survives_as_rows_and_a_changed_entry_does_not() {
        for (name, order, _) in KNOWN_GROUPS.into_iter().filter(|&(_, order, _)| order <= 60) {
            let product = GroupTable::named(name).unwrap().product;
            let rows: Vec<Vec<u32>> = product.chunks(order).map(<[u32]>::to_vec).collect();
            assert_eq!(GroupTable::of_rows(&rows).unwrap().product, product, "{name}");
            for pair in 0..order * order {
                let mut broken = rows.clone();
                broken[pair / order][pair % order] = (broken[pair / order][pair % order] + 1) % order as u32;
                // The rows of a group hold each element once, which one changed entry breaks.
                assert!(GroupTable::of_rows(&broken).is_err(), "{name} {pair}");
            }
        }
    }

    /// On every table of two and three elements Light's test finds a triple where looking at all of them does, and a true one.
    #[test]
    fn what_is_not_associative_is_found_by_generators_alone() {
        for n in [2, 3_usize] {
            for code in 0..n.pow((n * n) as u32) {
                let product: Vec<u32> = (0..n * n).map(|i| (code / n.pow(i as u32) % n) as u32).collect();
                let table = GroupTable { words: super::super::rule::numbers(n), product };
                let at = |a, b| table.times_at(a, b);
                let differs = |(a, b, c)| at(at(a, b), c) != at(a, at(b, c));
                let any = (0..n * n * n).any(|i| differs((i / n / n, i / n % n, i % n)));
                let found = table.not_associative();
                assert_eq!(found.is_some(), any, "{:?}", table.product);
                assert!(found.is_none_or(differs), "{:?}", table.product);
            }
        }
    }

    #[test]
    fn wrong_names_say_what_is_known() {
        for name in ["", "X7", "S7", "A2", "Q16", "Z0", "Z07", "Z+7", "Z", "Z2x", "z7", "Zé", "é7"] {
            let bad = name.split('x').find(|part| Factor::parse(part).is_none()).unwrap();
            assert_eq!(GroupTable::named(name), Err(format!("there is no group `{bad}`; {KNOWN}")));
        }
        for (name, amount) in [("Z1", "few"), ("Z1025", "many"), ("D513", "many"), ("S6xS6xS6xS6xS6xS6xS6xS6", "many")]
        {
            assert_eq!(
                GroupTable::named(name),
                Err(format!("{name} has too {amount} elements; it must have 2 to 1024"))
            );
        }
        assert_eq!(GroupTable::named("Z1024").unwrap().order(), 1024);
    }
}
