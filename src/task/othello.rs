//! The `othello` family: games of random legal moves.
//!
//! Operands are the moves of a game. An example is its moves `f5 d6 c3`, the answers being the next one at each. Source: Li et al. 2023
//! (arXiv 2210.13382).

use serde::Deserialize;

use super::board::{Board, nth, ones};
use super::rule::{Drawn, Example, IGNORED, Rule};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Games that [`Rule::all`] may give.
const MAX_LISTED: usize = 100_000;

const EXPLAIN: &str = "\
What it is
  Games of Othello in which each move is drawn from the legal ones, each as likely: f5 d6 c3 d3. After each move that
  it reads the model is asked for the next one. Measures know the legal moves. A turn that is passed, for want of a
  legal move, is no token; so the moves alone do not tell by their number who moves.
Reads
  params.board: the side, 4, 6 or 8. params.length: moves that the model reads, 2 to side^2 - 5, and this many when
  unset.
Unit and range
  Tokens and answers are the squares but the four in the middle, row by row: a1 b1 c1 to h8, the letter being the
  column; then, as a token alone, PAD. A game that ends before the last answer, as neither player can move, has PAD
  after its moves; nothing is asked at its last move and at PAD. Operands are the moves: those that are read and one
  more, or fewer where the game ends.
  States: each square of the board after each move, the middle ones too: 0 empty, 1 black, 2 white. At PAD they are
  those of the end. Black moves first, from white d4, e5 and black e4, d5 on the board of 8, likewise on the others.
  A finite set without split.examples holds every game, where there are at most 100,000, each once, however likely.
Value at a known point
  Black can begin with d3, c4, f5 or e6. On the board of 8 there are 4, 12, 56, 244, 1396 and 8200 games of 1 to 6
  moves. On the board of 4 there are 60,060 games to the end.
Source
  Li et al. 2023 (arXiv 2210.13382): the board of 8, 60 squares as tokens, 59 of them read.
";

/// `[params]`: games of random legal moves.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Othello {
    #[serde(rename = "board")]
    side: usize,
    #[serde(rename = "length")]
    given_length: Option<usize>,
    #[serde(skip)]
    length: usize,
    #[serde(skip)]
    start: Board,
    /// The square of each token but PAD, ascending.
    #[serde(skip)]
    squares: Vec<u32>,
    /// `[64]`: the token of each square that can be played.
    #[serde(skip)]
    tokens: Vec<u32>,
}

impl Othello {
    fn pad(&self) -> u32 {
        self.squares.len() as u32
    }

    /// The name of a square: `c4`.
    fn name(square: u32) -> String {
        format!("{}{}", char::from(b'a' + (square % 8) as u8), square / 8 + 1)
    }

    /// Row by row.
    fn every_square(&self) -> impl Iterator<Item = u32> + use<> {
        let side = self.side as u32;
        (0..side).flat_map(move |row| (0..side).map(move |column| 8 * row + column))
    }

    /// Plays the move of this token; false when it is not legal.
    fn play(&self, board: &mut Board, token: u32) -> bool {
        self.squares.get(token as usize).is_some_and(|&square| board.play(square))
    }

    /// The board after each move that the model reads.
    fn boards(&self, operands: &[u32]) -> impl Iterator<Item = Board> {
        operands.iter().take(self.length).scan(self.start, |board, &token| {
            self.play(board, token);
            Some(*board)
        })
    }

    /// Appends every game that goes on from these moves; false where there come to be too many.
    fn list(&self, board: Board, moves: &mut Vec<u32>, games: &mut Vec<Vec<u32>>) -> bool {
        if moves.len() > self.length || board.legal() == 0 {
            games.push(moves.clone());
            return games.len() <= MAX_LISTED;
        }
        ones(board.legal()).all(|square| {
            let mut next = board;
            next.play(square);
            moves.push(self.tokens[square as usize]);
            let few = self.list(next, moves, games);
            moves.pop();
            few
        })
    }
}

impl Drawn for Othello {
    const NAME: &'static str = "othello";
    const SUMMARY: &'static str = "games of Othello by random legal moves, of which the next one is asked: f5 d6 c3";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<Othello, Vec<Fault>> {
        let side = self.side;
        if ![4, 6, 8].contains(&side) {
            // The range of length depends on it.
            return Err(vec![fault("board", format!("{side} is not the side of a board here; it must be 4, 6 or 8"))]);
        }
        let most = side * side - 5;
        self.length = self.given_length.unwrap_or(most);
        if !(2..=most).contains(&self.length) {
            let message =
                format!("{} is out of range; it must be 2 to {most}, of which a game has one move more", self.length);
            return Err(vec![fault("length", message)]);
        }
        self.start = Board::start(side);
        self.squares = ones(self.start.empty()).collect();
        self.tokens = vec![0; 64];
        for (token, &square) in (0..).zip(&self.squares) {
            self.tokens[square as usize] = token;
        }
        Ok(self)
    }
}

impl Rule for Othello {
    fn words(&self) -> Vec<String> {
        self.classes().into_iter().chain(["PAD".to_owned()]).collect()
    }

    fn classes(&self) -> Vec<String> {
        self.squares.iter().map(|&square| Othello::name(square)).collect()
    }

    fn n_ctx(&self) -> usize {
        self.length
    }

    fn loss_positions(&self) -> Vec<usize> {
        (0..self.length).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let mut board = self.start;
        while operands.len() <= self.length && board.legal() != 0 {
            let square = nth(board.legal(), rng.below(board.legal().count_ones()));
            board.play(square);
            operands.push(self.tokens[square as usize]);
        }
    }

    fn all(&self) -> Option<Vec<Vec<u32>>> {
        let mut games = vec![];
        self.list(self.start, &mut vec![], &mut games).then_some(games)
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let (mut board, n) = (self.start, operands.len());
        if n > self.length + 1 || !operands.iter().all(|&token| self.play(&mut board, token)) {
            return false;
        }
        // A game that goes on is not an example yet.
        if n <= self.length && board.legal() != 0 {
            return false;
        }
        to.tokens.extend(&operands[..n.min(self.length)]);
        to.tokens.resize(self.length, self.pad());
        to.targets.extend(&operands[1..]);
        to.targets.resize(self.length, IGNORED);
        true
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        let tokens = |board: Board| ones(board.legal()).map(|square| self.tokens[square as usize]).collect();
        let mut allowed: Vec<Vec<u32>> = self.boards(operands).map(tokens).collect();
        allowed.resize(self.length, vec![]);
        Some(allowed)
    }

    fn state_names(&self) -> Vec<String> {
        self.every_square().map(Othello::name).collect()
    }

    fn states(&self, operands: &[u32]) -> Vec<u32> {
        let end = self.boards(operands).last().unwrap_or(self.start);
        let boards = self.boards(operands).chain(std::iter::repeat(end)).take(self.length);
        boards.flat_map(|board| self.every_square().map(move |square| board.disc(square))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    /// The neighbours of a square in [`Plain`].
    const STEPS: [isize; 8] = [-11, -10, -9, -1, 1, 9, 10, 11];

    fn square_name(square: usize) -> String {
        format!("{}{}", b"#abcdefgh#"[square % 10] as char, square / 10)
    }

    /// A board as characters with `#` around them, ten a row, looked at square by square in each direction.
    #[derive(Clone)]
    struct Plain {
        discs: [char; 100],
        /// From the upper left corner.
        squares: Vec<usize>,
        turn: char,
        legal: Vec<usize>,
        passes: usize,
    }

    impl Plain {
        fn start(side: usize) -> Plain {
            let rows = (1..=side).map(|row| 10 * row);
            let squares: Vec<usize> = rows.flat_map(|row| (1..=side).map(move |column| row + column)).collect();
            let mut discs = ['#'; 100];
            squares.iter().for_each(|&square| discs[square] = '.');
            let middle = 11 * (side / 2);
            for (square, disc) in [(middle, 'o'), (middle + 1, 'x'), (middle + 10, 'x'), (middle + 11, 'o')] {
                discs[square] = disc;
            }
            let mut plain = Plain { discs, squares, turn: 'o', legal: vec![], passes: 0 };
            plain.next_player();
            plain
        }

        /// How many discs a move turns over in one direction.
        fn turned(&self, square: usize, step: isize) -> usize {
            let other = if self.turn == 'x' { 'o' } else { 'x' };
            let (mut at, mut n) = (square.wrapping_add_signed(step), 0);
            while self.discs[at] == other {
                (at, n) = (at.wrapping_add_signed(step), n + 1);
            }
            if self.discs[at] == self.turn { n } else { 0 }
        }

        fn next_player(&mut self) {
            self.turn = if self.turn == 'x' { 'o' } else { 'x' };
            let turns_some = |square: usize| STEPS.iter().any(|&step| self.turned(square, step) > 0);
            let is_legal = |&square: &usize| self.discs[square] == '.' && turns_some(square);
            self.legal = self.squares.iter().copied().filter(is_legal).collect();
        }

        fn play(&mut self, name: &str) {
            let square = 10 * name[1..].parse::<usize>().unwrap() + "abcdefgh".find(&name[..1]).unwrap() + 1;
            assert!(self.legal.contains(&square), "{name} on {:?}", self.discs);
            self.play_at(square);
        }

        fn play_at(&mut self, square: usize) {
            for step in STEPS {
                for i in 1..=self.turned(square, step) as isize {
                    self.discs[square.wrapping_add_signed(i * step)] = self.turn;
                }
            }
            self.discs[square] = self.turn;
            self.next_player();
            if self.legal.is_empty() {
                self.next_player();
                self.passes += usize::from(!self.legal.is_empty());
            }
        }

        fn states(&self) -> Vec<u32> {
            self.squares.iter().map(|&square| ".xo".find(self.discs[square]).unwrap() as u32).collect()
        }

        /// How many games there are of so many more moves, or fewer where they end.
        fn count(&self, moves: usize) -> usize {
            if moves == 0 || self.legal.is_empty() {
                return 1;
            }
            let after = |&square: &usize| {
                let mut next = self.clone();
                next.play_at(square);
                next.count(moves - 1)
            };
            self.legal.iter().map(after).sum()
        }
    }

    /// The tokens of a game by name.
    fn tokens(rule: &dyn Rule, game: &str) -> Vec<u32> {
        let words = rule.words();
        game.split(' ').map(|name| words.iter().position(|word| word == name).unwrap() as u32).collect()
    }

    #[test]
    fn ten_thousand_games_are_played_by_the_rules() {
        for (params, side, ends_early) in [
            ("board = 8", 8, true),
            ("board = 6", 6, true),
            ("board = 4", 4, true),
            ("board = 6, length = 20", 6, true),
            ("board = 8, length = 2", 8, false),
        ] {
            let rule = rule("othello", params);
            let (classes, start) = (rule.classes(), Plain::start(side));
            let names: Vec<String> = (0..100).map(square_name).collect();
            let (mut passes, mut early, mut whole) = (0, 0, 0);
            samples(&*rule, 10_000, |d| {
                let read: Vec<&String> = d.words.iter().filter(|word| *word != "PAD").collect();
                let allowed = rule.allowed(&d.operands).unwrap();
                let states = rule.states(&d.operands);
                let mut states = states.chunks(side * side);
                let mut plain = start.clone();
                for (t, name) in read.iter().enumerate() {
                    plain.play(name);
                    let legal: Vec<&String> = allowed[t].iter().map(|&class| &classes[class as usize]).collect();
                    assert!(plain.legal.iter().map(|&square| &names[square]).eq(legal.iter().copied()));
                    assert!(legal.contains(&&d.answers[t]) || legal.is_empty() && d.answers[t].is_empty());
                    assert_eq!(states.next(), Some(&*plain.states()));
                    let next = d.words.get(t + 1).filter(|word| *word != "PAD");
                    assert!(next.is_none_or(|next| *next == d.answers[t]));
                }
                let n = read.len();
                assert!(n == d.words.len() || plain.legal.is_empty(), "{:?}", d.words);
                assert!(d.words[n..].iter().all(|word| word == "PAD"));
                assert!(d.answers[n..].iter().all(String::is_empty) && allowed[n..].iter().all(Vec::is_empty));
                assert!(states.by_ref().take(d.words.len() - n).all(|end| *end == *plain.states()));
                assert_eq!((states.next(), allowed.len()), (None, d.words.len()));
                assert!(d.answers.iter().filter(|answer| !answer.is_empty()).count() >= 2);
                passes += plain.passes;
                early += usize::from(n < d.words.len());
                whole += usize::from(d.answers.last() != Some(&String::new()));
            });
            assert_eq!((passes > 0, early > 0), (ends_early, ends_early), "{params}");
            assert!(whole > 0, "{params}");
        }
    }

    #[test]
    fn examples_are_as_written_in_papers() {
        let eight = rule("othello", "board = 8");
        let sizes = (eight.words().len(), eight.classes().len(), eight.n_ctx(), eight.loss_positions().len());
        // Sixty squares, of which 59 moves are read: Li et al.
        assert_eq!(sizes, (61, 60, 59, 59));
        assert_eq!(eight.state_names().len(), 64);
        let four = rule("othello", "board = 4, length = 4");
        assert_eq!(four.words().join(" "), "a1 b1 c1 d1 a2 d2 a3 d3 a4 b4 c4 d4 PAD");
        assert_eq!(four.state_names()[4..8], ["a2", "b2", "c2", "d2"]);
        let game = [1, 0, 4, 6, 8];
        let d = drawing(&*four, &game);
        assert_eq!((d.words.join(" ").as_str(), d.answers.join(" ").as_str()), ("b1 a1 a2 a3", "a1 a2 a3 a4"));
        assert_eq!(four.states(&game)[16..32], [2, 1, 0, 0, 0, 2, 1, 0, 0, 1, 2, 0, 0, 0, 0, 0]);
        assert_eq!(four.states(&game)[48..], [2, 1, 0, 0, 2, 1, 1, 0, 2, 2, 2, 0, 0, 0, 0, 0]);
    }

    /// The shortest game there is, of nine moves: nothing is asked from the last one on.
    #[test]
    fn a_game_that_ends_early_is_padded() {
        let eight = rule("othello", "board = 8, length = 11");
        let game = tokens(&*eight, "e6 f4 e3 f6 g5 d6 e7 f5 c5");
        let d = drawing(&*eight, &game);
        assert_eq!(d.words.join(" "), "e6 f4 e3 f6 g5 d6 e7 f5 c5 PAD PAD");
        assert_eq!(d.answers, ["f4", "e3", "f6", "g5", "d6", "e7", "f5", "c5", "", "", ""]);
        for (length, answers) in [(9, 8), (8, 8)] {
            let rule = rule("othello", &format!("board = 8, length = {length}"));
            let d = drawing(&*rule, &game);
            assert_eq!(d.answers.iter().filter(|answer| !answer.is_empty()).count(), answers);
        }
    }

    #[test]
    fn what_is_no_game_is_not_written() {
        let eight = rule("othello", "board = 8, length = 4");
        let wrote = |operands: &[u32]| eight.write(operands, &mut Example::default());
        assert!(wrote(&tokens(&*eight, "f5 d6 c3 d3 c4")));
        // Too long, too short, no turn for white, a square twice, PAD.
        for wrong in ["f5 d6 c3 d3 c4 b3", "f5 d6 c3 d3", "f5 e6 c3 d3 c4", "f5 d6 c3 d3 f5", "f5 d6 c3 d3 PAD"] {
            assert!(!wrote(&tokens(&*eight, wrong)), "{wrong}");
        }
        for wrong in [&[][..], &[61], &[u32::MAX; 5]] {
            assert!(!wrote(wrong), "{wrong:?}");
        }
    }

    /// Σ (found − expected)² / expected over equally likely cells.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn each_legal_move_is_as_likely() {
        let eight = rule("othello", "board = 8");
        // [legal moves, how many come before the one that was played].
        let mut places = [[0; 10]; 11];
        samples(&*eight, 2000, |d| {
            let targets = d.operands[1..].iter();
            for (target, legal) in targets.zip(eight.allowed(&d.operands).unwrap()) {
                let place = legal.iter().position(|token| token == target).unwrap();
                if let Some(places) = places.get_mut(legal.len()).filter(|_| legal.len() < 11) {
                    places[place] += 1;
                }
            }
        });
        for (n, places) in places.iter().enumerate().skip(2) {
            let freedom = n as f64 - 1.0;
            let found = chi_square(&places[..n]);
            assert!(found < freedom + 4.0 * (2.0 * freedom).sqrt() + 4.0, "{n}: {places:?}");
        }
        let mut first = [0; 60];
        samples(&*rule("othello", "board = 8, length = 2"), 4000, |d| first[d.operands[0] as usize] += 1);
        let first: Vec<u32> = first.into_iter().filter(|&count| count > 0).collect();
        assert!(first.len() == 4 && chi_square(&first) < 20.0, "{first:?}");
    }

    #[test]
    fn few_games_are_all_listed() {
        for (params, side, moves) in
            [("board = 4", 4, 12), ("board = 4, length = 6", 4, 7), ("board = 8, length = 5", 8, 6)]
        {
            let rule = rule("othello", params);
            let all = rule.all().unwrap();
            assert!(all.is_sorted_by(|a, b| a < b), "{params}: a game stands twice");
            assert_eq!(all.len(), Plain::start(side).count(moves), "{params}");
            assert!(all.iter().all(|game| rule.write(game, &mut Example::default())), "{params}");
        }
        assert_eq!(rule("othello", "board = 4").all().unwrap().len(), 60_060);
        assert_eq!(rule("othello", "board = 8, length = 5").all().unwrap().len(), 8200);
        assert_eq!(rule("othello", "board = 8").all(), None);
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("", "params.board: 0 is not the side of a board here; it must be 4, 6 or 8"),
            ("board = 10", "params.board: 10 is not the side of a board here; it must be 4, 6 or 8"),
            ("board = 5, length = 8", "params.board: 5 is not the side of a board here; it must be 4, 6 or 8"),
            (
                "board = 8, length = 60",
                "params.length: 60 is out of range; it must be 2 to 59, of which a game has one move more",
            ),
            (
                "board = 4, length = 1",
                "params.length: 1 is out of range; it must be 2 to 11, of which a game has one move more",
            ),
        ] {
            let found = faults("othello", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
            assert_eq!(found.len(), 1);
        }
    }
}
