//! Terms given as expressions: of each number of some parameters, or of each logit and its target.
//!
//! Reads `expr`, `over` and `reduce` of a term; writes values and gradients. The gradient is the symbolic derivative
//! ([`Expr::derivative`]); a kink has the slope that it has there.

use super::Place;
use crate::engine::op::ParamId;
use crate::engine::terms::{EntriesTerm, ParamsTerm};
use crate::engine::{ParamLayout, TermKind};
use crate::error::{Error, Result};
use crate::expr::{Expr, ExprError};
use crate::spec::{MAX_STEPS, Reduce, TermSpec};

/// What `over` says for an expression of logits.
pub(crate) const LOGITS: &str = "logits";
/// Numbers worked on at a time.
const LANES: usize = 16;

/// Reads an expression over logits (`l`, `y`) or over parameters (`w`).
///
/// # Errors
/// What cannot be read, with its column; one that is too long.
pub(crate) fn parse_expr(text: &str, over_logits: bool) -> std::result::Result<[Expr; 2], ExprError> {
    let variables: &[&str] = if over_logits { &["l", "y"] } else { &["w"] };
    let value = Expr::parse(text, variables)?;
    let slope = value.derivative(0);
    let long = value.n_nodes().max(slope.n_nodes());
    if long > MAX_STEPS {
        let found = format!("an expression whose value and slope take up to {long} steps");
        return Err(ExprError { column: 1, found, expected: format!("at most {MAX_STEPS}") });
    }
    if !value.reads(0) {
        let found = "an expression that is the same whatever is trained".into();
        return Err(ExprError { column: 1, found, expected: format!("one with `{}`", variables[0]) });
    }
    Ok([value, slope])
}

/// Whether there is what the expression is over.
///
/// # Errors
/// The reason why not.
pub(super) fn fits(term: &TermSpec, place: &Place<'_>) -> std::result::Result<(), String> {
    let over = term.over.as_deref().unwrap_or(LOGITS);
    if over == LOGITS || !matching(over, place.params).is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = place.params.infos.iter().map(|info| info.name.as_str()).collect();
    Err(format!("no parameter is named `{over}`; there are: {} (and `{LOGITS}`)", known.join(", ")))
}

/// Builds it, at a place that it fits.
///
/// # Errors
/// [`Error::Value`] for an expression that cannot be read.
pub(super) fn build(term: &TermSpec, place: &Place<'_>) -> Result<TermKind> {
    let (text, over) = (term.expr.as_deref().unwrap_or_default(), term.over.as_deref().unwrap_or(LOGITS));
    let parsed = parse_expr(text, over == LOGITS);
    let [value, slope] = parsed.map_err(|e| Error::Value {
        what: "the expression of a term".into(),
        got: format!("`{text}`"),
        expected: e.to_string(),
    })?;
    let mean = term.reduce == Reduce::Mean;
    if over == LOGITS {
        return Ok(TermKind::Entries(Box::new(OfLogits { value, slope, mean })));
    }
    let params = matching(over, place.params);
    Ok(TermKind::Params(Box::new(OfParams { params, value, slope, mean })))
}

/// The parameters that a pattern names: `*` stands for any letters, dots too.
fn matching(pattern: &str, params: &ParamLayout) -> Vec<ParamId> {
    (0..params.infos.len()).filter(|&id| params.infos[id].is_named(pattern)).collect()
}

/// f(w), summed or averaged over all numbers of some parameters.
#[derive(Debug)]
struct OfParams {
    params: Vec<ParamId>,
    value: Expr,
    slope: Expr,
    mean: bool,
}

impl ParamsTerm for OfParams {
    fn params(&self) -> &[ParamId] {
        &self.params
    }

    fn eval(&self, _: usize, w: &[f64], dw: &mut [f64], _: &mut [f64]) -> f64 {
        let share = if self.mean { 1.0 / w.len() as f64 } else { 1.0 };
        let mut scratch = [[0.0; LANES]; MAX_STEPS];
        let mut total = 0.0;
        for (w, dw) in w.chunks(LANES).zip(dw.chunks_mut(LANES)) {
            let mut values = [[0.0; LANES]];
            values[0][..w.len()].copy_from_slice(w);
            total += self.value.eval_lanes(&values, &mut scratch)[..w.len()].iter().sum::<f64>();
            let slopes = self.slope.eval_lanes(&values, &mut scratch);
            dw.iter_mut().zip(slopes).for_each(|(dw, slope)| *dw = share * slope);
        }
        share * total
    }
}

/// f(l, y), summed or averaged over classes.
#[derive(Debug)]
struct OfLogits {
    value: Expr,
    slope: Expr,
    mean: bool,
}

impl EntriesTerm for OfLogits {
    fn eval(&self, width: usize, l: &[f64], y: &[f64], f: &mut [f64], df: &mut [f64]) {
        let share = if self.mean { 1.0 / width as f64 } else { 1.0 };
        let mut scratch = [[0.0; LANES]; MAX_STEPS];
        for start in (0..l.len()).step_by(LANES) {
            let part = start..(start + LANES).min(l.len());
            let n = part.len();
            let mut values = [[0.0; LANES]; 2];
            values[0][..n].copy_from_slice(&l[part.clone()]);
            values[1][..n].copy_from_slice(&y[part.clone()]);
            let f_own = self.value.eval_lanes(&values, &mut scratch);
            let df_own = self.slope.eval_lanes(&values, &mut scratch);
            f[part.clone()].iter_mut().zip(f_own).for_each(|(f, x)| *f = share * x);
            df[part].iter_mut().zip(df_own).for_each(|(df, x)| *df = share * x);
        }
    }
}
