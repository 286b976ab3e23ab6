//! The `graph_path` family: graphs with a start and a goal, and a shortest path between them.
//!
//! Operands are the ends of each edge in the order in which they are written, then start and goal. An example is
//! `0 1 | 1 2 ? 0 2 -> 1 2`, the answers being the next token from `->` on: `1 2 END`. Source: graph problems as in Nanda's 200 concrete open
//! problems, which leave the input format open.

use serde::Deserialize;

use super::graph::{Graph, MAX_NODES, RandomGraphs, members, most_edges};
use super::rule::{Drawn, Example, IGNORED, Rule, numbers, outside};
use crate::error::Fault;
use crate::rng::Rng;
use crate::task::card::fault;

/// Edges that a graph may have: more would make very long examples.
const MAX_EDGES: usize = 256;

const EXPLAIN: &str = "\
What it is
  A graph, a start and a goal, and a shortest path between them: 3 1 | 1 2 | 0 2 ? 3 0 -> 1 2 0 END. The model reads
  all but the last token and is asked for the next one from -> on: the nodes after the start, the goal the last of
  them, then END. Or, once, for the first node after the start. Of several shortest paths the answer is the one that
  comes first in the order of numbers, place by place; measures know which nodes would be right too, on a shortest
  path that begins as the answer does.
Reads
  params.nodes: 3 to 64. params.edges: how many each graph has. params.directed: whether edges lead one way; false
  when unset. params.ask: path or next_node; path when unset. params.format: how a graph is written, edge_list when
  unset:
    edge_list  an edge is its two ends:         3 1 | 1 2 | 0 2 ?
    arrows     with a sign between them:        3 - 1 | 1 - 2 | 0 - 2 ?, the sign being > in directed graphs
    adjacency  each node with all its neighbours, 3 : 1 | 1 : 3 2 | 2 : 1 0 | 0 : 2 ?, where edges lead to in directed
               graphs; nodes in the order in which the edges name them, then those without edges
  params.max_distance: edges on a path, at most; params.min_distance: at least, 1 when unset.
Unit and range
  Nodes are tokens 0 to nodes - 1, whose numbers only decide between paths. Answers are tokens, or nodes alone with
  next_node.
  Labels in measures: distance, the number of edges on a shortest path, each as likely. The distance is drawn first,
  then, up to 16 times, edges, each set of them as likely, and a goal, until some node is so far from the goal; one
  of these is the start. So graphs are those of uniformly drawn edges in which the distance occurs. Where 16 fail (a
  long distance among many edges, or among few), a path is laid out, each other node gets a place along it or one
  step beyond, and other edges are drawn from those that do not shorten the path. In those graphs, more of which are
  drawn the rarer the distance is, nodes are spread more evenly by distance than in the others.
Value at a known point
  With 8 nodes no distance above 7 exists, and with distance 7 only 7 edges, if undirected: the path itself. With 8
  nodes and 10 edges all 16 graphs fail for distance 4 in 1 example of 20, for distance 3 in fewer than 1 of 1000.
Source
  Graph problems as in Nanda's 200 concrete open problems, which name no format. Shortest paths: the usual definition.
";

/// What is asked of the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    #[default]
    Path,
    NextNode,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    EdgeList,
    Arrows,
    Adjacency,
}

/// `[params]`: graphs to find a path in.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphPath {
    nodes: usize,
    edges: usize,
    directed: bool,
    ask: Ask,
    format: Format,
    min_distance: Option<usize>,
    max_distance: usize,
    #[serde(skip)]
    graphs: RandomGraphs,
}

impl GraphPath {
    fn least(&self) -> usize {
        self.min_distance.unwrap_or(1)
    }

    fn asks_path(&self) -> bool {
        self.ask == Ask::Path
    }

    /// The tokens after the nodes.
    fn signs(&self) -> Vec<&'static str> {
        let link = match self.format {
            Format::EdgeList => None,
            Format::Arrows if self.directed => Some(">"),
            Format::Arrows => Some("-"),
            Format::Adjacency => Some(":"),
        };
        let end = self.asks_path().then_some("END");
        let pad = (self.asks_path() && self.least() < self.max_distance).then_some("PAD");
        ["|", "?", "->"].into_iter().chain(link).chain(end).chain(pad).collect()
    }

    fn end(&self) -> u32 {
        self.nodes as u32 + 3 + u32::from(self.format != Format::EdgeList)
    }

    /// Tokens up to and with `->`.
    fn prompt_len(&self) -> usize {
        3 + match self.format {
            Format::EdgeList => 3 * self.edges,
            Format::Arrows => 4 * self.edges,
            Format::Adjacency => 3 * self.nodes + if self.directed { self.edges } else { 2 * self.edges },
        }
    }

    /// The graph, the start and the goal of operands, and the distances to the goal; none when they are no example.
    fn read(&self, operands: &[u32]) -> Option<(Graph, [u32; 2], usize)> {
        if operands.len() != 2 * self.edges + 2 || operands.iter().any(|&node| node >= self.nodes as u32) {
            return None;
        }
        let (edges, ends) = operands.split_at(2 * self.edges);
        let mut graph = Graph::empty();
        for &[a, b] in edges.as_chunks().0 {
            if a == b || graph.has(a, b) {
                return None;
            }
            graph.add_edge([a, b], self.directed);
        }
        let distance = graph.to_goal(ends[1]).distance(ends[0])?;
        (self.least()..=self.max_distance).contains(&distance).then_some((graph, [ends[0], ends[1]], distance))
    }

    /// Calls `each` with the nodes that may follow, and the least of them, at each step from start to goal.
    fn walk(&self, graph: &Graph, [start, goal]: [u32; 2], mut each: impl FnMut(u64, u32)) {
        let layers = graph.to_goal(goal);
        let mut node = start;
        for left in (1..=layers.distance(start).expect("invariant: there is a path")).rev() {
            let steps = graph.steps(&layers, node, left);
            node = steps.trailing_zeros();
            each(steps, node);
        }
    }

    /// Writes the edges, with `|` after each item and `?` after the last.
    fn write_graph(&self, edges: &[[u32; 2]], tokens: &mut Vec<u32>) {
        let nodes = self.nodes as u32;
        let (bar, question, link) = (nodes, nodes + 1, nodes + 3);
        match self.format {
            Format::EdgeList => edges.iter().for_each(|&[a, b]| tokens.extend([a, b, bar])),
            Format::Arrows => edges.iter().for_each(|&[a, b]| tokens.extend([a, link, b, bar])),
            Format::Adjacency => {
                let mut seen = 0u64;
                for node in edges.as_flattened().iter().copied().chain(0..nodes) {
                    if seen & 1 << node != 0 {
                        continue;
                    }
                    seen |= 1 << node;
                    tokens.extend([node, link]);
                    tokens.extend(edges.iter().filter_map(|&[a, b]| match node {
                        _ if node == a => Some(b),
                        _ if node == b && !self.directed => Some(a),
                        _ => None,
                    }));
                    tokens.push(bar);
                }
            }
        }
        if let Some(last) = tokens.last_mut() {
            *last = question;
        }
    }
}

impl Drawn for GraphPath {
    const NAME: &'static str = "graph_path";
    const SUMMARY: &'static str =
        "graphs and a shortest path from a start to a goal: 3 1 | 1 2 | 0 2 ? 3 0 -> 1 2 0 END";
    const EXPLAIN: &'static str = EXPLAIN;

    fn ready(mut self) -> Result<GraphPath, Vec<Fault>> {
        let (nodes, edges, distance) = (self.nodes, self.edges, self.max_distance);
        let mut faults: Vec<Fault> = outside("nodes", nodes, 3..=MAX_NODES).into_iter().collect();
        faults.extend(outside("max_distance", distance, 1..=nodes.saturating_sub(1).clamp(1, MAX_NODES - 1)));
        if let Some(least) = self.min_distance.filter(|least| !(1..=distance).contains(least)) {
            faults.push(fault("min_distance", format!("{least} is not between 1 and max_distance {distance}")));
        }
        let fits = |edges: usize| (distance..=most_edges(nodes, distance, self.directed)).contains(&edges);
        if !(1..=MAX_EDGES).contains(&edges) {
            faults.extend(outside("edges", edges, 1..=MAX_EDGES));
        } else if faults.is_empty() && !fits(edges) {
            let most = most_edges(nodes, distance, self.directed).min(MAX_EDGES);
            let message = format!(
                "no graph of {nodes} nodes and {edges} edges has a distance of {distance}; it must be {distance} to {most}"
            );
            faults.push(fault("edges", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.graphs = RandomGraphs::new(nodes, edges, self.directed);
        Ok(self)
    }
}

impl Rule for GraphPath {
    fn words(&self) -> Vec<String> {
        numbers(self.nodes).into_iter().chain(self.signs().into_iter().map(str::to_owned)).collect()
    }

    fn classes(&self) -> Vec<String> {
        if self.asks_path() { self.words() } else { numbers(self.nodes) }
    }

    fn n_ctx(&self) -> usize {
        self.prompt_len() + if self.asks_path() { self.max_distance } else { 0 }
    }

    fn loss_positions(&self) -> Vec<usize> {
        (self.prompt_len() - 1..self.n_ctx()).collect()
    }

    fn draw(&self, rng: &mut Rng, operands: &mut Vec<u32>) {
        let distance = self.least() + rng.below((self.max_distance - self.least() + 1) as u32) as usize;
        self.graphs.draw(distance, rng, operands);
    }

    fn write(&self, operands: &[u32], to: &mut Example) -> bool {
        let Some((graph, ends, _)) = self.read(operands) else { return false };
        let tokens = &mut to.tokens;
        self.write_graph(operands[..2 * self.edges].as_chunks().0, tokens);
        tokens.extend([ends[0], ends[1], self.nodes as u32 + 2]);
        self.walk(&graph, ends, |_, node| to.targets.push(node));
        if !self.asks_path() {
            to.targets.truncate(1);
            return true;
        }
        to.targets.push(self.end());
        // The answer at a position is the token after it.
        tokens.extend(to.targets.iter().take(self.max_distance));
        tokens.resize(self.n_ctx(), self.end() + 1);
        to.targets.resize(self.max_distance + 1, IGNORED);
        true
    }

    fn label_name(&self) -> Option<&'static str> {
        Some("distance")
    }

    fn label(&self, operands: &[u32]) -> u32 {
        self.read(operands).map_or(0, |(.., distance)| distance as u32)
    }

    fn allowed(&self, operands: &[u32]) -> Option<Vec<Vec<u32>>> {
        let (graph, ends, _) = self.read(operands)?;
        let mut allowed = vec![];
        self.walk(&graph, ends, |steps, _| allowed.push(members(steps).collect()));
        if !self.asks_path() {
            allowed.truncate(1);
            return Some(allowed);
        }
        allowed.push(vec![self.end()]);
        allowed.resize(self.max_distance + 1, vec![]);
        Some(allowed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::task::rule::check::{drawing, faults, rule, samples};

    const FAR: usize = 1000;

    /// Distances between all nodes, by Floyd and Warshall.
    fn distances(n: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<Vec<usize>> {
        let mut d = vec![vec![FAR; n]; n];
        (0..n).for_each(|node| d[node][node] = 0);
        edges.iter().for_each(|&(a, b)| d[a][b] = 1);
        for via in 0..n {
            for a in 0..n {
                for b in 0..n {
                    d[a][b] = d[a][b].min(d[a][via] + d[via][b]);
                }
            }
        }
        d
    }

    /// The edges of a prompt, both ways where undirected, its start and its goal.
    fn parse(text: &str, directed: bool) -> (BTreeSet<(usize, usize)>, usize, usize) {
        let number = |word: &str| word.parse::<usize>().unwrap();
        let (graph, rest) = text.split_once(" ? ").unwrap();
        let (start, goal) = rest.split_once(" -> ").map_or(rest, |(ends, _)| ends).split_once(' ').unwrap();
        let mut edges = BTreeSet::new();
        for item in graph.split(" | ") {
            let words: Vec<&str> = item.split(' ').collect();
            let ends: Vec<(usize, usize)> = match words[..] {
                [a, ":", ref to @ ..] => to.iter().map(|b| (number(a), number(b))).collect(),
                [a, ">", b] if directed => vec![(number(a), number(b))],
                [a, "-", b] if !directed => vec![(number(a), number(b)), (number(b), number(a))],
                [a, b] if directed => vec![(number(a), number(b))],
                [a, b] => vec![(number(a), number(b)), (number(b), number(a))],
                _ => panic!("{item}"),
            };
            ends.into_iter().for_each(|edge| assert!(edges.insert(edge), "{edge:?} stands twice in {text}"));
        }
        (edges, number(start), number(goal.trim_end_matches(" ->")))
    }

    /// All shortest paths, without their start.
    fn paths(edges: &BTreeSet<(usize, usize)>, d: &[Vec<usize>], start: usize, goal: usize) -> Vec<Vec<usize>> {
        if start == goal {
            return vec![vec![]];
        }
        let steps = edges.iter().filter(|&&(a, b)| a == start && d[start][goal] == d[b][goal] + 1);
        let ahead = |&(_, b): &(usize, usize)| {
            paths(edges, d, b, goal).into_iter().map(move |path| [vec![b], path].concat()).collect::<Vec<_>>()
        };
        steps.flat_map(ahead).collect()
    }

    /// Looks at `n` examples; returns how many have each distance.
    fn solve(params: &str, [nodes, n_edges, least, most]: [usize; 4], n: usize) -> Vec<usize> {
        let rule = rule("graph_path", params);
        let directed = params.contains("directed = true");
        let mut counts = vec![0; most + 1];
        samples(&*rule, n, |d| {
            let (edges, start, goal) = parse(&d.words.join(" "), directed);
            assert_eq!(edges.len(), if directed { n_edges } else { 2 * n_edges });
            let table = distances(nodes, &edges);
            let distance = table[start][goal];
            assert!((least..=most).contains(&distance), "{:?}", d.words);
            assert_eq!(rule.label(&d.operands), distance as u32);
            counts[distance] += 1;
            let paths = paths(&edges, &table, start, goal);
            let best = paths.iter().min().unwrap();
            let best_words: Vec<String> = best.iter().map(usize::to_string).chain(["END".to_owned()]).collect();
            let asked = if params.contains("next_node") { 1 } else { distance + 1 };
            assert_eq!(d.answers[..asked], best_words[..asked], "{:?}", d.words);
            assert!(d.answers[asked..].iter().all(String::is_empty));
            let allowed = rule.allowed(&d.operands).unwrap();
            for (i, classes) in allowed.iter().take(distance.min(asked)).enumerate() {
                let alike = paths.iter().filter(|path| path[..i] == best[..i]);
                let right: BTreeSet<u32> = alike.map(|path| path[i] as u32).collect();
                assert_eq!(classes, &right.into_iter().collect::<Vec<_>>(), "{:?}", d.words);
            }
            assert_eq!(allowed.len(), d.answers.len());
            if asked > 1 {
                let arrow = d.words.iter().position(|word| word == "->").unwrap();
                let read = &d.words[arrow + 1..];
                let written = asked.min(read.len());
                assert_eq!(read[..written], best_words[..written]);
                assert!(read[written..].iter().all(|word| word == "PAD"));
                assert_eq!(allowed[distance].len(), 1);
                assert!(allowed[distance + 1..].iter().all(Vec::is_empty));
            }
        });
        counts
    }

    #[test]
    fn ten_thousand_paths_are_shortest_and_distances_equally_likely() {
        for (params, sizes) in [
            ("nodes = 8, edges = 10, max_distance = 4", [8, 10, 1, 4]),
            ("nodes = 8, edges = 12, max_distance = 3, format = \"arrows\", ask = \"next_node\"", [8, 12, 1, 3]),
            ("nodes = 9, edges = 9, min_distance = 2, max_distance = 5, format = \"adjacency\"", [9, 9, 2, 5]),
            ("nodes = 10, edges = 20, max_distance = 5, directed = true, format = \"arrows\"", [10, 20, 1, 5]),
            ("nodes = 6, edges = 12, max_distance = 3, directed = true, format = \"adjacency\"", [6, 12, 1, 3]),
        ] {
            let counts = solve(params, sizes, 10_000);
            let [.., least, most] = sizes;
            let p = 1.0 / (most - least + 1) as f64;
            let deviation = (10_000.0 * p * (1.0 - p)).sqrt();
            for &count in &counts[least..] {
                assert!((count as f64 - 10_000.0 * p).abs() < 5.0 * deviation, "{params}: {counts:?}");
            }
        }
    }

    /// Graphs that uniform edges give almost never: as few edges as there can be, or as many.
    #[test]
    fn rare_distances_are_drawn_too() {
        for (params, sizes) in [
            ("nodes = 64, edges = 63, min_distance = 63, max_distance = 63", [64, 63, 63, 63]),
            ("nodes = 64, edges = 256, min_distance = 40, max_distance = 42", [64, 256, 40, 42]),
            ("nodes = 8, edges = 12, min_distance = 5, max_distance = 5", [8, 12, 5, 5]),
            ("nodes = 8, edges = 40, min_distance = 5, max_distance = 5, directed = true", [8, 40, 5, 5]),
            ("nodes = 3, edges = 2, min_distance = 2, max_distance = 2", [3, 2, 2, 2]),
            ("nodes = 3, edges = 3, max_distance = 1", [3, 3, 1, 1]),
            ("nodes = 4, edges = 12, max_distance = 1, directed = true", [4, 12, 1, 1]),
        ] {
            solve(params, sizes, 50);
        }
    }

    #[test]
    fn examples_are_as_written_in_each_format() {
        for (more, text) in [
            ("max_distance = 3", "3 1 | 1 2 | 0 2 ? 3 0 -> 1 2 0 -> 1 2 0 END"),
            ("max_distance = 3, format = \"arrows\"", "3 - 1 | 1 - 2 | 0 - 2 ? 3 0 -> 1 2 0 -> 1 2 0 END"),
            ("max_distance = 3, ask = \"next_node\"", "3 1 | 1 2 | 0 2 ? 3 0 -> -> 1"),
            (
                "max_distance = 3, ask = \"next_node\", format = \"adjacency\"",
                "3 : 1 | 1 : 3 2 | 2 : 1 0 | 0 : 2 | 4 : ? 3 0 -> -> 1",
            ),
        ] {
            let rule = rule("graph_path", &format!("nodes = 5, edges = 3, {more}"));
            let d = drawing(&*rule, &[3, 1, 1, 2, 0, 2, 3, 0]);
            assert_eq!(format!("{} -> {}", d.words.join(" "), d.answers.join(" ").trim_end()), text);
        }
        let arrows = "nodes = 4, edges = 3, max_distance = 3, directed = true, format = \"arrows\"";
        let d = drawing(&*rule("graph_path", arrows), &[1, 2, 2, 1, 2, 3, 1, 3]);
        assert_eq!(d.words.join(" "), "1 > 2 | 2 > 1 | 2 > 3 ? 1 3 -> 2 3 END");
        assert_eq!(d.answers, ["2", "3", "END", ""]);
    }

    /// Of the two shortest paths from 0 to 3, over 1 and over 2, the answer is the first; after it only 3 is right.
    #[test]
    fn the_least_of_several_paths_is_the_answer_and_all_are_allowed() {
        let rule = rule("graph_path", "nodes = 5, edges = 5, max_distance = 3");
        let operands = [2, 3, 0, 2, 1, 0, 3, 1, 3, 4, 0, 3];
        assert_eq!(drawing(&*rule, &operands).answers, ["1", "3", "END", ""]);
        assert_eq!(rule.allowed(&operands).unwrap(), [vec![1, 2], vec![3], vec![8], vec![]]);
        assert_eq!((rule.label(&operands), rule.classes()[8].as_str()), (2, "END"));
    }

    #[test]
    fn wrong_operands_are_no_example() {
        let rule = rule("graph_path", "nodes = 5, edges = 3, min_distance = 2, max_distance = 2");
        assert!(rule.write(&[0, 1, 1, 2, 2, 3, 0, 2], &mut Example::default()));
        for wrong in [
            &[][..],
            &[0, 1, 1, 2, 0, 2],
            &[0, 1, 1, 2, 2, 5, 0, 2],
            &[0, 1, 1, 2, 2, 2, 0, 2],
            &[0, 1, 1, 2, 1, 0, 0, 2],
            &[0, 1, 1, 2, 2, 3, 0, 0],
            &[0, 1, 1, 2, 2, 3, 0, 1],
            &[0, 1, 1, 2, 2, 3, 0, 3],
            &[0, 1, 1, 2, 2, 3, 0, 4],
            &[0, 1, 1, 2, 2, 3, 0, u32::MAX],
        ] {
            assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
        }
    }

    #[test]
    fn faults_name_their_key() {
        for (params, message) in [
            ("nodes = 2, edges = 1, max_distance = 1", "params.nodes: 2 is out of range; it must be 3 to 64"),
            ("nodes = 65, edges = 9, max_distance = 1", "params.nodes: 65 is out of range; it must be 3 to 64"),
            ("nodes = 8, edges = 9", "params.max_distance: 0 is out of range; it must be 1 to 7"),
            ("nodes = 8, edges = 9, max_distance = 8", "params.max_distance: 8 is out of range; it must be 1 to 7"),
            (
                "nodes = 8, edges = 9, min_distance = 3, max_distance = 2",
                "params.min_distance: 3 is not between 1 and max_distance 2",
            ),
            ("nodes = 8, max_distance = 2", "params.edges: 0 is out of range; it must be 1 to 256"),
            (
                "nodes = 8, edges = 13, max_distance = 5",
                "params.edges: no graph of 8 nodes and 13 edges has a distance of 5; it must be 5 to 12",
            ),
            (
                "nodes = 8, edges = 4, max_distance = 5, directed = true",
                "params.edges: no graph of 8 nodes and 4 edges has a distance of 5; it must be 5 to 40",
            ),
        ] {
            let found = faults("graph_path", params);
            assert!(found.iter().any(|fault| fault.ends_with(message)), "{params}: {found:?}");
        }
        assert_eq!(faults("graph_path", "nodes = 0, edges = 0, max_distance = 0, min_distance = 0").len(), 4);
    }
}
