//! The `ioi` family: toy indirect object identification, as symbols or as sentences.
//!
//! Operands are the first name, the second name and the subject, then in sentences the template, the place, the object and the
//! distractor. An example is `BOS Mary John John MID`, the answer being the name that is not the subject. Source: the task of Wang et
//! al. 2022 (arXiv 2211.00593); Adhikari 2025 (arXiv 2510.25013) has a symbolic form.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::ioi_sentences::{N_CLAUSES, SYMBOLIC, TEMPLATES, with_clause};
use super::rule::{Drawn, Example, IGNORED, Rule, outside};
use super::wording::{Choice, NAMES, OBJECTS, PLACES, Piece, Vocabulary, unread};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

pub use super::ioi_flip::Flip;

/// Examples that [`Rule::all`] may list.
const MAX_LISTED: u64 = 100_000;

const EXPLAIN: &str = "\
What it is
  Two names, then one of them again, the subject S; the answer is the other one, the indirect object IO. The symbolic
  form is BOS n1 n2 S MID -> IO. The templated form is a sentence, one word a token: When Mary and John went to the
  store , John gave a drink to -> Mary. In ABBA the subject is the second name, in BABA the first.
Reads
  params.form: symbolic or templated; symbolic when unset. params.names: how many names there are, 2 to 32; 6, or 16 in
  sentences, when unset; or params.name_words: a list of names instead. params.order: both, abba or baba; both when
  unset. params.ask: last, the answer alone, or all, the next token everywhere; last when unset. params.flip: turns
  each example that is drawn or listed into a corrupted one: CDD, BAA, BAB, DCD or ABA; none when unset.
  Sentences alone: params.places, params.objects: 1 to 16; 8 when unset; or params.place_words, params.object_words.
  params.templates: how many of the 8 templates, each in both orders. params.distractors: whether one of three clauses
  in front, one of three in the middle, or none makes sentences of several lengths; false when unset.
Unit and range
  Names are tokens 0 to names - 1, so BOS and MID are names and names + 1; in sentences places, objects and the other
  words follow, then PAD, which stands at the end of short sentences. The three letters of a flip are the first name,
  the second one and the subject: an example ABB, whose subject is its second name, becomes
    CDD  two names that it does not hold                 answer C
    DCD  the same two, in the exchanged order            answer C
    BAB  names in the exchanged order, the same subject  answer A, as before
    ABA  the other subject                               answer B
    BAA  both of the last two: the names exchanged       answer B
  An example ABA changes in the same ways, for instance by BAA to BAB. The new names are the first shift of both old
  ones along the list that gives two new ones, so that different examples stay different. Operands of either order
  have an example, whatever params.order says.
  A finite set without split.examples holds every example, where there are at most 100,000. Labels in measures: order
  (0 ABBA, 1 BABA), or in sentences template, which is twice the number of the template plus the order.
Value at a known point
  BOS Mary John John MID -> Mary. Six names have 6 * 5 * 2 = 60 symbolic examples. A model that gives half to each of
  the two names has a loss of ln 2 = 0.693147 nats.
Source
  Wang et al. 2022 (arXiv 2211.00593), whose templates these follow. Adhikari 2025 (arXiv 2510.25013) trains small
  models on a symbolic form. The flips by their letters; the definition is ours.
";

/// `[params]`: names, of which one is the answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ioi {
    form: Form,
    names: Option<usize>,
    name_words: Option<Vec<String>>,
    order: Order,
    ask: Ask,
    flip: Option<Flip>,
    places: Option<usize>,
    place_words: Option<Vec<String>>,
    objects: Option<usize>,
    object_words: Option<Vec<String>>,
    templates: Option<usize>,
    distractors: Option<bool>,
    /// How many values each operand has to draw from: names, names but one, orders, then the sentence's parts.
    #[serde(skip)]
    sizes: Vec<u32>,
    /// Template by template, the distractors of each; one for the symbolic form.
    #[serde(skip)]
    sentences: Vec<Vec<Piece>>,
    /// Where a token is asked for in any sentence, ascending.
    #[serde(skip)]
    asked: Vec<usize>,
    #[serde(skip)]
    words: Vec<String>,
}

/// How an example is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Symbolic,
    Templated,
}

/// Which of the two names the subject is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Both,
    /// The second.
    Abba,
    /// The first.
    Baba,
}

/// Where the next token is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    Last,
    All,
}

impl Ioi {
    fn is_templated(&self) -> bool {
        self.form == Form::Templated
    }

    fn n_names(&self) -> u32 {
        self.sizes[0]
    }

    fn n_templates(&self) -> usize {
        self.templates.unwrap_or(TEMPLATES.len())
    }

    fn n_clauses(&self) -> usize {
        if self.distractors == Some(true) { N_CLAUSES } else { 1 }
    }

    /// Every sentence, the clauses of a template together.
    fn texts(&self) -> Vec<String> {
        if !self.is_templated() {
            return vec![SYMBOLIC.to_owned()];
        }
        let templates = TEMPLATES.iter().take(self.n_templates());
        templates.flat_map(|template| (0..self.n_clauses()).map(|clause| with_clause(template, clause))).collect()
    }

    /// Parameters of sentences, in the symbolic form.
    fn unread(&self) -> Vec<Fault> {
        let of_sentences = [
            ("places", self.places.is_some()),
            ("place_words", self.place_words.is_some()),
            ("objects", self.objects.is_some()),
            ("object_words", self.object_words.is_some()),
            ("templates", self.templates.is_some()),
            ("distractors", self.distractors.is_some()),
        ];
        if self.is_templated() { vec![] } else { unread("the symbolic form", of_sentences) }
    }

    /// The names, places and objects, or all that is wrong with them; words among `taken` are.
    fn lists(&self, mut taken: Vec<String>) -> Result<[Vec<String>; 3], Vec<Fault>> {
        let n_names = if self.is_templated() { 16 } else { 6 };
        let (names, places, objects) = (&self.name_words, &self.place_words, &self.object_words);
        let names = Choice::of(["names", "name_words"], (self.names, names), NAMES, [2, n_names]);
        let places = Choice::of(["places", "place_words"], (self.places, places), PLACES, [1, 8]);
        let objects = Choice::of(["objects", "object_words"], (self.objects, objects), OBJECTS, [1, 8]);
        let choices = if self.is_templated() { vec![names, places, objects] } else { vec![names] };
        let (mut lists, mut faults) = ([vec![], vec![], vec![]], vec![]);
        for (list, choice) in lists.iter_mut().zip(choices) {
            match choice.words(&taken) {
                Ok(words) => *list = words,
                Err(wrong) => faults.extend(wrong),
            }
            taken.extend_from_slice(list);
        }
        if faults.is_empty() { Ok(lists) } else { Err(faults) }
    }

    /// Makes the tables of these names, places and objects.
    fn fill(&mut self, [names, places, objects]: [Vec<String>; 3]) {
        let orders = if self.order == Order::Both { 2 } else { 1 };
        self.sizes = vec![names.len() as u32, names.len() as u32 - 1, orders];
        if self.is_templated() {
            self.sizes.extend([self.n_templates(), places.len(), objects.len()].map(|n| n as u32));
        }
        if self.n_clauses() > 1 {
            self.sizes.push(self.n_clauses() as u32);
        }
        let mut vocabulary = Vocabulary::default();
        let [name, place, object] = [names, places, objects].map(|words| vocabulary.list(words));
        let slots =
            [("[A]", 0, name), ("[B]", 1, name), ("[S]", 2, name), ("[PLACE]", 4, place), ("[OBJECT]", 5, object)];
        self.sentences = self.texts().iter().map(|text| vocabulary.sentence(text, &slots)).collect();
        let ends: BTreeSet<usize> = self.sentences.iter().map(|sentence| sentence.len() - 1).collect();
        if ends.len() > 1 {
            vocabulary.token("PAD");
        }
        let last = ends.last().copied().unwrap_or(0);
        self.asked = if self.ask == Ask::All { (0..=last).collect() } else { ends.into_iter().collect() };
        self.words = vocabulary.into_words();
    }

    /// The sentence of these operands, if they are those of an example.
    fn sentence(&self, operands: &[u32]) -> Option<&[Piece]> {
        let [first, second, subject, parts @ ..] = operands else { return None };
        let names = [first, second];
        let fits = operands.len() == self.sizes.len()
            && first != second
            && names.iter().all(|&&name| name < self.n_names())
            && names.contains(&subject)
            && parts.iter().zip(&self.sizes[3..]).all(|(part, size)| part < size);
        let template = parts.first().map_or(0, |&template| template as usize);
        let clause = parts.get(3).map_or(0, |&clause| clause as usize);
        fits.then(|| &self.sentences[template * self.n_clauses() + clause][..])
    }

    /// Turns numbers below `sizes` into operands, each example's once.
    fn settle(&self, numbers: &mut [u32]) {
        // The second of the names but one: those from the first name on move up by one.
        numbers[1] += u32::from(numbers[1] >= numbers[0]);
        let is_first = match self.order {
            Order::Both => numbers[2] == 1,
            order => order == Order::Baba,
        };
        numbers[2] = if is_first { numbers[0] } else { numbers[1] };
        if let Some(how) = self.flip {
            how.apply(numbers, self.n_names());
        }
    }

    /// The operands of the example corrupted, of the same template, place, object and distractor; empty for operands that have no
    /// example, and for new names where there are fewer than four.
    pub fn flip(&self, operands: &[u32], how: Flip) -> Vec<u32> {
        if self.n_names() < how.least_names() || self.sentence(operands).is_none() {
            return vec![];
        }
        let mut flipped = operands.to_vec();
        how.apply(&mut flipped, self.n_names());
        flipped
    }
}

impl Drawn for Ioi {
    const NAME: &'static str = "ioi";
    const SUMMARY: &'static str =
        "indirect objects: When Mary and John went to the store , John gave a drink to -> Mary";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Ioi, Vec<Fault>> {
        let mut faults = self.unread();
        faults.extend(self.templates.and_then(|n| outside("templates", n, 1..=TEMPLATES.len())));
        let texts = self.texts();
        let taken = texts.iter().flat_map(|text| text.split(' ')).chain(["PAD"]).map(str::to_owned);
        let lists = self.lists(taken.collect()).map_err(|wrong| faults.extend(wrong)).unwrap_or_default();
        let n_names = lists[0].len() as u32;
        // Where the list itself is at fault there are none.
        if self.flip.is_some_and(|how| n_names > 0 && n_names < how.least_names()) {
            faults.push(fault("flip", format!("two new names need four or more in all; there are {n_names}")));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.fill(lists);
        Ok(self)
    }
}

impl Rule for Ioi {
    fn words(&self) -> Vec<String> {
        self.words.clone()
    }

    fn n_ctx(&self) -> usize {
        self.asked.last().map_or(0, |&last| last + 1)
    }

    fn loss_positions(&self) -> Vec<usize> {
        self.asked.clone()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend(self.sizes.iter().map(|&size| rng.below(size)));
        self.settle(operands);
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let n: u64 = self.sizes.iter().map(|&size| u64::from(size)).product();
        // The last number fastest.
        let operands = |mut place: u64| {
            let mut numbers = vec![0; self.sizes.len()];
            for (number, &size) in numbers.iter_mut().zip(&self.sizes).rev() {
                *number = (place % u64::from(size)) as u32;
                place /= u64::from(size);
            }
            self.settle(&mut numbers);
            numbers
        };
        (n <= MAX_LISTED).then(|| (0..n).map(operands).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some(sentence) = self.sentence(operands) else { return false };
        let (tokens, end) = (&mut to.tokens, sentence.len() - 1);
        tokens.extend(sentence.iter().map(|piece| piece.token(operands)));
        let answer = operands[0] + operands[1] - operands[2];
        let target = |&t: &usize| match t.cmp(&end) {
            Ordering::Less if self.ask == Ask::All => tokens[t + 1],
            Ordering::Equal => answer,
            _ => IGNORED,
        };
        to.targets.extend(self.asked.iter().map(target));
        // PAD is the last word where any is needed.
        tokens.resize(self.n_ctx(), self.words.len() as u32 - 1);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some(if self.is_templated() { "template" } else { "order" })
    }

    fn label(&self, operands: &[u32]) -> u32 {
        let order = u32::from(operands[2] == operands[0]);
        order + operands.get(3).map_or(0, |template| 2 * template)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::rule::check::{card, drawing, faults, rule, samples};

    fn ioi(params: &str) -> Ioi {
        card("ioi", params).unwrap().params(|_: &Ioi| vec![]).unwrap().ready().unwrap()
    }

    fn text(rule: &dyn Rule, operands: &[u32]) -> String {
        let d = drawing(rule, operands);
        let asked: Vec<String> = d.answers.into_iter().filter(|answer| !answer.is_empty()).collect();
        format!("{} -> {}", d.words.join(" "), asked.join(" "))
    }

    /// The two names and the subject as a reader finds them: the names stand at both sides of `and`, or behind `BOS`; the subject is
    /// the next of them to stand again.
    fn read(words: &[String]) -> [&str; 3] {
        let [a, b, rest] = match words.iter().position(|word| word == "and") {
            Some(and) => [and - 1, and + 1, and + 2],
            None => [1, 2, 3],
        };
        let subject = words[rest..].iter().find(|&word| *word == words[a] || *word == words[b]).unwrap();
        [&words[a], &words[b], subject]
    }

    /// The one of the two names that stands once.
    fn by_counting(words: &[String]) -> String {
        let count = |name: &str| words.iter().filter(|&word| word == name).count();
        let [a, b, _] = read(words);
        let (once, twice) = if count(a) == 1 { (a, b) } else { (b, a) };
        assert_eq!((count(once), count(twice)), (1, 2), "{words:?}");
        once.to_owned()
    }

    #[test]
    fn ten_thousand_answers_are_the_names_that_stand_once() {
        for params in [
            "",
            "names = 2, order = \"abba\"",
            "names = 20, order = \"baba\", ask = \"all\"",
            "form = \"templated\"",
            "form = \"templated\", distractors = true",
            "form = \"templated\", distractors = true, ask = \"all\", templates = 5, flip = \"DCD\"",
            "form = \"templated\", name_words = [\"Ann\", \"Ben\", \"Cid\"], place_words = [\"moon\"], objects = 1, templates = 2",
        ] {
            let rule = rule("ioi", params);
            let positions = rule.loss_positions();
            samples(&*rule, 10_000, |d| {
                let length = d.words.iter().position(|word| word == "PAD").unwrap_or(d.words.len());
                let (words, padding) = d.words.split_at(length);
                assert!(padding.iter().all(|word| word == "PAD"), "{:?}", d.words);
                assert!(["to", "MID"].contains(&words[length - 1].as_str()), "{words:?}");
                let whole = [words, &[by_counting(words)]].concat();
                for (&t, answer) in positions.iter().zip(&d.answers) {
                    let asked = t + 1 == length || (params.contains("all") && t + 1 < length);
                    assert_eq!(answer, if asked { &whole[t + 1] } else { "" }, "{params}: {words:?} at {t}");
                }
                let [a, _, subject] = read(words);
                match rule.label(&d.operands) % 2 {
                    0 => assert!(a != subject && !params.contains("baba"), "{words:?}"),
                    _ => assert!(a == subject && !params.contains("abba"), "{words:?}"),
                }
            });
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let symbolic = rule("ioi", "");
        assert_eq!(text(&*symbolic, &[0, 1, 1]), "BOS Mary John John MID -> Mary");
        assert_eq!(text(&*symbolic, &[1, 0, 1]), "BOS John Mary John MID -> Mary");
        assert_eq!((symbolic.loss_positions(), symbolic.words().len()), (vec![4], 8));
        let every = rule("ioi", "ask = \"all\"");
        assert_eq!(text(&*every, &[0, 1, 1]), "BOS Mary John John MID -> Mary John John MID Mary");
        let sentences = rule("ioi", "form = \"templated\", templates = 1");
        let wang = "When Mary and John went to the store , John gave a drink to -> Mary";
        assert_eq!(text(&*sentences, &[0, 1, 1, 0, 0, 0]), wang);
        assert_eq!(ioi("form = 'templated'").label(&[0, 1, 0, 3, 0, 0]), 2 * 3 + 1);
        for wrong in [&[0, 0, 0][..], &[0, 1, 2], &[0, 6, 0], &[6, 0, 6], &[0, 1], &[0, 1, 1, 0], &[]] {
            assert!(!symbolic.write(wrong, &mut Example::default()), "{wrong:?}");
        }
        for wrong in [&[0, 1, 1, 1, 0, 0][..], &[0, 1, 1, 0, 8, 0], &[0, 1, 1, 0, 0, 8], &[0, 1, 1], &[0; 7]] {
            assert!(!sentences.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn all_examples_are_listed_once_and_drawn_equally_often() {
        for (params, n) in [("", 60), ("names = 20, order = \"abba\"", 380), ("names = 5, flip = \"CDD\"", 40)] {
            let rule = rule("ioi", params);
            let all = rule.all().unwrap();
            let different: BTreeSet<&Vec<u32>> = all.iter().collect();
            assert_eq!((all.len(), different.len()), (n, n), "{params}");
            let mut counts: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
            samples(&*rule, 200 * n, |d| *counts.entry(d.operands.clone()).or_default() += 1);
            assert_eq!(counts.keys().collect::<BTreeSet<_>>(), different);
            // The deviation of a count is about √200 = 14.
            assert!(counts.values().all(|count| (130..270).contains(count)), "{params}: {counts:?}");
        }
        let few =
            rule("ioi", "form = \"templated\", names = 3, places = 2, objects = 3, templates = 2, distractors = true");
        assert_eq!(few.all().unwrap().len(), 3 * 2 * 2 * 2 * 2 * 3 * 7);
        assert_eq!(rule("ioi", "form = \"templated\"").all(), None);
        assert_eq!(rule("ioi", "").all().unwrap()[..3], [[0, 1, 1], [0, 1, 0], [0, 2, 2]]);
    }

    #[test]
    fn flips_change_the_answer_and_leave_the_rest() {
        let params = "form = \"templated\", distractors = true";
        let (ioi, rule) = (ioi(params), rule("ioi", params));
        samples(&*rule, 2_000, |clean| {
            let (names, answer) = (&read(&clean.words)[..2], by_counting(&clean.words));
            for how in Flip::ALL {
                let flipped = drawing(&*rule, &ioi.flip(&clean.operands, how));
                let after = by_counting(&flipped.words);
                let (same, old) = (after == answer, names.contains(&after.as_str()));
                let expected = match how {
                    Flip::Bab => (true, true),
                    Flip::Baa | Flip::Aba => (false, true),
                    Flip::Cdd | Flip::Dcd => (false, false),
                };
                assert_eq!((same, old), expected, "{how:?}: {:?} from {:?}", flipped.words, clean.words);
                assert_eq!(flipped.operands[3..], clean.operands[3..]);
            }
        });
    }

    #[test]
    fn a_card_can_flip_what_is_drawn_and_listed() {
        let clean = ioi("names = 7");
        for (name, how) in ["CDD", "BAA", "BAB", "DCD", "ABA"].into_iter().zip(Flip::ALL) {
            let images: Vec<Vec<u32>> = clean.all().unwrap().iter().map(|operands| clean.flip(operands, how)).collect();
            let flipped = rule("ioi", &format!("names = 7, flip = \"{name}\""));
            assert_eq!(flipped.all().unwrap(), images, "{name}");
            let draw = |rule: &dyn Rule| {
                let mut operands = vec![];
                rule.draw(&mut Rng::stream(1, "draw"), &mut operands);
                operands
            };
            assert_eq!(draw(&*flipped), clean.flip(&draw(&clean), how), "{name}");
        }
        let wrong: Vec<u32> = vec![];
        assert_eq!(clean.flip(&[0, 0, 0], Flip::Baa), wrong);
        assert_eq!(ioi("names = 3").flip(&[0, 1, 1], Flip::Cdd), wrong);
        assert_eq!(ioi("names = 3").flip(&[0, 1, 1], Flip::Bab), [1, 0, 1]);
    }

    #[test]
    fn faults_name_their_key() {
        let taken = "already stands elsewhere in the sentences; choose other words";
        for (params, message) in [
            ("names = 1", "params.names: 1 is out of range; it must be 2 to 32 (or name_words = [...])"),
            ("distractors = true", "params.distractors: the symbolic form does not read it; remove it"),
            ("names = 3, flip = 'CDD'", "params.flip: two new names need four or more in all; there are 3"),
            ("name_words = ['A', 'A']", "params.name_words: must be 2 or more words, each once"),
            ("name_words = ['A', 'BOS']", &format!("params.name_words: `BOS` {taken}")),
            ("names = 2, name_words = ['A', 'B']", "params.name_words: stands beside names; keep one of them"),
            (
                "name_words = ['A b', 'C']",
                "params.name_words: `A b` is no word; it must have no space and not be empty",
            ),
            ("form = 'templated', templates = 9", "params.templates: 9 is out of range; it must be 1 to 8"),
            ("form = 'templated', objects = 17", "it must be 1 to 16 (or object_words = [...])"),
            ("form = 'templated', object_words = ['Mary']", &format!("params.object_words: `Mary` {taken}")),
            ("form = 'templated', name_words = ['Ann', 'store']", &format!("params.places: `store` {taken}")),
            ("form = 'templated', object_words = []", "params.object_words: must be 1 or more words, each once"),
        ] {
            let found = faults("ioi", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("ioi", "names = 1, places = 1, objects = 1").len(), 3);
    }
}
