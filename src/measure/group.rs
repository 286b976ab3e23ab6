//! The cyclic group over which the waves of a modular task run.
//!
//! Reads the modulus and the operation; writes elements, numbered from 0, and their residues. x + y and x − y mod p run over
//! all residues, element i is residue i. x · y and x / y mod a prime p run over the residues 1 to p − 1, element i is g^i mod p
//! with g the smallest primitive root: a product is then a sum of discrete logarithms, and cos w_k of a sum is a wave again.
//! For − and / the second operand counts as its inverse, so that the answer is always the element a + b.
//! Sources: arXiv 2301.05217; arXiv 2302.03025 for other groups.

use crate::measure::fourier::freq_ticks;
use crate::measure::subject::Setting;
use crate::measure::{Axis, Modular};
use crate::task::Op;

/// A cyclic group on residues mod p.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Number of elements: p, or p − 1 for products.
    pub order: usize,
    /// `[order]` residue of each element.
    pub residues: Vec<usize>,
    /// `[p]` element of each residue.
    elements: Vec<Option<usize>>,
    /// Whether the second operand counts as its inverse.
    inverted: bool,
}

impl Group {
    /// The group of a setting's task.
    ///
    /// # Errors
    /// The reason why there is none, as a clause.
    pub fn of(setting: &Setting) -> Result<Group, String> {
        let modular = setting.examples.modular.ok_or("the task has no modulus")?;
        Group::new(modular.p, modular.op)
    }

    /// The group of an operation mod p; all residues for one that is none of the four.
    ///
    /// # Errors
    /// The reason why there is none, as a clause.
    pub fn new(p: usize, op: impl Into<Option<Op>>) -> Result<Group, String> {
        let op = op.into();
        if p < 2 {
            return Err("the task has no modulus".into());
        }
        let residues = match op {
            Some(Op::Mul | Op::Div) => powers_of_root(p)?,
            _ => (0..p).collect(),
        };
        let mut elements = vec![None; p];
        residues.iter().enumerate().for_each(|(i, &residue): (usize, &usize)| elements[residue] = Some(i));
        Ok(Group { order: residues.len(), residues, elements, inverted: matches!(op, Some(Op::Sub | Op::Div)) })
    }

    /// The modulus.
    pub fn n_residues(&self) -> usize {
        self.elements.len()
    }

    /// The element of a residue, or of the class of that number.
    pub fn element(&self, residue: usize) -> Option<usize> {
        self.elements.get(residue).copied().flatten()
    }

    /// The elements of both operands, so that their sum is the answer's; none when one is not in the group.
    pub fn pair(&self, [a, b]: [u32; 2]) -> Option<(usize, usize)> {
        let (a, b) = (self.element(a as usize)?, self.element(b as usize)?);
        Some((a, if self.inverted { (self.order - b) % self.order } else { b }))
    }

    /// a + b.
    pub fn sum(&self, (a, b): (usize, usize)) -> usize {
        (a + b) % self.order
    }

    /// a − b.
    pub fn difference(&self, (a, b): (usize, usize)) -> usize {
        (a + self.order - b) % self.order
    }
}

/// Whether the task is a sum in its group, over all pairs.
///
/// # Errors
/// The reason why not, as a clause.
pub fn sum_fits(setting: &Setting) -> Result<Group, String> {
    let group = Group::of(setting)?;
    pairs(setting, &group)?;
    Ok(group)
}

/// The frequencies of the task's waves, 1 to half the order of its group; none where the task has no group.
pub fn freq_axis(setting: &Setting) -> Axis {
    let order = Group::of(setting).map_or(0, |group| group.order);
    Axis { name: "frequency".into(), ticks: freq_ticks(order) }
}

/// `[N]` elements (a, b) of each example; none for those with a residue that is not in the group (0, for products).
pub type Pairs = Vec<Option<(usize, usize)>>;

/// The elements of every example of a task that is a + b in its group, over all pairs.
///
/// # Shapes
/// `[N]`
///
/// # Errors
/// The reason why the examples are not all pairs once, with the sum as answer, as a clause.
pub fn pairs(setting: &Setting, group: &Group) -> Result<Pairs, String> {
    let examples = &setting.examples;
    let Some(Modular { pairs, op, ops, .. }) = examples.modular else {
        return Err("the task has no modulus".into());
    };
    if op.is_none() {
        return Err(match ops.len() {
            n @ 2.. => format!("the task has {n} operations, and no single sum that all its logits are waves of"),
            _ => "the operation is none of x+y, x-y, x*y, x/y, whose answers are a sum in a group".into(),
        });
    }
    if examples.n_positions() != 1 {
        return Err(format!("the loss is on {} positions, not on one", examples.n_positions()));
    }
    let n = group.order;
    let found: Pairs = pairs.iter().map(|&pair| group.pair(pair)).collect();
    let mut seen = vec![false; n * n];
    for (pair, &target) in found.iter().zip(examples.targets) {
        let Some((a, b)) = *pair else { continue };
        if group.residues[group.sum((a, b))] != target as usize {
            return Err("the answers are not those of one sum, difference, product or quotient".into());
        }
        if std::mem::replace(&mut seen[a * n + b], true) {
            return Err("the examples have a pair twice".into());
        }
    }
    match seen.iter().all(|&seen| seen) {
        true => Ok(found),
        false => Err(format!("the examples are not all {} pairs", n * n)),
    }
}

/// g^0, g^1, … mod a prime, for its smallest primitive root g.
fn powers_of_root(p: usize) -> Result<Vec<usize>, String> {
    let powers = |g: usize| -> Vec<usize> {
        let next = move |&x: &usize| Some(x * g % p).filter(|&x| x != 1 && x != 0);
        std::iter::successors(Some(1), next).take(p).collect()
    };
    let cyclic = (2..p).map(powers).find(|powers| powers.len() == p - 1);
    cyclic.ok_or_else(|| format!("the waves of products run over the multiplicative group, and {p} is no odd prime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_sum_of_the_elements_in_every_group() {
        for p in [3, 5, 7, 13, 113] {
            for op in Op::ALL.iter().copied() {
                let group = Group::new(p, op).expect("a prime has all four");
                for (a, b) in (0..p as u32).flat_map(|a| (op.first_b()..p as u32).map(move |b| (a, b))) {
                    let Some(pair) = group.pair([a, b]) else {
                        assert!(a == 0 || b == 0, "{a} {b} mod {p}");
                        continue;
                    };
                    let answer = group.residues[group.sum(pair)];
                    assert_eq!(answer, op.apply(a, b, p as u32) as usize, "{a} {} {b} mod {p}", op.symbol());
                }
            }
        }
        assert_eq!(Group::new(7, Op::Mul).map(|group| group.residues), Ok(vec![1, 3, 2, 6, 4, 5]));
    }

    #[test]
    fn products_mod_no_prime_have_no_waves() {
        for p in [2, 4, 8, 9, 15] {
            assert!(Group::new(p, Op::Mul).is_err_and(|why| why.contains("multiplicative")), "{p}");
        }
        assert!(Group::new(15, Op::Sub).is_ok());
    }
}
