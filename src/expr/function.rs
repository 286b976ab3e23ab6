//! The functions that an expression may call, in f64 through `libm`: the same bits on every platform.

/// A function of one to three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// |x|; its derivative at 0 counts as 0.
    Abs,
    /// −1, 0 or 1.
    Sign,
    /// 1 for x > 0, else 0.
    Step,
    /// max(x, 0); its derivative at 0 counts as 0.
    Relu,
    /// eˣ.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// Error function.
    Erf,
    /// Sine, radians.
    Sin,
    /// Cosine, radians.
    Cos,
    /// The larger of two; where they are equal its derivative is the second one's, so `max(x, 0)` is `relu(x)`.
    Max,
    /// The smaller of two; where they are equal its derivative is the second one's.
    Min,
    /// `pow(x, y)`: x to any power, for x of at least 0.
    Pow,
    /// `where(c, a, b)`: a where c > 0, else b.
    Where,
}

impl Function {
    /// Every function, in the order of messages.
    pub const ALL: &[Function] = &[
        Function::Abs,
        Function::Sign,
        Function::Step,
        Function::Relu,
        Function::Exp,
        Function::Log,
        Function::Sqrt,
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Erf,
        Function::Sin,
        Function::Cos,
        Function::Max,
        Function::Min,
        Function::Pow,
        Function::Where,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Function::Abs => "abs",
            Function::Sign => "sign",
            Function::Step => "step",
            Function::Relu => "relu",
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sqrt => "sqrt",
            Function::Tanh => "tanh",
            Function::Sigmoid => "sigmoid",
            Function::Softplus => "softplus",
            Function::Erf => "erf",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Max => "max",
            Function::Min => "min",
            Function::Pow => "pow",
            Function::Where => "where",
        }
    }

    /// The function of a name.
    pub fn from_name(name: &str) -> Option<Function> {
        Function::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// How many arguments it has.
    pub fn arity(self) -> usize {
        match self {
            Function::Max | Function::Min | Function::Pow => 2,
            Function::Where => 3,
            _ => 1,
        }
    }

    /// The value; arguments beyond [`Function::arity`] are not read.
    #[inline]
    pub(super) fn apply(self, [x, y, z]: [f64; 3]) -> f64 {
        match self {
            Function::Abs => x.abs(),
            Function::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
            Function::Step => f64::from(u8::from(x > 0.0)),
            Function::Relu => larger(x, 0.0),
            Function::Exp => libm::exp(x),
            Function::Log => libm::log(x),
            Function::Sqrt => x.sqrt(),
            Function::Tanh => libm::tanh(x),
            Function::Sigmoid => sigmoid(x),
            // ln(1 + eˣ) without overflow.
            Function::Softplus => larger(x, 0.0) + libm::log1p(libm::exp(-x.abs())),
            Function::Erf => libm::erf(x),
            Function::Sin => libm::sin(x),
            Function::Cos => libm::cos(x),
            Function::Max => larger(x, y),
            Function::Min => -larger(-x, -y),
            Function::Pow => libm::pow(x, y),
            Function::Where => {
                if x > 0.0 {
                    y
                } else {
                    z
                }
            }
        }
    }
}

/// The larger number; NaN if one is NaN, so that it is not hidden.
fn larger(x: f64, y: f64) -> f64 {
    if x > y || x.is_nan() { x } else { y }
}

/// With the exponential of a negative number only, which cannot overflow.
fn sigmoid(x: f64) -> f64 {
    let small = libm::exp(-x.abs());
    if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}
