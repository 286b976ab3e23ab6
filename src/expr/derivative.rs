//! Symbolic derivatives, with light simplification: constants folded, x·0, x·1, x + 0, −(−x), x¹ written short.
//!
//! Where a function has a kink the derivative takes one fixed value: 0 for `abs` and `relu` at 0 (as the engine's ReLU), the second
//! argument's for `max` and `min` of equal numbers. `sign` and `step` have derivative 0 everywhere.

use super::{Expr, Function, Id, Node};

impl Expr {
    /// The derivative with respect to a variable, by its place.
    ///
    /// # Panics
    /// If there is no such variable.
    pub fn derivative(&self, variable: usize) -> Expr {
        assert!(variable < self.variables.len(), "there is no variable {variable}");
        let mut maker = Maker { nodes: self.nodes.clone() };
        let mut d: Vec<Id> = Vec::with_capacity(self.nodes.len());
        for (at, &node) in self.nodes.iter().enumerate() {
            let slope = maker.slope(at, node, variable, &d);
            d.push(slope);
        }
        Expr::rooted(self.variables.clone(), &maker.nodes, &[], d[d.len() - 1])
    }
}

/// Nodes under construction; equal nodes are made once.
struct Maker {
    nodes: Vec<Node>,
}

impl Maker {
    /// The derivative of the node at `at`, whose operands have the derivatives `d`.
    fn slope(&mut self, at: Id, node: Node, variable: usize, d: &[Id]) -> Id {
        match node {
            Node::Number(_) => self.number(0.0),
            Node::Variable(index) => self.number(f64::from(u8::from(index == variable))),
            Node::Negate(a) => self.negate(d[a]),
            Node::Add(a, b) => self.add(d[a], d[b]),
            Node::Subtract(a, b) => self.subtract(d[a], d[b]),
            Node::Multiply(a, b) => {
                let (left, right) = (self.multiply(d[a], b), self.multiply(a, d[b]));
                self.add(left, right)
            }
            Node::Divide(a, b) => {
                // a'/b − (a/b) b'/b: the quotient itself is there already.
                let (left, right) = (self.divide(d[a], b), self.multiply(at, d[b]));
                let right = self.divide(right, b);
                self.subtract(left, right)
            }
            Node::Power(a, n) => {
                let (factor, lower) = (self.number(n.into()), self.power(a, n - 1));
                let outer = self.multiply(factor, lower);
                self.multiply(outer, d[a])
            }
            Node::Call(function, args) => self.slope_of_call(at, function, args, d),
        }
    }

    fn slope_of_call(&mut self, at: Id, function: Function, args @ [a, b, _]: [Id; 3], d: &[Id]) -> Id {
        let [da, db, dc] = args.map(|arg| d[arg]);
        let one = self.number(1.0);
        match function {
            Function::Sign | Function::Step => self.number(0.0),
            Function::Relu => {
                let zero = self.number(0.0);
                self.choose(a, da, zero)
            }
            Function::Max => {
                let above = self.subtract(a, b);
                self.choose(above, da, db)
            }
            Function::Min => {
                let below = self.subtract(b, a);
                self.choose(below, da, db)
            }
            Function::Where => self.choose(a, db, dc),
            Function::Pow => {
                // b a^(b−1) a' + a^b ln a · b'
                let less = self.subtract(b, one);
                let lower = self.push(Node::Call(Function::Pow, [a, less, 0]));
                let (of_base, log) = (self.multiply(b, lower), self.call(Function::Log, a));
                let of_exponent = self.multiply(at, log);
                let (left, right) = (self.multiply(of_base, da), self.multiply(of_exponent, db));
                self.add(left, right)
            }
            Function::Log => self.divide(da, a),
            Function::Sqrt => {
                let two = self.number(2.0);
                let twice = self.multiply(two, at);
                self.divide(da, twice)
            }
            Function::Abs => self.outer(Function::Sign, a, da),
            Function::Softplus => self.outer(Function::Sigmoid, a, da),
            Function::Sin => self.outer(Function::Cos, a, da),
            Function::Exp => self.multiply(at, da),
            Function::Cos => {
                let down = self.outer(Function::Sin, a, da);
                self.negate(down)
            }
            Function::Tanh => {
                let square = self.power(at, 2);
                let slope = self.subtract(one, square);
                self.multiply(slope, da)
            }
            Function::Sigmoid => {
                let rest = self.subtract(one, at);
                let slope = self.multiply(at, rest);
                self.multiply(slope, da)
            }
            Function::Erf => {
                let square = self.power(a, 2);
                let minus = self.negate(square);
                let bell = self.call(Function::Exp, minus);
                let factor = self.number(std::f64::consts::FRAC_2_SQRT_PI);
                let slope = self.multiply(factor, bell);
                self.multiply(slope, da)
            }
        }
    }

    /// function(a) · da.
    fn outer(&mut self, function: Function, a: Id, da: Id) -> Id {
        let slope = self.call(function, a);
        self.multiply(slope, da)
    }

    fn push(&mut self, node: Node) -> Id {
        // Equal by bits: 0 and −0 are two numbers.
        let same = |other: &Node| match (other, &node) {
            (Node::Number(x), Node::Number(y)) => x.to_bits() == y.to_bits(),
            _ => *other == node,
        };
        self.nodes.iter().position(same).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        })
    }

    fn number(&mut self, number: f64) -> Id {
        self.push(Node::Number(number))
    }

    fn value(&self, id: Id) -> Option<f64> {
        match self.nodes[id] {
            Node::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The node, or the number that it is if both operands are numbers and it is finite.
    fn fold(&mut self, node: Node, a: Id, b: Id, f: impl Fn(f64, f64) -> f64) -> Id {
        match self.value(a).zip(self.value(b)).map(|(x, y)| f(x, y)) {
            Some(number) if number.is_finite() => self.number(number),
            _ => self.push(node),
        }
    }

    fn negate(&mut self, a: Id) -> Id {
        match self.nodes[a] {
            Node::Number(0.0) => a,
            Node::Number(number) => self.number(-number),
            Node::Negate(inner) => inner,
            _ => self.push(Node::Negate(a)),
        }
    }

    fn add(&mut self, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(0.0), _) => b,
            (_, Some(0.0)) => a,
            _ => self.fold(Node::Add(a, b), a, b, |x, y| x + y),
        }
    }

    fn subtract(&mut self, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(0.0), _) => self.negate(b),
            (_, Some(0.0)) => a,
            _ => self.fold(Node::Subtract(a, b), a, b, |x, y| x - y),
        }
    }

    fn multiply(&mut self, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(0.0), _) | (_, Some(0.0)) => self.number(0.0),
            (Some(1.0), _) => b,
            (_, Some(1.0)) => a,
            (Some(-1.0), None) => self.negate(b),
            (None, Some(-1.0)) => self.negate(a),
            _ => self.fold(Node::Multiply(a, b), a, b, |x, y| x * y),
        }
    }

    fn divide(&mut self, a: Id, b: Id) -> Id {
        match (self.value(a), self.value(b)) {
            (Some(0.0), _) => self.number(0.0),
            (_, Some(1.0)) => a,
            _ => self.fold(Node::Divide(a, b), a, b, |x, y| x / y),
        }
    }

    fn power(&mut self, a: Id, n: i32) -> Id {
        match n {
            0 => self.number(1.0),
            1 => a,
            _ => self.fold(Node::Power(a, n), a, a, |x, _| super::power(x, n)),
        }
    }

    fn call(&mut self, function: Function, a: Id) -> Id {
        self.fold(Node::Call(function, [a, 0, 0]), a, a, |x, _| function.apply([x, 0.0, 0.0]))
    }

    /// `where(c, a, b)`.
    fn choose(&mut self, c: Id, a: Id, b: Id) -> Id {
        match self.value(c) {
            _ if a == b => a,
            Some(number) => {
                if number > 0.0 {
                    a
                } else {
                    b
                }
            }
            None => self.push(Node::Call(Function::Where, [c, a, b])),
        }
    }
}
