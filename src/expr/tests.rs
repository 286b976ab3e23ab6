//! Expressions against what they must mean: other evaluators, differences, and their own text.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const XY: &[&str] = &["x", "y"];

fn parse(text: &str) -> Expr {
    Expr::parse(text, XY).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn message(text: &str) -> String {
    Expr::parse(text, XY).unwrap_err().to_string()
}

#[test]
fn polynomials_as_papers_write_them() {
    for (text, shown, value) in [
        ("x^2+xy+y^2", "x^2 + x*y + y^2", 19.0),
        ("x²+xy+y²", "x^2 + x*y + y^2", 19.0),
        ("x^3+xy^2+y", "x^3 + x*y^2 + y", 29.0),
        ("x³ + xy", "x^3 + x*y", 14.0),
        ("2x - 3y", "2*x - 3*y", -5.0),
        ("2xy²(x+1)", "2*x*y^2*(x + 1)", 108.0),
        ("x(y+1)", "x*(y + 1)", 8.0),
        ("x − y·2", "x - y*2", -4.0),
        ("-x^2", "-x^2", -4.0),
        ("(-x)^2", "(-x)^2", 4.0),
        ("2^-1*x^(-2)", "2^-1*x^-2", 0.125),
        ("x⁻² + 1e-3 + .5", "x^-2 + 0.001 + 0.5", 0.751),
        ("x - (y - 1)", "x - (y - 1)", 0.0),
        ("x / y / 2", "x/y/2", 1.0 / 3.0),
        ("x/(y/2)", "x/(y/2)", 4.0 / 3.0),
        ("2*-x - -3", "2*-x - -3", -1.0),
        ("max(x, y)relu(-x) + where(x-y, 1, 2)", "max(x, y)*relu(-x) + where(x - y, 1, 2)", 2.0),
        ("2pi", "2*3.141592653589793", std::f64::consts::TAU),
    ] {
        let expr = parse(text);
        assert_eq!(expr.to_string(), shown, "{text}");
        assert!((expr.eval(&[2.0, 3.0]) - value).abs() < 1e-15, "{text} = {}", expr.eval(&[2.0, 3.0]));
    }
}

#[test]
fn a_fault_names_column_found_and_expected() {
    for (text, words) in [
        ("", "column 1: found the end, expected a number, a name or `(`"),
        ("x+", "column 3: found the end, expected a number, a name or `(`"),
        ("x + * y", "column 5: found `*`, expected a number, a name or `(`; a power is written `^`"),
        ("x**2", "column 3: found `*`, expected a number, a name or `(`; a power is written `^`"),
        ("(x+y", "column 5: found the end, expected an operator or the `)` of column 1"),
        ("x+y)", "column 4: found `)`, expected an operator or the end"),
        ("x^y", "column 3: found `y`, expected a whole power from -1000 to 1000 (others: `sqrt(x)`, `pow(x, y)`)"),
        ("x^0.5", "column 3: found `0.5`, expected a whole power from -1000 to 1000 (others: `sqrt(x)`, `pow(x, y)`)"),
        ("x^2^3", "column 4: found `^`, expected parentheses around a power that is raised again"),
        ("x^(2", "column 5: found the end, expected `)`; a power is one whole number"),
        ("x⁹⁹⁹⁹", "column 2: found `⁹⁹⁹⁹`, expected a whole power from -1000 to 1000"),
        (
            "1/2x",
            "column 4: found `x`, expected `*` or parentheses: after a division it is unclear what a product without a sign divides",
        ),
        ("x 2", "column 3: found `2`, expected an operator; a product whose right side is a number needs its `*`"),
        ("2 + sqr(x)", "column 5: found `sqr`, expected a name that is known here; did you mean `sqrt`?"),
        ("relu x", "column 6: found `x`, expected `(` after `relu`"),
        ("max(x)", "column 6: found `)`, expected `,`: `max` has 2 arguments"),
        ("exp(x, y)", "column 6: found `,`, expected an operator or `)`: `exp` has 1 argument"),
        ("x $ y", "column 3: found `$`, expected a number, a name, an operator or a parenthesis"),
        ("1.2.3", "column 4: found `.3`, expected an operator; a product whose right side is a number needs its `*`"),
        ("1e999", "column 1: found `1e999`, expected a number that f64 can hold"),
        (".", "column 1: found `.`, expected a number like `2`, `0.5` or `1e-3`"),
    ] {
        assert_eq!(message(text), words, "{text}");
    }
    assert!(message("zz+1").starts_with("column 1: found `zz`, expected a variable (x, y) or a function (abs, sign"));
    let polynomial = Grammar { variables: XY, functions: &[] };
    assert_eq!(
        Expr::parse_with("x+sin(y)", polynomial).unwrap_err().to_string(),
        "column 3: found `sin`, expected a variable (x, y); functions are not allowed here"
    );
}

#[test]
fn a_word_with_two_readings_is_refused() {
    let error = Expr::parse("exp(x)", &["e", "x", "p"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 1: found `exp`, expected no word that is a name and a product of variables; write `e*x*p`"
    );
    // A variable's whole name is what it says, and `e` is then no exponent.
    assert_eq!(Expr::parse("xy + x", &["x", "xy"]).unwrap().eval(&[1.0, 10.0]), 11.0);
    assert_eq!(Expr::parse("2e", &["e"]).unwrap().eval(&[5.0]), 10.0);
}

#[test]
fn deep_and_long_texts_get_an_error() {
    for text in ["(".repeat(3000), "-".repeat(3000), "x+".repeat(1000) + "x", "abs(".repeat(900), "x".repeat(1500)] {
        assert!(message(&text).contains("more than 200 operations one inside the other"), "{}", &text[..9]);
    }
    assert_eq!(message(&" ".repeat(5000)), "column 4097: found a text of 5000 characters, expected at most 4096");
    let deepest = format!("{}x{}", "(".repeat(199), ")".repeat(199));
    assert_eq!(parse(&deepest).to_string(), "x");
    // The longest chains are differentiated and written without trouble.
    let chain = parse(&("x*".repeat(198) + "x")).derivative(0).derivative(0);
    assert!(chain.to_string().len() > 1000);
}

#[test]
fn derivatives_are_simple() {
    for (text, by_x) in [
        ("3", "0"),
        ("y", "0"),
        ("x", "1"),
        ("x^2", "2*x"),
        ("x^3 + xy^2 + y", "3*x^2 + y^2"),
        ("5x - 2", "5"),
        ("-(-x)", "1"),
        ("x/y", "1/y"),
        ("1/x", "-(1/x/x)"),
        ("relu(x)", "where(x, 1, 0)"),
        ("abs(x)", "sign(x)"),
        ("exp(2x)", "exp(2*x)*2"),
        ("sin(x)cos(y)", "cos(x)*cos(y)"),
        ("x*sigmoid(x)", "sigmoid(x) + x*(sigmoid(x)*(1 - sigmoid(x)))"),
        ("x^0", "0"),
    ] {
        assert_eq!(parse(text).derivative(0).to_string(), by_x, "{text}");
    }
}

#[test]
fn kinks_have_the_stated_derivative() {
    for (text, at_0) in [
        ("relu(x)", 0.0),
        ("abs(x)", 0.0),
        ("max(x, 0)", 0.0),
        ("max(0, x)", 1.0),
        ("min(x, 0)", 0.0),
        ("sign(x)", 0.0),
    ] {
        assert_eq!(parse(text).derivative(0).eval(&[0.0, 0.0]), at_0, "{text}");
    }
    // The side that is not taken does not reach the result.
    assert_eq!(parse("relu(sqrt(x) - 1)").derivative(0).eval(&[0.0, 0.0]), 0.0);
}

#[test]
fn functions_at_known_points() {
    for (text, value) in [
        ("abs(-2)", 2.0),
        ("sign(-2) + sign(0)", -1.0),
        ("step(0) + step(1e-300)", 1.0),
        ("relu(-1) + relu(2)", 2.0),
        ("log(exp(3))", 3.0),
        ("sqrt(16)", 4.0),
        ("tanh(0.5)", 0.462_117_157_260_009_8),
        ("sigmoid(-1000) + sigmoid(1000)", 1.0),
        ("sigmoid(1)", 0.731_058_578_630_004_9),
        ("softplus(1000) + softplus(-1000)", 1000.0),
        ("softplus(0)", std::f64::consts::LN_2),
        ("erf(0.5)", 0.520_499_877_813_046_5),
        ("sin(pi/2) + cos(pi)", 0.0),
        ("max(1, 2) - min(1, 2)", 1.0),
        ("pow(2, 0.5) - sqrt(2) + pow(0.9, 3)", 0.729),
        ("where(0, 1, 2)", 2.0),
    ] {
        assert!((parse(text).eval(&[0.0, 0.0]) - value).abs() < 1e-15, "{text}");
    }
    assert!(parse("relu(0/0)").eval(&[0.0, 0.0]).is_nan(), "a NaN is not hidden");
}

#[test]
fn lanes_are_single_values() {
    let expr = parse("x^3 - 2xy + tanh(y)/x");
    let (xs, ys): ([f64; 5], [f64; 5]) = ([1.0, 2.0, -3.0, 0.0, 0.5], [0.3, -1.0, 2.0, 4.0, 1e9]);
    let lanes = expr.eval_lanes(&[xs, ys], &mut vec![[0.0; 5]; expr.n_nodes()]);
    for l in 0..5 {
        assert_eq!(lanes[l].to_bits(), expr.eval(&[xs[l], ys[l]]).to_bits());
    }
}

#[test]
fn residues_refuse_what_has_no_meaning() {
    let refuse = |text: &str, p| parse(text).residues(p).unwrap_err().to_string();
    assert_eq!(
        refuse("x + 0.5y", 7),
        "column 5: found `0.5`, expected a whole number up to 2^53, as arithmetic mod p has no others"
    );
    assert_eq!(refuse("x + sin(y)", 7), "column 5: found `sin`, expected no function, as arithmetic mod p has none");
    assert_eq!(
        refuse("x + y/3", 91),
        "column 6: found a division, expected a prime p: 91 is divisible by 7, so not every number has an inverse"
    );
    assert!(refuse("x^-1", 4).starts_with("column 2: found a negative power, expected a prime p"));
    let quotient = parse("x/y + y^-1").residues(7).unwrap();
    assert_eq!((quotient.eval(&[3, 2]), quotient.eval(&[3, 0]), quotient.eval(&[3, 7])), (Some(2), None, None));
}

/// A random text over x and y, with every kind of operation; `whole` keeps to what has a meaning mod p without division.
fn text(whole: bool) -> impl Strategy<Value = String> {
    let number = if whole { "[0-9]{1,3}".boxed() } else { prop_oneof!["[0-9]{1,2}", "[0-9]\\.[0-9]{1,2}"].boxed() };
    let leaf = prop_oneof![number, Just("x".to_owned()), Just("y".to_owned()), Just("xy".to_owned())];
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let pair = (inner.clone(), inner.clone());
        let signs = if whole { vec![" + ", " - ", "*"] } else { vec![" + ", " - ", "*", "/"] };
        let operation =
            (pair.clone(), prop::sample::select(signs)).prop_map(|((a, b), s)| format!("({a}){s}({b})")).boxed();
        let power =
            (inner.clone(), if whole { 0..5i32 } else { -2..4i32 }).prop_map(|(a, n)| format!("({a})^{n}")).boxed();
        let minus = inner.clone().prop_map(|a| format!("-({a})")).boxed();
        let plain = prop_oneof![operation, power, minus].boxed();
        if whole {
            return plain;
        }
        let names = Function::ALL.iter().map(|f| (f.name(), f.arity())).collect::<Vec<_>>();
        let call = (prop::sample::select(names), inner.clone(), inner.clone(), inner)
            .prop_map(|((name, arity), a, b, c)| format!("{name}({})", [a, b, c][..arity].join(", ")));
        prop_oneof![2 => plain, 1 => call].boxed()
    })
}

/// Sums, products and powers in i128, from the text alone: a second evaluator, which shares nothing with the first.
fn whole_value(text: &str, x: i128, y: i128) -> Option<i128> {
    let mut rest = text.trim();
    let mut values: Vec<(i128, char)> = vec![];
    let mut sign = '+';
    loop {
        let (value, after) = whole_operand(rest, x, y)?;
        values.push((value, sign));
        rest = after.trim_start();
        let Some(next) = rest.chars().next() else { break };
        sign = next;
        rest = rest[1..].trim_start();
    }
    // In this test's texts each level has one operator, and parentheses around its operands.
    values[1..].iter().try_fold(values[0].0, |sum, &(value, sign)| match sign {
        '+' => sum.checked_add(value),
        '-' => sum.checked_sub(value),
        '*' => sum.checked_mul(value),
        other => panic!("{other}"),
    })
}

/// A leaf, `(…)`, `(…)^n` or `-(…)`, and what follows it.
fn whole_operand(text: &str, x: i128, y: i128) -> Option<(i128, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        let (value, after) = whole_operand(rest, x, y)?;
        return Some((-value, after));
    }
    if text.starts_with('(') {
        let mut depth = 0;
        let close = text.char_indices().find(|&(_, c)| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let (close, _) = close?;
        let (inner, after) = (whole_value(&text[1..close], x, y)?, &text[close + 1..]);
        let Some(power) = after.strip_prefix('^') else { return Some((inner, after)) };
        let digits = power.chars().take_while(char::is_ascii_digit).count();
        return Some((inner.checked_pow(power[..digits].parse().ok()?)?, &power[digits..]));
    }
    let len = text.chars().take_while(char::is_ascii_alphanumeric).count();
    let value = match &text[..len] {
        "x" => x,
        "y" => y,
        "xy" => x * y,
        digits => digits.parse().ok()?,
    };
    Some((value, &text[len..]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn text_reads_back_equal(text in text(false)) {
        let expr = parse(&text);
        let again = Expr::parse(&expr.to_string(), XY);
        prop_assert_eq!(again.as_ref(), Ok(&expr), "{}", expr);
        let slope = expr.derivative(1);
        let again = Expr::parse(&slope.to_string(), XY).unwrap();
        for point in [[0.3, -0.7], [2.0, 1.5]] {
            // A node that the derivative shares is written, and read, once for each use.
            prop_assert_eq!(again.eval(&point).to_bits(), slope.eval(&point).to_bits(), "{}", slope);
        }
    }

    #[test]
    fn residues_agree_with_whole_numbers(text in text(true), x in 0u32..200, y in 0u32..200, p in 1u32..200) {
        if let Some(value) = whole_value(&text, x.into(), y.into()) {
            let found = parse(&text).residues(p).unwrap().eval(&[x, y]);
            prop_assert_eq!(found, Some(value.rem_euclid(p.into()) as u32), "{} = {}", text, value);
        }
    }

    /// Where two difference quotients of different widths agree, the derivative agrees with them: elsewhere the function has a kink, a
    /// pole, or no value.
    #[test]
    fn derivatives_agree_with_differences(text in text(false), x in -2.0f64..2.0, y in -2.0f64..2.0) {
        let expr = parse(&text);
        for variable in 0..2 {
            let slope = expr.derivative(variable).eval(&[x, y]);
            let quotient = |h: f64| {
                let at = |by: f64| {
                    let mut point = [x, y];
                    point[variable] += by;
                    expr.eval(&point)
                };
                (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
            };
            let (wide, narrow) = (quotient(1e-3), quotient(5e-4));
            let value = expr.eval(&[x, y]).abs();
            let tolerance = 1e-6 * (1.0 + slope.abs() + value);
            if (wide - narrow).abs() < 1e-2 * tolerance {
                prop_assert!((slope - narrow).abs() < tolerance, "d {} / d {} = {}, not {}", expr, XY[variable], slope, narrow);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[xy0-9.e+*/^() ,²a-z-]{0,40}") {
        if let Err(error) = Expr::parse(&text, XY) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
        }
    }
}
