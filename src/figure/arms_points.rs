//! One number a replica over the arms: dots, median and quartiles, and how many crossed.
//!
//! Reads [`ArmsInput`] and a [`Quantity`]; draws arms side by side over their axis, or one below the other with their
//! labels. Steps to a threshold have a strip for the replicas that never crossed it, and a panel with the rate and its
//! 95 % interval (Wilson 1927).

use super::Sink;
use super::arms::{ArmsInput, Quantity};
use super::arms_lay::{Lay, Shape};
use super::csv::Table;
use super::drawing::{Anchor, Drawing};
use super::page::{self, DOT, Key, Mark};
use super::panel::{Names, Panel};
use super::scale::{Scale, with_log};
use super::style::{BLACK, BLUE, CURVE_WIDTH, GREEN, GREY, GRID, Ink, MEDIAN_WIDTH, TICK_SIZE, VERMILLION};
use crate::measure::Field;
use crate::transition::{Rate, Spread};

/// Where a replica without a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Later than all others: medians and quartiles count it, and it has a place of its own.
    Later {
        /// Whether the rate of those that have a value has a panel.
        rates: bool,
    },
    /// Nowhere.
    Nowhere,
}

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Points<'a> {
    /// The arms.
    pub input: &'a ArmsInput,
    /// Their numbers.
    pub quantity: &'a Quantity,
    /// What a missing number means.
    pub beyond: Beyond,
}

/// Unit of whole numbers.
const COUNT: &str = "1";

/// One replica.
const REPLICA: Ink = BLUE.faded(0.55);

impl Points<'_> {
    /// The figure and its table.
    pub fn draw(&self) -> Sink {
        let columns = ["quantity", "unit", "arm", "x", "seed", "value"];
        let mut sink = Sink { table: Table::with_columns(&columns), ..Sink::default() };
        let spreads: Vec<Option<[f64; 3]>> = self.quantity.values.iter().map(|values| self.spread(values)).collect();
        for (i, &spread) in spreads.iter().enumerate() {
            self.record(&mut sink.table, i, spread);
        }
        let drawing = &mut sink.drawing;
        let area = page::head(drawing, &self.input.title, &self.shows(), &self.keys(), 16.0);
        let shape = Shape { rates: self.has_rates(), strip: self.has_missing() };
        let lay = Lay::new(drawing, area, self.input, (self.scale(), shape));
        self.grid(drawing, &lay);
        self.replicas(drawing, &lay);
        self.spreads(drawing, &lay, &spreads);
        self.missing(drawing, &lay);
        self.rates(drawing, &lay);
        self.axes(drawing, &lay);
        sink
    }

    fn shows(&self) -> String {
        let (arms, replicas) =
            (self.input.arms.len(), self.input.arms.iter().map(|arm| arm.seeds.len()).sum::<usize>());
        let label = self.quantity.label.split(" (").next().unwrap_or_default();
        let mut shows = format!("{label}; {arms} arms, {replicas} replicas");
        shows.replace_range(..label.len().min(1), &label[..label.len().min(1)].to_uppercase());
        shows
    }

    fn keys(&self) -> Vec<Key> {
        let stroke = |text: &str, mark| Key { text: text.into(), ink: BLACK, mark };
        let mut keys = vec![Key { text: "replica".into(), ink: REPLICA, mark: Mark::Dot }];
        keys.extend(match self.input.xs() {
            Some(_) => [stroke("median", Mark::Line(MEDIAN_WIDTH)), stroke("quartiles", Mark::Upright(CURVE_WIDTH))],
            None => [stroke("median", Mark::Upright(MEDIAN_WIDTH)), stroke("quartiles", Mark::Line(CURVE_WIDTH))],
        });
        if self.has_missing() {
            let longest = self.input.arms.iter().map(|arm| arm.trained_steps).max().unwrap_or(0);
            let text = format!("never within {longest} updates or fewer");
            let same = self.input.arms.iter().all(|arm| arm.trained_steps == longest);
            let text = if same { text.replace(" or fewer", "") } else { text };
            keys.push(Key { text, ink: VERMILLION, mark: Mark::Ring });
        }
        if self.has_rates() {
            keys.push(Key::area("rate, with its 95 % interval", GREEN.faded(0.45)));
        }
        keys
    }

    fn has_rates(&self) -> bool {
        self.beyond == Beyond::Later { rates: true }
    }

    fn has_missing(&self) -> bool {
        self.beyond != Beyond::Nowhere && self.quantity.values.iter().flatten().any(Option::is_none)
    }

    /// Quartiles of the values of one arm; infinite where so many replicas never crossed.
    fn spread(&self, values: &[Option<f64>]) -> Option<[f64; 3]> {
        match self.beyond {
            Beyond::Nowhere => Spread::of(values.iter().copied()).quartiles,
            Beyond::Later { .. } => {
                let all = values.iter().map(|value| Some(value.unwrap_or(f64::INFINITY)));
                // Between a number and infinity, and between infinities, ranks interpolate to infinity or to no number.
                Spread::of(all).quartiles.map(|all| all.map(|x| if x.is_nan() { f64::INFINITY } else { x }))
            }
        }
    }

    fn scale(&self) -> Scale {
        let values = || self.quantity.values.iter().flatten().copied().flatten();
        match self.quantity.log {
            false if self.quantity.unit == COUNT => Scale::count(values()),
            false => Scale::linear(values()),
            true if values().any(|x| x.is_finite() && x > 0.0) => Scale::log(values()),
            true => Scale::log(self.input.arms.iter().map(|arm| arm.trained_steps as f64)),
        }
    }

    fn record(&self, table: &mut Table, i: usize, spread: Option<[f64; 3]>) {
        let Quantity { name, unit, values, .. } = self.quantity;
        let arm = &self.input.arms[i];
        let x = Field(arm.x.unwrap_or(f64::NAN));
        for (seed, value) in arm.seeds.iter().zip(&values[i]) {
            table.record(&[name, unit, &arm.label, &x, seed, &Field(value.unwrap_or(f64::NAN))]);
        }
        let spread = spread.unwrap_or([f64::NAN; 3]);
        for (rank, value) in ["first_quartile", "median", "third_quartile"].into_iter().zip(spread) {
            table.record(&[name, unit, &arm.label, &x, &rank, &Field(value)]);
        }
        if self.has_rates() {
            let rate = self.rate(i);
            let counts = [("crossed", rate.successes as f64), ("replicas", rate.n as f64)];
            let rates = [("rate", rate.frac()), ("rate_low", rate.low), ("rate_high", rate.high)];
            for (unit, (what, value)) in
                counts.map(|row| ("1", row)).into_iter().chain(rates.map(|row| ("fraction", row)))
            {
                table.record(&[name, &unit, &arm.label, &x, &what, &Field(value)]);
            }
        }
    }

    fn rate(&self, i: usize) -> Rate {
        let values = &self.quantity.values[i];
        Rate::of(values.iter().flatten().count(), values.len())
    }

    fn grid(&self, drawing: &mut Drawing, lay: &Lay) {
        let Lay { main, rate, strip, .. } = lay;
        if let Some(strip) = strip {
            drawing.rect(
                (strip.left, strip.top),
                (strip.left + strip.width, strip.top + strip.height),
                GRID.faded(0.5),
            );
        }
        for panel in std::iter::once(main).chain(rate) {
            if lay.rows { panel.grid_x(drawing) } else { panel.grid_y(drawing) }
        }
    }

    fn replicas(&self, drawing: &mut Drawing, lay: &Lay) {
        for (i, values) in self.quantity.values.iter().enumerate() {
            let mut known: Vec<f64> =
                values.iter().filter_map(|value| lay.along(value.filter(|x| x.is_finite())?)).collect();
            known.sort_by(f64::total_cmp);
            for (&along, offset) in known.iter().zip(swarm(&known, lay.slot, DOT)) {
                drawing.dot(lay.point(lay.places[i] + offset, along), DOT, REPLICA);
            }
        }
    }

    fn spreads(&self, drawing: &mut Drawing, lay: &Lay, spreads: &[Option<[f64; 3]>]) {
        let along = |x: f64| if x == f64::INFINITY { lay.beyond() } else { lay.along(x) };
        let mut medians = vec![];
        for (&place, spread) in lay.places.iter().zip(spreads) {
            let Some([low, median, high]) = spread.map(|spread| spread.map(along)) else { continue };
            if let (Some(low), Some(high)) = (low, high) {
                drawing.line(vec![lay.point(place, low), lay.point(place, high)], BLACK, CURVE_WIDTH);
            }
            if let Some(median) = median {
                let half = lay.slot * 0.36;
                let ends = [place - half, place + half].map(|place| lay.point(place, median));
                drawing.line(ends.to_vec(), BLACK, MEDIAN_WIDTH);
            }
            let finite = spread.and_then(|spread| lay.along(spread[1]));
            medians.extend(finite.map(|median| (place, lay.point(place, median))));
        }
        if !lay.rows {
            medians.sort_by(|a, b| a.0.total_cmp(&b.0));
            drawing.line(medians.into_iter().map(|(_, point)| point).collect(), GREY, 0.8);
        }
    }

    fn missing(&self, drawing: &mut Drawing, lay: &Lay) {
        let Some(beyond) = lay.beyond() else { return };
        for (values, place) in self.quantity.values.iter().zip(&lay.places) {
            let never = vec![beyond; values.iter().filter(|value| value.is_none()).count()];
            for offset in swarm(&never, lay.slot, DOT) {
                drawing.ring(lay.point(place + offset, beyond), DOT, VERMILLION, 1.2);
            }
        }
    }

    fn rates(&self, drawing: &mut Drawing, lay: &Lay) {
        let Some(panel) = &lay.rate else { return };
        let half = lay.slot * 0.3;
        let mut last = f64::NEG_INFINITY;
        let mut order: Vec<usize> = (0..lay.places.len()).collect();
        order.sort_by(|&a, &b| lay.places[a].total_cmp(&lay.places[b]));
        for i in order {
            let (rate, place) = (self.rate(i), lay.places[i]);
            let at = |across: f64, frac: f64| lay.rate_point(panel, place + across, frac);
            if rate.n > 0 {
                drawing.rect(at(-half, 0.0), at(half, rate.frac()), GREEN.faded(0.45));
                drawing.line(vec![at(0.0, rate.low), at(0.0, rate.high)], BLACK, CURVE_WIDTH);
            }
            let text = format!("{}/{}", rate.successes, rate.n);
            let width = super::font::width(&text, TICK_SIZE);
            if lay.rows {
                let right = panel.frame.left + panel.frame.width + 6.0;
                drawing.text((right, place + 4.0), &text, TICK_SIZE, BLACK, Anchor::Start);
            } else if place - width / 2.0 > last + 4.0 {
                drawing.text((place, panel.frame.top - 5.0), &text, TICK_SIZE, BLACK, Anchor::Middle);
                last = place + width / 2.0;
            }
        }
    }

    fn axes(&self, drawing: &mut Drawing, lay: &Lay) {
        let value = if self.quantity.log { with_log(&self.quantity.label) } else { self.quantity.label.clone() };
        if let Some(strip) = &lay.strip {
            lay.name_strip(drawing, strip, "never");
        }
        if lay.rows {
            for panel in std::iter::once(&lay.main).chain(&lay.rate) {
                panel.outline(drawing);
            }
            lay.main.x_axis(drawing, Some(&value));
            lay.rate.iter().for_each(|panel| panel.x_axis(drawing, Some("rate (fraction)")));
            return lay.labels(drawing, self.input);
        }
        let x = if self.input.x_log { with_log(&self.input.x_label) } else { self.input.x_label.clone() };
        lay.main.axes(drawing, Names { x: Some(&x), y: Some(&value), panel: None });
        if let Some(Panel { frame, y, .. }) = lay.rate {
            let panel = Panel { frame, x: lay.main.x, y };
            panel.outline(drawing);
            panel.y_axis(drawing, Some("rate (fraction)"));
        }
    }
}

/// How far each dot of that radius steps aside from the middle so that it lies on no other, as far as `slot` has room.
pub(super) fn swarm(sorted: &[f64], slot: f64, radius: f64) -> Vec<f64> {
    let (size, most) = (2.0 * radius + 0.4, (slot * 0.42).max(0.0));
    let mut placed: Vec<(f64, f64)> = vec![];
    for &along in sorted {
        let free = |offset: f64| placed.iter().rev().all(|&(a, o)| (along - a).hypot(offset - o) >= size);
        let step = |i: u32| f64::from(i.div_ceil(2)) * radius / 2.0 * if i % 2 == 1 { 1.0 } else { -1.0 };
        let offset = (0..).map(step).take_while(|offset| offset.abs() <= most).find(|&offset| free(offset));
        placed.push((along, offset.unwrap_or(0.0)));
    }
    placed.into_iter().map(|(_, offset)| offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_step_aside_as_far_as_needed_and_no_further() {
        assert_eq!(swarm(&[0.0, 100.0, 200.0], 40.0, DOT), [0.0, 0.0, 0.0]);
        let offsets = swarm(&[5.0; 4], 60.0, DOT);
        assert_eq!(offsets[0], 0.0);
        for (i, a) in offsets.iter().enumerate() {
            assert!(offsets[..i].iter().all(|b| (a - b).abs() >= 2.0 * DOT), "{offsets:?}");
        }
        assert!(swarm(&[5.0; 50], 20.0, DOT).iter().all(|offset| offset.abs() <= 10.0));
    }
}
