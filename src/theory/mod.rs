//! Closed forms of toy models of superposition: losses by exact integration, and the critical points that trained runs are compared with.
//!
//! Reads sizes and weights; writes losses (no unit: squared errors) and geometry. Sources: arXiv 2209.10652, arXiv 2310.06301.

pub mod k_gon;
pub mod one_hot;
pub mod population;
pub mod product;

/// One piece of theory, for lists and `explain`.
pub struct Topic {
    /// Its name on the command line, and of its file.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The whole text, with the numbers computed.
    pub explain: fn() -> String,
}

/// Every topic, in the order of help and lists.
pub const ALL: &[Topic] = &[
    Topic { name: "k_gon", summary: k_gon::SUMMARY, explain: k_gon::explain },
    Topic { name: "product_of_parts", summary: product::SUMMARY, explain: product::explain },
    Topic { name: "phase_border", summary: population::SUMMARY, explain: population::explain },
];

/// The topic of that name.
pub fn find(name: &str) -> Option<&'static Topic> {
    ALL.iter().find(|topic| topic.name == name)
}
