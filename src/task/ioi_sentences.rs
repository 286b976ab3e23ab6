//! Sentences of indirect object identification, with slots and clauses that distract.
//!
//! Reads the number of a template and that of a clause; writes the sentence, one word a token. `[A]` and `[B]` are the first and the
//! second name, `[S]` is the subject. Source: the sentences follow those of Wang et al. 2022 (arXiv 2211.00593); the clauses are ours.

/// The form without words.
pub(super) const SYMBOLIC: &str = "BOS [A] [B] [S] MID";

/// Sentences that each have all the slots.
pub(super) const TEMPLATES: [&str; 8] = [
    "When [A] and [B] went to the [PLACE] , [S] gave a [OBJECT] to",
    "Then , [A] and [B] went to the [PLACE] . [S] gave a [OBJECT] to",
    "While [A] and [B] were working at the [PLACE] , [S] gave a [OBJECT] to",
    "Then , [A] and [B] had a lot of fun at the [PLACE] . [S] gave a [OBJECT] to",
    "When [A] and [B] got a [OBJECT] at the [PLACE] , [S] decided to give it to",
    "Friends [A] and [B] found a [OBJECT] at the [PLACE] . [S] gave it to",
    "After [A] and [B] went to the [PLACE] , [S] gave a [OBJECT] to",
    "Then , [A] and [B] were thinking about going to the [PLACE] . [S] wanted to give a [OBJECT] to",
];

/// Clauses that may stand in front of a sentence, where they replace its `Then ,`.
const IN_FRONT: [&str; 3] = ["After the long day ,", "Yesterday ,", "On a sunny morning ,"];

/// Clauses that may stand at the end of the part with the two names.
const BETWEEN: [&str; 3] = ["while it rained", "after the long meeting", "with some old friends"];

/// How many numbers [`with_clause`] knows.
pub(super) const N_CLAUSES: usize = 1 + IN_FRONT.len() + BETWEEN.len();

/// The template with the clause of this number: none, those in front, then those between.
pub(super) fn with_clause(template: &str, clause: usize) -> String {
    if clause == 0 {
        return template.to_owned();
    }
    if let Some(front) = IN_FRONT.get(clause - 1) {
        let rest = template.strip_prefix("Then , ").unwrap_or(template);
        let (first, rest) = rest.split_once(' ').expect("invariant: a template has several words");
        // A slot is no word to write in lower case.
        let first = if first.starts_with('[') { first.to_owned() } else { first.to_lowercase() };
        return format!("{front} {first} {rest}");
    }
    let subject = template.find(" , [S]").or(template.find(" . [S]")).expect("invariant: the subject begins a part");
    let (names, rest) = template.split_at(subject);
    format!("{names} {}{rest}", BETWEEN[clause - 1 - IN_FRONT.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_stand_in_front_or_between() {
        for (template, clause, sentence) in [
            (0, 0, TEMPLATES[0]),
            (0, 1, "After the long day , when [A] and [B] went to the [PLACE] , [S] gave a [OBJECT] to"),
            (1, 2, "Yesterday , [A] and [B] went to the [PLACE] . [S] gave a [OBJECT] to"),
            (5, 3, "On a sunny morning , friends [A] and [B] found a [OBJECT] at the [PLACE] . [S] gave it to"),
            (5, 4, "Friends [A] and [B] found a [OBJECT] at the [PLACE] while it rained . [S] gave it to"),
        ] {
            assert_eq!(with_clause(TEMPLATES[template], clause), sentence);
        }
        for template in TEMPLATES {
            let last = with_clause(template, N_CLAUSES - 1);
            let slots = ["[A] and [B]", "[PLACE]", "[OBJECT]", " [S] ", "with some old friends"];
            assert!(slots.iter().all(|slot| last.matches(slot).count() == 1), "{last}");
        }
    }
}
