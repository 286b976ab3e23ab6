//! Othello positions as bitboards.
//!
//! Reads moves as square numbers, 8 · row + column on every board, so that a smaller one is the upper left corner of 64 bits; writes which
//! moves are legal and what stands on each square. A passed turn is no move: the mover is always a player who has one.

/// The four directions to later squares by the distance of neighbours, and whether they change the column; the others are their opposites.
const STEPS: [(u32, bool); 4] = [(1, true), (7, true), (8, false), (9, true)];

/// A position and who moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Board {
    mover: u64,
    other: u64,
    black_moves: bool,
    /// The mover's legal moves; none when the game is over.
    legal: u64,
    /// All squares of the board.
    squares: u64,
    /// All but the first and the last column: what can be turned over along a row or a diagonal.
    inner: u64,
}

impl Board {
    /// The start on a board of `side` 4, 6 or 8: white on the middle's upper left and lower right, black on the two others and to move.
    pub(super) fn start(side: usize) -> Board {
        let square = |row: usize, column: usize| 1u64 << (8 * row + column);
        let all = |columns: std::ops::Range<usize>| {
            (0..side).flat_map(|row| columns.clone().map(move |column| square(row, column))).sum()
        };
        let (low, high) = (side / 2 - 1, side / 2);
        let board = Board {
            mover: square(low, high) | square(high, low),
            other: square(low, low) | square(high, high),
            black_moves: true,
            legal: 0,
            squares: all(0..side),
            inner: all(1..side - 1),
        };
        Board { legal: board.moves(), ..board }
    }

    /// The legal moves, one bit each; 0 when the game is over.
    pub(super) fn legal(&self) -> u64 {
        self.legal
    }

    /// Squares without a disc, one bit each.
    pub(super) fn empty(&self) -> u64 {
        self.squares & !(self.mover | self.other)
    }

    /// What stands on a square: 0 nothing, 1 black, 2 white.
    pub(super) fn disc(&self, square: u32) -> u32 {
        let (black, white) = if self.black_moves { (self.mover, self.other) } else { (self.other, self.mover) };
        (black >> square & 1) as u32 + 2 * (white >> square & 1) as u32
    }

    /// Plays a move and passes the turn on, back where the other player has no move; false, and nothing done, when it is not legal.
    pub(super) fn play(&mut self, square: u32) -> bool {
        let disc = 1u64.checked_shl(square).unwrap_or(0);
        if self.legal & disc == 0 {
            return false;
        }
        let mut turned = 0;
        self.rays(disc, |run, beyond| turned |= if beyond & self.mover == 0 { 0 } else { run });
        self.mover |= disc | turned;
        self.other &= !turned;
        self.next_player();
        if self.legal == 0 {
            self.next_player();
        }
        true
    }

    fn next_player(&mut self) {
        std::mem::swap(&mut self.mover, &mut self.other);
        self.black_moves = !self.black_moves;
        self.legal = self.moves();
    }

    fn moves(&self) -> u64 {
        let mut ends = 0;
        self.rays(self.mover, |_, beyond| ends |= beyond);
        ends & self.empty()
    }

    /// Calls `each` for the eight directions with the other player's discs in unbroken runs from `source`, and with what lies one step
    /// beyond any of them. A run has at most six discs: a seventh would leave the board no square at its end.
    #[inline(always)]
    fn rays(&self, source: u64, mut each: impl FnMut(u64, u64)) {
        for (step, across) in STEPS {
            let through = if across { self.other & self.inner } else { self.other };
            let later = run(source, through, |squares, n| squares << (n * step));
            each(later, later << step);
            let earlier = run(source, through, |squares, n| squares >> (n * step));
            each(earlier, earlier >> step);
        }
    }
}

/// The unbroken runs of up to six squares of `through` that begin next to `source`, where `shift` moves squares by a number of steps.
#[inline(always)]
fn run(source: u64, through: u64, shift: impl Fn(u64, u32) -> u64) -> u64 {
    let pairs = through & shift(through, 1);
    let one = through & shift(source, 1);
    let two = one | through & shift(one, 1);
    let four = two | pairs & shift(two, 2);
    four | pairs & shift(four, 2)
}

/// Set bit number `n` of `bits`, the lowest first; it must have more than `n`.
pub(super) fn nth(mut bits: u64, n: u32) -> u32 {
    for _ in 0..n {
        bits &= bits - 1;
    }
    bits.trailing_zeros()
}

/// The set bits, ascending.
pub(super) fn ones(bits: u64) -> impl Iterator<Item = u32> {
    let rest = |&bits: &u64| Some(bits & bits.wrapping_sub(1));
    std::iter::successors(Some(bits), rest).take_while(|&bits| bits != 0).map(u64::trailing_zeros)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn after(side: usize, moves: &[&str]) -> Board {
        let mut board = Board::start(side);
        for name in moves {
            let [column, row] = <[u8; 2]>::try_from(name.as_bytes()).unwrap();
            assert!(board.play(u32::from(8 * (row - b'1') + column - b'a')), "{name} of {moves:?}");
        }
        board
    }

    /// Games of `depth` moves, none of which passes a turn at such depths.
    fn perft(board: Board, depth: usize) -> usize {
        if depth == 0 {
            return 1;
        }
        let child = |square| {
            let mut next = board;
            assert!(next.play(square));
            perft(next, depth - 1)
        };
        ones(board.legal()).map(child).sum()
    }

    #[test]
    fn as_many_games_as_are_known_of_each_length() {
        let known = [4, 12, 56, 244, 1396, 8200, 55_092, 390_216];
        for (depth, count) in (1..).zip(known) {
            assert_eq!(perft(Board::start(8), depth), count, "{depth} moves");
        }
    }

    #[test]
    fn boards_are_drawn_as_books_do() {
        let text = |board: Board, side: u32| -> Vec<String> {
            let disc = |square: u32| ".xo".chars().nth(board.disc(square) as usize).unwrap();
            (0..side).map(|row| (0..side).map(|column| disc(8 * row + column)).collect()).collect()
        };
        assert_eq!(text(Board::start(4), 4), ["....", ".ox.", ".xo.", "...."]);
        assert_eq!(text(after(4, &["b1", "a1"]), 4), ["ox..", ".ox.", ".xo.", "...."]);
        assert_eq!(text(after(6, &["b3"]), 6), ["......", "......", ".xxx..", "..xo..", "......", "......"]);
        let legal = |board: Board| ones(board.legal()).collect::<Vec<_>>();
        // d3, c4, f5, e6.
        assert_eq!(legal(Board::start(8)), [19, 26, 37, 44]);
        // f4, d6, f6.
        assert_eq!(legal(after(8, &["f5"])), [29, 43, 45]);
    }

    /// The shortest game there is: nine moves, after which white has no disc.
    #[test]
    fn a_game_ends_where_nobody_can_move() {
        let board = after(8, &["e6", "f4", "e3", "f6", "g5", "d6", "e7", "f5", "c5"]);
        assert_eq!((board.legal(), board.empty().count_ones()), (0, 51));
        assert!((0..64).all(|square| board.disc(square) != 2));
        let mut same = board;
        assert!((0..70).all(|square| !same.play(square)));
        assert_eq!(same, board);
    }

    #[test]
    fn set_bits_are_counted_from_the_lowest() {
        let bits = 1 << 63 | 1 << 40 | 1 << 7 | 1;
        assert_eq!(ones(bits).collect::<Vec<_>>(), [0, 7, 40, 63]);
        assert_eq!([0, 1, 2, 3].map(|n| nth(bits, n)), [0, 7, 40, 63]);
        assert_eq!((ones(0).count(), ones(u64::MAX).count()), (0, 64));
    }
}
