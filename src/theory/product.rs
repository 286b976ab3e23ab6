//! `product_of_parts`: how long a product of parts takes to be learned, from equal small starts.
//!
//! f = w_1 w_2 ... w_L is to be 1; the loss is (f − 1)². Under gradient flow equal weights stay equal, w' = −2 w^(L−1) (w^L − 1), and
//! the time at which f is 1/2 is an integral. Source: depth and small starts as in Saxe et al. 2014 (arXiv 1312.6120).

pub(super) const SUMMARY: &str = "time to learn a product of L equal parts under gradient flow, by their start";

/// Panels of Simpson's rule.
const PANELS: usize = 4_000;

/// Time, in units of gradient flow (updates times the learning rate), at which a product of `parts` parts that all start at `start` is
/// `level`, below 1. 0 where it starts there or beyond, infinite from a start at 0.
pub fn time_to(level: f64, parts: usize, start: f64) -> f64 {
    let n = parts as f64;
    let end = libm::pow(level, 1.0 / n);
    if start >= end {
        return 0.0;
    }
    if start <= 0.0 {
        return f64::INFINITY;
    }
    // By u = ln w: dt = u' / (2 w^(L−2) (1 − w^L)), smooth however small the start.
    let (from, to) = (libm::log(start), libm::log(end));
    let rate = |u: f64| 1.0 / (2.0 * libm::exp((n - 2.0) * u) * (1.0 - libm::exp(n * u)));
    let width = (to - from) / PANELS as f64;
    let panel = |i: usize| {
        let left = from + i as f64 * width;
        rate(left) + 4.0 * rate(left + 0.5 * width) + rate(left + width)
    };
    (0..PANELS).map(panel).sum::<f64>() * width / 6.0
}

/// The text of `phaselab explain product_of_parts`.
pub(super) fn explain() -> String {
    let starts = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01];
    let head = starts.map(|start| format!("{start:>12}")).concat();
    let row = |parts: usize| {
        let times = starts.map(|start| format!("{:>12.4}", time_to(0.5, parts, start)));
        format!("{parts:>7}{}\n", times.concat())
    };
    let rows: String = (2..=6).map(row).collect();
    format!(
        "\
What it is
  A product f = w_1 w_2 ... w_L of L parts that is to be 1, with the loss (f - 1)^2: the smallest model of what has to
  be there as a whole before it is worth anything. Each part's gradient is the product of the others, so that small
  parts stay on a plateau and then all grow at once. From equal starts w the time at which f is 1/2 under gradient flow
  (updates times the learning rate) is the integral of 1 / (2 w^(L-1) (1 - w^L)) from the start to 2^(-1/L).
Reads
  Nothing; the table below is computed. `toy.init = \"equal\"` with hidden layers of width 1 is this model.
Unit and range
  Updates times the learning rate.
Value at a known point
  L = 2: ln((1 - w^2) / w^2) / 4; for L > 2 and small w about 1 / (2 (L - 2) w^(L-2)).

  parts  start of each part
       {head}
{rows}
Source
  Saxe et al. 2014 (arXiv 1312.6120), for deep linear networks; phase changes of composed parts are discussed in
  Nanda et al. 2023 (arXiv 2301.05217)."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_have_a_closed_form() {
        for start in [0.6f64, 0.1, 1e-3, 1e-6] {
            let exact = ((1.0 - start * start) / (start * start)).ln() / 4.0;
            assert!((time_to(0.5, 2, start) / exact - 1.0).abs() < 1e-9, "{start}");
        }
        assert_eq!((time_to(0.5, 3, 0.8), time_to(0.5, 3, 0.0)), (0.0, f64::INFINITY));
    }

    #[test]
    fn small_steps_take_that_long() {
        for (parts, start) in [(2, 0.1), (3, 0.2), (4, 0.3), (5, 0.4)] {
            let (mut w, mut t): (f64, f64) = (start, 0.0);
            let step = 1e-5;
            while w.powi(parts) < 0.5 {
                w -= step * 2.0 * w.powi(parts - 1) * (w.powi(parts) - 1.0);
                t += step;
            }
            let exact = time_to(0.5, parts as usize, start);
            assert!((t / exact - 1.0).abs() < 1e-3, "{parts} parts from {start}: {t} is not {exact}");
        }
    }

    #[test]
    fn deep_products_wait_for_as_long_as_a_power_of_the_start() {
        for parts in [4, 5, 6] {
            let (n, start) = (parts as f64, 1e-3);
            let about = 1.0 / (2.0 * (n - 2.0) * libm::pow(start, n - 2.0));
            assert!((time_to(0.5, parts, start) / about - 1.0).abs() < 0.02, "{parts}");
        }
    }
}
