//! The `group` family: two elements of a finite group, and their product.
//!
//! Operands are the two elements by number. An example is `a b =`, the answer, a b, being asked at the last token. Source: Power et al. 2022
//! (arXiv 2201.02177) and Chughtai et al. 2023 (arXiv 2302.03025) for permutations of five.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::group_table::GroupTable;
use super::rule::{Drawn, Example, Rule};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

const EXPLAIN: &str = "\
What it is
  Two elements of a finite group, then =, where their product is asked: a b = with the answer a b. The group has a
  name or comes as a table.
Reads
  Exactly one of params.name, params.table and params.rows. params.name is
    Z7 or C7          the numbers 0 to 6, added mod 7
    D5                the 10 = 2n symmetries of a polygon with n = 5 corners: rotations r0 to r4, reflections sr0 to sr4
    S3 to S6, A3 to A6    all permutations of so many things, and the even ones
    Q8                the quaternions 1, -1, i, -i, j, -j, k, -k
    Z2xZ4, S3xZ2      products of such groups, of two or more, their elements written 1,3 or 021,1
  params.table: a text file in the card's folder, or relative to it, a row of numbers a line, with spaces or commas
  between them; row a holds a b at column b, both counted from 0. params.rows: the same as a list of lists.
  params.equals: whether the token = follows; true when unset. Without it, the answer is asked at the second element.
Unit and range
  Elements are tokens and classes 0 to n - 1, n being 2 to 1024, then the token =. Z7: in order. D5: rotations, then
  reflections. Permutations: in lexicographic order. Q8: as above. Products: the first factor major. Element 0 is the
  identity of a named group; the elements of a table are written as their numbers.
  A permutation is written in one-line notation, the images of 0, 1, 2 and so on: 021 keeps 0 and exchanges 1 and 2.
  A product a b means: apply b first, then a, for permutations and symmetries alike; so r s = s r^-1, and sr2 is: rotate
  twice, then reflect.
  A finite set without split.examples holds all n^2 pairs.
Value at a known point
  120 021 = 102, as 021 sends 0 to 0 and 120 sends 0 to 1; the other way round, 021 120 = 210.
Source
  S5: Power et al. 2022 (arXiv 2201.02177). Other groups: Chughtai et al. 2023 (arXiv 2302.03025). Conventions differ
  between codes: with the other one of composition, a b is what b a is here.
";

/// `[params]`: the products of a finite group.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    name: Option<String>,
    table: Option<PathBuf>,
    rows: Option<Vec<Vec<u32>>>,
    equals: Option<bool>,
    /// Where the card lies.
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    group: GroupTable,
}

impl Group {
    /// How many elements there are, n.
    pub fn order(&self) -> usize {
        self.group.order()
    }

    /// `[n, n]`: at (a, b) the element a b.
    pub fn table(&self) -> &[u32] {
        &self.group.product
    }

    /// The classes {g a g^-1 : g}, each ascending, in order of their first elements.
    pub fn conjugacy_classes(&self) -> Vec<Vec<u32>> {
        self.group.conjugacy_classes()
    }

    fn equals(&self) -> bool {
        self.equals.unwrap_or(true)
    }

    fn read(&self) -> Result<GroupTable, Vec<Fault>> {
        let at = |key: &'static str| move |messages: Vec<String>| messages.into_iter().map(|m| fault(key, m)).collect();
        match (&self.name, &self.table, &self.rows) {
            (Some(name), None, None) => GroupTable::named(name).map_err(|message| vec![fault("name", message)]),
            (None, Some(path), None) => rows_of_file(&self.folder.join(path))
                .map_err(|message| vec![message])
                .and_then(|rows| GroupTable::of_rows(&rows))
                .map_err(at("table")),
            (None, None, Some(rows)) => GroupTable::of_rows(rows).map_err(at("rows")),
            (None, None, None) => {
                let message = "missing; a group such as S5 (or table = a file, or rows = [[...], ...])";
                Err(vec![fault("name", message)])
            }
            (Some(_), Some(_), _) => Err(vec![fault("table", "stands beside name; keep one of them")]),
            (Some(_), None, Some(_)) => Err(vec![fault("rows", "stands beside name; keep one of them")]),
            (None, Some(_), Some(_)) => Err(vec![fault("rows", "stands beside table; keep one of them")]),
        }
    }
}

/// The rows of a text file, or what is wrong with it.
fn rows_of_file(path: &Path) -> Result<Vec<Vec<u32>>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!("there is no file {}; its path starts at the card's folder", path.display())
        }
        _ => format!("cannot read {}: {e}", path.display()),
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(i, line): (usize, &str)| {
        let entries = line.split(|c: char| c.is_whitespace() || c == ',').filter(|entry| !entry.is_empty());
        let number = |entry: &str| {
            let message = || format!("{}, line {}: `{entry}` is no number from 0 on", path.display(), i + 1);
            entry.parse::<u32>().map_err(|_| message())
        };
        entries.map(number).collect()
    };
    lines.map(row).collect()
}

impl Drawn for Group {
    const NAME: &'static str = "group";
    const SUMMARY: &'static str = "products in a finite group, by name or by table: 10234 12340 = 02341";
    const EXPLAIN: &'static str = EXPLAIN;

    fn beside(&mut self, folder: &Path) {
        self.folder = folder.to_path_buf();
    }

    fn ready(mut self) -> Result<Group, Vec<Fault>> {
        self.group = self.read()?;
        Ok(self)
    }
}

impl Rule for Group {
    fn words(&self) -> Vec<String> {
        self.classes().into_iter().chain(self.equals().then(|| "=".to_owned())).collect()
    }

    fn classes(&self) -> Vec<String> {
        self.group.words.clone()
    }

    fn n_ctx(&self) -> usize {
        2 + usize::from(self.equals())
    }

    fn loss_positions(&self) -> Vec<usize> {
        vec![self.n_ctx() - 1]
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        operands.extend((0..2).map(|_| rng.below(self.order() as u32)));
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let n = self.order() as u32;
        Some((0..n).flat_map(|a| (0..n).map(move |b| vec![a, b])).collect())
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let n = self.order() as u32;
        let &[a, b] = operands else { return false };
        if a >= n || b >= n {
            return false;
        }
        to.tokens.extend([a, b]);
        to.tokens.extend(self.equals().then_some(n));
        to.targets.push(self.group.product[(a * n + b) as usize]);
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::task::rule::check::{card, drawing, faults, rule, samples};

    type Solve = fn(&str, &str) -> String;

    /// Each image of b, looked up in a.
    fn as_maps(a: &str, b: &str) -> String {
        b.chars().map(|i| a.chars().nth(i.to_digit(10).unwrap() as usize).unwrap()).collect()
    }

    /// Where a symmetry of the pentagon takes a point of the plane.
    fn moved(word: &str, (x, y): (f64, f64)) -> (f64, f64) {
        let (turns, flips) = (word.trim_start_matches(['s', 'r']), word.starts_with('s'));
        let (sin, cos) = (TAU / 5.0 * turns.parse::<f64>().unwrap()).sin_cos();
        let (x, y) = (cos * x - sin * y, sin * x + cos * y);
        if flips { (x, -y) } else { (x, y) }
    }

    /// The symmetry that takes two corners of the pentagon where b, then a, takes them.
    fn of_pentagon(a: &str, b: &str) -> String {
        let corners = [0.0, 1.0].map(|k: f64| ((TAU / 5.0 * k).cos(), (TAU / 5.0 * k).sin()));
        let near = |p: (f64, f64), q: (f64, f64)| (p.0 - q.0).hypot(p.1 - q.1) < 1e-9;
        let is_product = |word: &String| corners.iter().all(|&p| near(moved(word, p), moved(a, moved(b, p))));
        let words = (0..5).flat_map(|k| [format!("r{k}"), format!("sr{k}")]);
        let found: Vec<String> = words.filter(is_product).collect();
        assert_eq!(found.len(), 1);
        found[0].clone()
    }

    /// Hamilton's product of a + bi + cj + dk.
    fn of_quaternions(a: &str, b: &str) -> String {
        let number = |word: &str| {
            let sign = if word.starts_with('-') { -1 } else { 1 };
            ["1", "i", "j", "k"].map(|unit| if word.trim_start_matches('-') == unit { sign } else { 0 })
        };
        let ([a, b, c, d], [e, f, g, h]) = (number(a), number(b));
        let product = [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ];
        let words = ["1", "-1", "i", "-i", "j", "-j", "k", "-k"];
        words.into_iter().find(|word| number(word) == product).unwrap().to_owned()
    }

    fn mod_7(a: &str, b: &str) -> String {
        let digits = "0123456012345";
        let at = |word: &str| word.parse::<usize>().unwrap();
        digits[at(a)..][at(b)..][..1].to_owned()
    }

    fn of_pairs(a: &str, b: &str) -> String {
        let ((a, x), (b, y)) = (a.split_once(',').unwrap(), b.split_once(',').unwrap());
        format!("{},{}", as_maps(a, b), if x == y { 0 } else { 1 })
    }

    #[test]
    fn ten_thousand_products_are_right() {
        let solvers: [(&str, Solve); 7] = [
            ("name = \"S5\"", as_maps),
            ("name = \"S6\", equals = false", as_maps),
            ("name = \"A5\"", as_maps),
            ("name = \"D5\"", of_pentagon),
            ("name = \"Q8\"", of_quaternions),
            ("name = \"C7\"", mod_7),
            ("name = \"S3xZ2\"", of_pairs),
        ];
        for (params, solve) in solvers {
            let rule = rule("group", params);
            samples(&*rule, 10_000, |d| {
                assert_eq!(d.answers, [solve(&d.words[0], &d.words[1])], "{params}: {:?}", d.words);
                assert_eq!(d.words.get(2).map(String::as_str), (!params.contains("equals")).then_some("="));
            });
        }
    }

    #[test]
    fn the_right_factor_is_applied_first() {
        let s3 = rule("group", "name = \"S3\"");
        assert_eq!(s3.words(), ["012", "021", "102", "120", "201", "210", "="]);
        assert_eq!(s3.classes().len(), 6);
        let text = |operands: &[u32]| {
            let d = drawing(&*s3, operands);
            format!("{} {}", d.words.join(" "), d.answers.join(" "))
        };
        assert_eq!((text(&[3, 1]), text(&[1, 3])), ("120 021 = 102".to_owned(), "021 120 = 210".to_owned()));
        let short = rule("group", "name = \"Z2xZ4\", equals = false");
        let d = drawing(&*short, &[7, 6]);
        assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), ("1,3 1,2", "0,1"));
        assert_eq!((short.loss_positions(), short.words().len()), (vec![1], 8));
        for wrong in [&[0][..], &[0, 6], &[6, 0], &[0, 0, 0], &[u32::MAX, 0], &[]] {
            assert!(!s3.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn all_pairs_are_listed_once_and_drawn_as_often() {
        let all = rule("group", "name = \"S3\"").all().unwrap();
        assert!(all.is_sorted_by(|a, b| a < b) && all.len() == 36);
        let mut counts = [0; 36];
        samples(&*rule("group", "name = \"S3\""), 36_000, |d| {
            counts[(6 * d.operands[0] + d.operands[1]) as usize] += 1
        });
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        let largest = rule("group", "name = \"S6\"").all().unwrap();
        assert_eq!((largest.len(), &largest[518_399][..]), (518_400, &[719, 719][..]));
    }

    fn group(params: &str) -> Group {
        let group = card("group", params).unwrap().params(|_: &Group| vec![]).unwrap();
        group.ready().unwrap()
    }

    #[test]
    fn measures_read_table_and_classes() {
        let s3 = group("name = \"S3\"");
        assert_eq!((s3.order(), s3.table().len(), s3.table()[6 * 3 + 1]), (6, 36, 2));
        assert_eq!(s3.conjugacy_classes(), [vec![0], vec![1, 2, 5], vec![3, 4]]);
        // Z3 with the identity in the middle.
        let moved = group("rows = [[2, 0, 1], [0, 1, 2], [1, 2, 0]]");
        assert_eq!((moved.table(), moved.conjugacy_classes().len()), (&[2, 0, 1, 0, 1, 2, 1, 2, 0][..], 3));
    }

    #[test]
    fn a_table_lies_beside_its_card() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("more/z3.txt"), text).unwrap();
        let params = "title = \"t\"\nfamily = \"group\"\nsplit.train_frac = 1.0\nparams.table = \"more/z3.txt\"\n";
        let parse = || crate::task::Card::parse(&folder.path().join("card.toml"), params);
        let cause = || parse().unwrap_err().cause().join("\n");
        let path = folder.path().join("more/z3.txt").display().to_string();
        assert_eq!(
            cause(),
            format!("line 4: params.table: there is no file {path}; its path starts at the card's folder")
        );
        for text in ["0 1 2\n1 2 0\n2 0 1\n", "0,1,2\r\n1,2,0\r\n2,0,1", "\n0, 1,2 \n 1\t2 0\n\n2,0,1\n\n"] {
            write(text);
            let task = parse().unwrap().build().unwrap();
            assert_eq!((task.n_examples(), &task.targets_bl[..]), (9, &[0, 1, 2, 1, 2, 0, 2, 0, 1][..]));
        }
        write("0 1 2\n\n1 -2 0\n2 0 1\n");
        assert_eq!(cause(), format!("line 4: params.table: {path}, line 3: `-2` is no number from 0 on"));
        write("0 1 2\n1 2 0\n");
        assert_eq!(
            cause(),
            "line 4: params.table: row 0 has 3 entries, as against 2 rows; it must be square (and 1 more like it)\n\
             line 4: params.table: row 0, column 2 (from 0): 2 is out of range; it must be 0 to 1 (and 1 more like it)"
        );
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("equals = true", "params.name: missing; a group such as S5 (or table = a file, or rows = [[...], ...])"),
            ("name = \"S5\", table = \"a.txt\"", "params.table: stands beside name; keep one of them"),
            ("name = \"S5\", rows = [[0]]", "params.rows: stands beside name; keep one of them"),
            ("table = \"a.txt\", rows = [[0]]", "params.rows: stands beside table; keep one of them"),
            (
                "name = \"S7\"",
                "params.name: there is no group `S7`; known: Z7 (or C7), D5, S3 to S6, A3 to A6, Q8, and products such as Z2xZ4",
            ),
            ("name = \"Z2xD512\"", "params.name: Z2xD512 has too many elements; it must have 2 to 1024"),
            ("rows = [[0]]", "params.rows: has 1 rows; it must have 2 to 1024"),
            ("rows = [[0, 1], [1]]", "params.rows: row 1 has 1 entries, as against 2 rows; it must be square"),
            (
                "rows = [[1, 2], [2, 1]]",
                "params.rows: row 0, column 1 (from 0): 2 is out of range; it must be 0 to 1 (and 1 more like it)",
            ),
            (
                "rows = [[0, 0], [1, 1]]",
                "params.rows: not a group: no identity, no element e with e a = a e = a for all a",
            ),
            ("rows = [[0, 1], [1, 1]]", "params.rows: not a group: element 1 has no inverse, no b with 1 b = b 1 = 0"),
            // Each element is its own inverse, of which there can be no group of three.
            (
                "rows = [[0, 1, 2], [1, 0, 1], [2, 2, 0]]",
                "params.rows: not associative: (1 1) 2 = 0 2 = 2, but 1 (1 2) = 1 1 = 0",
            ),
        ] {
            let found = faults("group", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
    }
}
