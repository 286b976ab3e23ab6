//! Sentences of the `template` family that differ in single words alone: years that last until later ones, and days that follow days.
//!
//! Operands are the words in the slots. The answer is asked at the last word. Source: see the family.

use super::rule::{Example, Rule, numbers};
use super::wording::{DAYS, EVENTS, MONTHS, Piece, Vocabulary};
use crate::rng::Rng;

/// Appends the tokens of a sentence, and its answer.
fn write(sentence: &[Piece], operands: &[u32], answer: u32, to: &mut Example) -> bool {
    to.tokens.extend(sentence.iter().map(|piece| piece.token(operands)));
    to.targets.push(answer);
    true
}

/// Years that are followed by a later year of the same century.
#[derive(Debug)]
pub(super) struct GreaterThan {
    events: u32,
    /// The first and the last.
    centuries: [u32; 2],
    years: [u32; 2],
    sentence: Vec<Piece>,
    words: Vec<String>,
}

impl GreaterThan {
    /// The greatest number of two digits.
    const LAST: u32 = 99;

    /// So many events, and the first and the last century and year.
    pub(super) fn new(events: usize, centuries: [usize; 2], years: [usize; 2]) -> GreaterThan {
        let mut vocabulary = Vocabulary::default();
        let number = vocabulary.list((0..=Self::LAST).map(|number| format!("{number:02}")));
        let event = vocabulary.list(EVENTS.split(' ').take(events));
        let text = "The [EVENT] lasted from the year [CENTURY] [YEAR] to the year [CENTURY]";
        let slots = [("[EVENT]", 0, event), ("[CENTURY]", 1, number), ("[YEAR]", 2, number)];
        GreaterThan {
            events: events as u32,
            centuries: centuries.map(|century| century as u32),
            years: years.map(|year| year as u32),
            sentence: vocabulary.sentence(text, &slots),
            words: vocabulary.into_words(),
        }
    }
}

impl Rule for GreaterThan {
    fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    fn n_ctx(&self) -> usize {
        self.sentence.len()
    }

    fn loss_positions(&self) -> Vec<usize> {
        vec![self.sentence.len() - 1]
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let mut within = |[first, last]: [u32; 2]| first + rng.below(last - first + 1);
        let [event, century, year] = [[0, self.events - 1], self.centuries, self.years].map(&mut within);
        operands.extend([event, century, year, within([year + 1, Self::LAST])]);
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let &[event, century, year, end] = operands else { return false };
        let within = |number: u32, [first, last]: [u32; 2]| (first..=last).contains(&number);
        event < self.events
            && within(century, self.centuries)
            && within(year, self.years)
            && within(end, [year + 1, Self::LAST])
            && write(&self.sentence, operands, end, to)
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("year")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands[2]
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        Some(vec![(operands[2] + 1..=Self::LAST).collect()])
    }
}

/// What comes round again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cycle {
    #[default]
    Days,
    Months,
    Hours,
}

/// Days, months or hours, and those that many later.
#[derive(Debug)]
pub(super) struct NextDay {
    /// Days in the cycle.
    n: u32,
    /// None without an offset, which then is 1.
    max_offset: Option<u32>,
    sentence: Vec<Piece>,
    words: Vec<String>,
}

impl NextDay {
    /// Days of this cycle, and offsets up to this one.
    pub(super) fn new(cycle: Cycle, max_offset: Option<usize>) -> NextDay {
        let (names, text): (Vec<String>, &str) = match cycle {
            Cycle::Days => (DAYS.split(' ').map(str::to_owned).collect(), "Today is [DAY] . In [OFFSET] days it is"),
            Cycle::Months => {
                (MONTHS.split(' ').map(str::to_owned).collect(), "This month is [DAY] . In [OFFSET] months it is")
            }
            Cycle::Hours => (numbers(24), "The hour is [DAY] . In [OFFSET] hours it is"),
        };
        let text = if max_offset.is_some() { text } else { "[DAY] is followed by" };
        let mut vocabulary = Vocabulary::default();
        let n = names.len() as u32;
        let day = vocabulary.list(names);
        // Hours are numbers themselves, the first of them 0; a number is the same word wherever it stands.
        let offsets = numbers(max_offset.map_or(0, |most| most + 1));
        let offset = match cycle {
            Cycle::Hours => vocabulary.list(offsets.into_iter().skip(n as usize)) - n,
            _ => vocabulary.list(offsets.into_iter().skip(1)) - 1,
        };
        let sentence = vocabulary.sentence(text, &[("[DAY]", 0, day), ("[OFFSET]", 1, offset)]);
        NextDay { n, max_offset: max_offset.map(|most| most as u32), sentence, words: vocabulary.into_words() }
    }
}

impl Rule for NextDay {
    fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    fn n_ctx(&self) -> usize {
        self.sentence.len()
    }

    fn loss_positions(&self) -> Vec<usize> {
        vec![self.sentence.len() - 1]
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.push(rng.below(self.n));
        operands.extend(self.max_offset.map(|most| 1 + rng.below(most)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let days = 0..self.n;
        Some(match self.max_offset {
            None => days.map(|day| vec![day]).collect(),
            Some(most) => days.flat_map(|day| (1..=most).map(move |offset| vec![day, offset])).collect(),
        })
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (day, offset) = match (operands, self.max_offset) {
            (&[day], None) => (day, 1),
            (&[day, offset], Some(most)) if (1..=most).contains(&offset) => (day, offset),
            _ => return false,
        };
        day < self.n && write(&self.sentence, operands, (day + offset) % self.n, to)
    }

    fn label_name(&self) -> Option<&'static str> {
        self.max_offset.map(|_| "offset")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        operands.get(1).copied().unwrap_or(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::task::rule::check::{drawing, rule, samples};

    #[test]
    fn ten_thousand_years_are_followed_by_later_ones() {
        for (params, centuries, years) in [
            ("", 11..=17, 2..=98),
            ("events = 1, min_century = 0, max_century = 99, min_year = 0", 0..=99, 0..=98),
            ("min_century = 20, max_century = 20, min_year = 90, max_year = 95", 20..=20, 90..=95),
        ] {
            let rule = rule("template", &format!("kind = 'greater_than', {params}"));
            samples(&*rule, 10_000, |d| {
                let text = format!("{} {}", d.words.join(" "), d.answers[0]);
                let (head, end) = text.split_once(" to the year ").unwrap();
                let (_, start) = head.split_once(" lasted from the year ").unwrap();
                assert!(text.starts_with("The ") && start.len() == 5 && end.len() == 5, "{text}");
                let [start, end]: [u32; 2] = [start, end].map(|year| year.replace(' ', "").parse().unwrap());
                assert!(start / 100 == end / 100 && end > start, "{text}");
                assert!(centuries.contains(&(start / 100)) && years.contains(&(start % 100)), "{text}");
                let later: Vec<u32> = (0..100).filter(|year| *year > start % 100).collect();
                assert_eq!(rule.allowed(&d.operands), Some(vec![later]));
                assert_eq!(rule.label(&d.operands), start % 100);
            });
        }
    }

    #[test]
    fn later_years_are_equally_likely() {
        let rule = rule("template", "kind = 'greater_than', min_year = 79, max_year = 79");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        samples(&*rule, 20_000, |d| *counts.entry(d.answers[0].clone()).or_default() += 1);
        let later: Vec<String> = (80..=99).map(|year| year.to_string()).collect();
        assert_eq!(counts.keys().cloned().collect::<Vec<_>>(), later);
        // The deviation of a count is about √1000 = 32.
        assert!(counts.values().all(|count| count.abs_diff(1000) < 160), "{counts:?}");
    }

    const DAY_NAMES: [&str; 7] = ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"];
    const MONTH_NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];

    /// A day of the Gregorian calendar: year, month from 1, day from 1.
    type Date = (u32, u32, u32);

    fn day_after((year, month, day): Date) -> Date {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u32::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            _ if day == last => (year, month + 1, 1),
            _ => (year, month, day + 1),
        }
    }

    /// Zeller's congruence.
    fn day_name((year, month, day): Date) -> &'static str {
        let (year, month) = if month < 3 { (year - 1, month + 12) } else { (year, month) };
        let (of_century, century) = (year % 100, year / 100);
        let sum = day + 13 * (month + 1) / 5 + of_century + of_century / 4 + century / 4 + 5 * century;
        DAY_NAMES[(sum % 7) as usize]
    }

    fn month_name((_, month, _): Date) -> &'static str {
        MONTH_NAMES[month as usize - 1]
    }

    /// The first day from the one on that `is` holds of.
    fn seek(from: Date, is: impl Fn(Date) -> bool) -> Date {
        std::iter::successors(Some(from), |&date| Some(day_after(date))).find(|&date| is(date)).unwrap()
    }

    fn day_later(name: &str, offset: u32) -> String {
        let today = seek((2023, 12, 27), |date| day_name(date) == name);
        day_name((0..offset).fold(today, |date, _| day_after(date))).to_owned()
    }

    fn month_later(name: &str, offset: u32) -> String {
        let today = seek((1999, 2, 15), |date| month_name(date) == name && date.2 == 15);
        month_name((0..offset).fold(today, |date, _| seek(day_after(date), |later| later.2 == 15))).to_owned()
    }

    fn hour_later(name: &str, offset: u32) -> String {
        let mut clock = [name.parse().unwrap(), 0];
        for _ in 0..60 * offset {
            clock[1] += 1;
            if clock[1] == 60 {
                clock = [clock[0] + 1, 0];
            }
            if clock[0] == 24 {
                clock[0] = 0;
            }
        }
        clock[0].to_string()
    }

    /// The name of a day, month or hour that many later.
    type Later = fn(&str, u32) -> String;

    #[test]
    fn ten_thousand_days_follow_by_the_calendar() {
        let table: [(&str, usize, Later); 7] = [
            ("", 7, day_later),
            ("max_offset = 7", 49, day_later),
            ("max_offset = 20", 140, day_later),
            ("cycle = 'months'", 12, month_later),
            ("cycle = 'months', max_offset = 12", 144, month_later),
            ("cycle = 'hours'", 24, hour_later),
            ("cycle = 'hours', max_offset = 30", 720, hour_later),
        ];
        for (params, n, later) in table {
            let rule = rule("template", &format!("kind = 'next_day', {params}"));
            let mut seen = BTreeSet::new();
            samples(&*rule, 10_000, |d| {
                seen.insert(d.operands.clone());
                let text = d.words.join(" ");
                let (name, offset) = match text.strip_suffix(" is followed by") {
                    Some(name) => (name, 1),
                    None => {
                        let (name, rest) = text.split_once(" is ").unwrap().1.split_once(" . In ").unwrap();
                        let offset = rest.split(' ').next().unwrap().parse().unwrap();
                        assert_eq!(rule.label(&d.operands), offset);
                        (name, offset)
                    }
                };
                assert_eq!(d.answers, [later(name, offset)], "{text}");
            });
            let all = rule.all().unwrap();
            assert_eq!((all.len(), seen.len()), (n, n), "{params}");
            assert!(all.iter().all(|operands| seen.contains(operands)), "{params}");
            let words = rule.words();
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "{params}: {words:?}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        for (params, operands, text) in [
            ("kind = 'greater_than'", &[0, 17, 32, 33][..], "The war lasted from the year 17 32 to the year 17 -> 33"),
            ("kind = 'next_day'", &[0], "Monday is followed by -> Tuesday"),
            ("kind = 'next_day', max_offset = 7", &[0, 3], "Today is Monday . In 3 days it is -> Thursday"),
            (
                "kind = 'next_day', cycle = 'months', max_offset = 12",
                &[0, 4],
                "This month is January . In 4 months it is -> May",
            ),
            ("kind = 'next_day', cycle = 'hours', max_offset = 9", &[22, 5], "The hour is 22 . In 5 hours it is -> 3"),
        ] {
            let d = drawing(&*rule("template", params), operands);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ")), text);
        }
        for (params, wrong) in [
            ("kind = 'greater_than'", &[0, 17, 32, 32][..]),
            ("kind = 'greater_than'", &[0, 17, 32, 100]),
            ("kind = 'greater_than'", &[16, 17, 32, 33]),
            ("kind = 'greater_than'", &[0, 18, 32, 33]),
            ("kind = 'greater_than'", &[0, 17, 99, 99]),
            ("kind = 'greater_than'", &[0, 17, u32::MAX, 33]),
            ("kind = 'greater_than'", &[0, 17, 32]),
            ("kind = 'next_day'", &[7]),
            ("kind = 'next_day'", &[0, 1]),
            ("kind = 'next_day', max_offset = 7", &[0, 0]),
            ("kind = 'next_day', max_offset = 7", &[0, 8]),
            ("kind = 'next_day', max_offset = 7", &[0]),
        ] {
            assert!(!rule("template", params).write(wrong, &mut Example::default()), "{params}: {wrong:?}");
        }
    }
}
