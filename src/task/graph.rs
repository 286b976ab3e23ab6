//! Graphs of few nodes, as bits: which nodes lead where, how far each is from a goal, and random ones with a given distance.

use crate::rng::Rng;

/// Nodes that a [`Graph`] may have: the bits of a word.
pub(super) const MAX_NODES: usize = 64;

/// The bit of a node.
fn bit(node: u32) -> u64 {
    1 << node
}

/// The nodes of a set, ascending.
pub(super) fn members(mut set: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let least = (set != 0).then(|| set.trailing_zeros())?;
        set &= set - 1;
        Some(least)
    })
}

/// A directed graph; an undirected one has each edge in both directions.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    /// `[node]`: where its edges lead.
    out: [u64; MAX_NODES],
    /// `[node]`: where its edges come from.
    into: [u64; MAX_NODES],
}

impl Graph {
    /// No edges.
    pub(super) fn empty() -> Graph {
        Graph { out: [0; MAX_NODES], into: [0; MAX_NODES] }
    }

    /// Whether an edge leads from one node to another.
    pub(super) fn has(&self, from: u32, to: u32) -> bool {
        self.out[from as usize] & bit(to) != 0
    }

    /// Adds an edge.
    pub(super) fn add(&mut self, from: u32, to: u32) {
        self.out[from as usize] |= bit(to);
        self.into[to as usize] |= bit(from);
    }

    /// Adds an edge, in both directions unless the graph is directed.
    pub(super) fn add_edge(&mut self, [a, b]: [u32; 2], directed: bool) {
        self.add(a, b);
        if !directed {
            self.add(b, a);
        }
    }

    /// How far the nodes are from `goal`: breadth first, against the edges.
    pub(super) fn to_goal(&self, goal: u32) -> Layers {
        let mut layers = Layers { of: [0; MAX_NODES] };
        let (mut seen, mut layer, mut distance) = (0, bit(goal), 0);
        while layer != 0 {
            layers.of[distance] = layer;
            seen |= layer;
            layer = members(layer).fold(0, |before, node| before | self.into[node as usize]) & !seen;
            distance += 1;
        }
        layers
    }

    /// The nodes that may come after `node` on a shortest path, when the goal is `left` edges away from it.
    pub(super) fn steps(&self, layers: &Layers, node: u32, left: usize) -> u64 {
        self.out[node as usize] & layers.at(left - 1)
    }
}

/// The nodes of a graph by their distance to a goal.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    of: [u64; MAX_NODES],
}

impl Layers {
    /// The nodes that are so many edges away from the goal.
    pub(super) fn at(&self, distance: usize) -> u64 {
        self.of[distance]
    }

    /// How many edges a node is away from the goal; none without a path.
    pub(super) fn distance(&self, node: u32) -> Option<usize> {
        self.of.iter().position(|layer| layer & bit(node) != 0)
    }
}

/// Random graphs that are drawn for one in which some start has the wanted distance.
const TRIES: usize = 16;

/// The most edges of a graph in which some distance is `distance`: all other nodes stand at one place in the middle of the path.
pub(super) fn most_edges(nodes: usize, distance: usize, directed: bool) -> usize {
    let pairs = nodes * (nodes - 1) / 2;
    let beside = nodes - distance - 1;
    let undirected = if distance == 1 { pairs } else { beside * (beside + 5) / 2 + distance };
    // Edges that lead back along the path never shorten it.
    if directed { undirected + pairs } else { undirected }
}

/// How random graphs are drawn with a start and a goal that are a given distance apart.
#[derive(Debug, Clone, Default)]
pub(super) struct RandomGraphs {
    nodes: usize,
    edges: usize,
    directed: bool,
    /// Every edge that a graph can have: ascending ends, or both ways where directed.
    pairs: Vec<[u32; 2]>,
}

impl RandomGraphs {
    /// Graphs of this size, which must be one that [`most_edges`] allows for the distances that are asked for.
    pub(super) fn new(nodes: usize, edges: usize, directed: bool) -> RandomGraphs {
        let all = (0..nodes as u32).flat_map(|a| (0..nodes as u32).map(move |b| [a, b]));
        let pairs = all.filter(|[a, b]| if directed { a != b } else { a < b }).collect();
        RandomGraphs { nodes, edges, directed, pairs }
    }

    /// Draws the ends of edges, in random order, then start and goal into `ends`.
    pub(super) fn draw(&self, distance: usize, rng: &mut Rng, ends: &mut Vec<u32>) {
        if !(0..TRIES).any(|_| self.draw_any(distance, rng, ends)) {
            self.draw_around_path(distance, rng, ends);
        }
        let edges = ends[..2 * self.edges].as_chunks_mut::<2>().0;
        rng.shuffle(edges);
        if !self.directed {
            edges.iter_mut().filter(|_| rng.below(2) == 0).for_each(|edge| edge.reverse());
        }
    }

    /// Draws edges, each set of them as likely (Floyd's algorithm), start and goal; false where no start has this distance.
    fn draw_any(&self, distance: usize, rng: &mut Rng, ends: &mut Vec<u32>) -> bool {
        ends.clear();
        let mut graph = Graph::empty();
        for last in self.pairs.len() - self.edges..self.pairs.len() {
            let [a, b] = self.pairs[rng.below(last as u32 + 1) as usize];
            let edge = if graph.has(a, b) { self.pairs[last] } else { [a, b] };
            graph.add_edge(edge, self.directed);
            ends.extend(edge);
        }
        let goal = rng.below(self.nodes as u32);
        let starts = graph.to_goal(goal).at(distance);
        if starts == 0 {
            return false;
        }
        let start = members(starts).nth(rng.below(starts.count_ones()) as usize);
        ends.extend([start.expect("invariant: the number is below the set's size"), goal]);
        true
    }

    /// Draws a path of this length, and other edges between nodes at most one place apart along it, which do not shorten it.
    fn draw_around_path(&self, distance: usize, rng: &mut Rng, ends: &mut Vec<u32>) {
        ends.clear();
        let mut order: [u32; MAX_NODES] = std::array::from_fn(|node| node as u32);
        rng.shuffle(&mut order[..self.nodes]);
        let (path, others) = order[..self.nodes].split_at(distance + 1);
        let mut place = [0; MAX_NODES];
        (0..).zip(path).for_each(|(at, &node)| place[node as usize] = at);
        others.iter().for_each(|&node| place[node as usize] = rng.below(distance as u32 + 2));
        ends.extend(path.windows(2).flatten());
        let on_path = path.iter().fold(0, |set, &node| set | bit(node));
        let mut missing = (self.edges - distance) as u32;
        let mut left = self.free_pairs(&place, on_path).count() as u32;
        if left < missing {
            // The layout of `most_edges`, which has room for all.
            others.iter().for_each(|&node| place[node as usize] = (distance as u32 / 2).max(1));
            left = self.free_pairs(&place, on_path).count() as u32;
        }
        for &pair in self.free_pairs(&place, on_path) {
            // Of the pairs from this one on, so many must be taken: each set of them is as likely.
            if rng.below(left) < missing {
                ends.extend(pair);
                missing -= 1;
            }
            left -= 1;
        }
        ends.extend([path[0], path[distance]]);
    }

    /// Edges beside a path that do not shorten it.
    fn free_pairs<'a>(&'a self, place: &'a [u32; MAX_NODES], on_path: u64) -> impl Iterator<Item = &'a [u32; 2]> {
        self.pairs.iter().filter(move |&&[a, b]| {
            let (from, to) = (place[a as usize], place[b as usize]);
            let both = bit(a) | bit(b);
            let next = to == from + 1 || (!self.directed && from == to + 1);
            let keeps = to <= from + 1 && (self.directed || from <= to + 1);
            keeps && !(next && on_path & both == both)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// 0 leads to 1 and 2, both to 3, and 3 to 0; 4 leads to 3; nothing leads to 4 or touches 5.
    #[test]
    fn distances_and_steps_of_a_graph_drawn_by_hand() {
        let mut graph = Graph::empty();
        for (from, to) in [(0, 1), (0, 2), (1, 3), (2, 3), (3, 0), (4, 3)] {
            graph.add(from, to);
        }
        assert!(graph.has(4, 3) && !graph.has(3, 4));
        let layers = graph.to_goal(3);
        assert_eq!(
            [0, 1, 2, 3, 4, 5].map(|node| layers.distance(node)),
            [Some(2), Some(1), Some(1), Some(0), Some(1), None]
        );
        assert_eq!(members(layers.at(1)).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(members(graph.steps(&layers, 0, 2)).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(graph.to_goal(4).distance(3), None);
    }

    /// A path through all 64 nodes fills every layer.
    #[test]
    fn the_longest_path() {
        let mut graph = Graph::empty();
        (0..63).for_each(|node| graph.add(node, node + 1));
        let layers = graph.to_goal(63);
        assert!((0..64).all(|node| layers.distance(node) == Some(63 - node as usize)));
        assert_eq!(graph.steps(&layers, 0, 63), 2);
    }

    /// Among all graphs of so many nodes.
    #[test]
    fn no_graph_has_more_edges_than_a_card_may_ask_for() {
        for (n, directed) in [(3, true), (4, true), (4, false), (5, false)] {
            let pairs = RandomGraphs::new(n, 0, directed).pairs;
            let mut most = vec![0; n];
            for set in 0..1u64 << pairs.len() {
                let mut graph = Graph::empty();
                members(set).for_each(|i| graph.add_edge(pairs[i as usize], directed));
                for layers in (0..n as u32).map(|goal| graph.to_goal(goal)) {
                    let there = (0..n).filter(|&distance| layers.at(distance) != 0);
                    there.for_each(|distance| most[distance] = most[distance].max(set.count_ones() as usize));
                }
            }
            assert!((1..n).all(|d| most_edges(n, d, directed) == most[d]), "{n} nodes: {most:?}");
        }
    }

    /// Four edges on four nodes are one of 15 sets; as each node has a neighbour in all of them, none is preferred.
    #[test]
    fn edges_are_uniform_and_in_random_order() {
        let (graphs, mut rng) = (RandomGraphs::new(4, 4, false), Rng::stream(6, "graphs"));
        let mut counts = BTreeMap::<Vec<[u32; 2]>, f64>::new();
        let mut firsts = BTreeMap::<[u32; 2], f64>::new();
        for _ in 0..15_000 {
            let mut ends = vec![];
            graphs.draw(1, &mut rng, &mut ends);
            *firsts.entry([ends[0], ends[1]]).or_default() += 1.0;
            let mut edges: Vec<[u32; 2]> = ends[..8].chunks(2).map(|e| [e[0].min(e[1]), e[0].max(e[1])]).collect();
            edges.sort_unstable();
            *counts.entry(edges).or_default() += 1.0;
        }
        let chi_square = |counts: Vec<f64>| -> f64 {
            let mean = 15_000.0 / counts.len() as f64;
            counts.iter().map(|count| (count - mean).powi(2) / mean).sum()
        };
        // 14 and 11 degrees of freedom: 42.6 and 37.4 are passed once in 10,000 times.
        assert_eq!((counts.len(), firsts.len()), (15, 12));
        assert!(chi_square(counts.into_values().collect()) < 42.6);
        assert!(chi_square(firsts.into_values().collect()) < 37.4);
    }

    /// The layout around a path, as few edges as there can be or as many: both ends, no edge twice, the distance exact.
    #[test]
    fn graphs_around_a_path_have_its_distance() {
        let mut rng = Rng::stream(7, "graphs");
        for directed in [false, true] {
            for distance in 1..9 {
                for edges in [distance, distance + 3, most_edges(9, distance, directed)] {
                    let edges = edges.min(most_edges(9, distance, directed));
                    let graphs = RandomGraphs::new(9, edges, directed);
                    let mut ends = vec![];
                    graphs.draw_around_path(distance, &mut rng, &mut ends);
                    let mut graph = Graph::empty();
                    for &edge in ends[..2 * edges].as_chunks().0 {
                        assert!(!graph.has(edge[0], edge[1]), "{edge:?} stands twice in {ends:?}");
                        graph.add_edge(edge, directed);
                    }
                    let [start, goal] = ends[2 * edges..] else { panic!("{ends:?}") };
                    assert_eq!(graph.to_goal(goal).distance(start), Some(distance), "{ends:?}");
                }
            }
        }
    }
}
