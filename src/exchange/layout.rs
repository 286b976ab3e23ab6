//! Layouts of parameters: names, and the order of axes behind them.
//!
//! Reads arrays by name; writes them with TransformerLens's names and shapes, which are ours. A layout is a table of axes; a file
//! has a layout if all its shapes agree with the table on one size for each axis. Which layout a file has is decided by that
//! alone, so where two fit (square matrices everywhere) it is not guessed.

use std::collections::BTreeMap;

use super::value::View;
use crate::error::nearest;

/// Blocks of a model at most; a spec says how many there may be.
pub const MAX_BLOCKS: usize = 64;

/// An order of axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// TransformerLens since 1.0: `x @ W`. Ours.
    TransformerLens,
    /// The code of Nanda et al. 2023: `W @ x`, all heads of `W_O` in one matrix `[d_model, n_heads · d_head]`.
    Nanda,
    /// TransformerLens's names, the last two axes of each matrix exchanged: `W @ x`.
    Transposed,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 3] = [Layout::TransformerLens, Layout::Nanda, Layout::Transposed];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layout::TransformerLens => "transformer-lens",
            Layout::Nanda => "nanda",
            Layout::Transposed => "transposed",
        }
    }

    /// The axes of a parameter in this layout, of those that it has in ours.
    fn axes(self, field: &str, ours: &str) -> String {
        let is_matrix = field.starts_with("W_");
        match self {
            Layout::TransformerLens => ours.to_owned(),
            Layout::Nanda if field == "W_O" => "d (hk)".to_owned(),
            Layout::Nanda if matches!(field, "W_pos" | "W_U") => ours.to_owned(),
            _ if is_matrix => {
                let mut axes: Vec<&str> = ours.split(' ').collect();
                let n = axes.len();
                axes.swap(n - 2, n - 1);
                axes.join(" ")
            }
            _ => ours.to_owned(),
        }
    }
}

/// Axes of a transformer's parameters in our order: v vocabulary, d residual width, t positions, h heads, k head width, m MLP
/// width, o outputs.
const TRANSFORMER: &[(&str, &str)] = &[
    ("embed.W_E", "v d"),
    ("pos_embed.W_pos", "t d"),
    ("blocks.*.ln1.w", "d"),
    ("blocks.*.ln1.b", "d"),
    ("blocks.*.attn.W_Q", "h d k"),
    ("blocks.*.attn.W_K", "h d k"),
    ("blocks.*.attn.W_V", "h d k"),
    ("blocks.*.attn.W_O", "h k d"),
    ("blocks.*.attn.b_Q", "h k"),
    ("blocks.*.attn.b_K", "h k"),
    ("blocks.*.attn.b_V", "h k"),
    ("blocks.*.attn.b_O", "d"),
    ("blocks.*.ln2.w", "d"),
    ("blocks.*.ln2.b", "d"),
    ("blocks.*.mlp.W_in", "d m"),
    ("blocks.*.mlp.b_in", "m"),
    ("blocks.*.mlp.W_out", "m d"),
    ("blocks.*.mlp.b_out", "d"),
    ("ln_final.w", "d"),
    ("ln_final.b", "d"),
    ("unembed.W_U", "d o"),
    ("unembed.b_U", "o"),
];

/// Axes of an MLP's parameters: j what its first layer reads.
const MLP: &[(&str, &str)] = &[
    ("embed.W_E", "v d"),
    ("blocks.0.mlp.W_in", "j m"),
    ("blocks.*.mlp.W_in", "m n"),
    ("blocks.*.mlp.b_in", "m"),
    ("unembed.W_U", "m o"),
    ("unembed.b_U", "o"),
];

/// Sizes by axis, as all shapes of a file agree on them.
pub type Sizes = BTreeMap<char, usize>;

/// Whether the names are those of a transformer rather than an MLP.
pub fn is_transformer(names: impl Iterator<Item = impl AsRef<str>>) -> bool {
    names.into_iter().any(|name| name.as_ref().contains(".attn.") || name.as_ref() == "pos_embed.W_pos")
}

/// `blocks.3.attn.W_Q` as `blocks.*.attn.W_Q` and its block.
fn pattern(name: &str) -> (String, Option<usize>) {
    match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((block, rest)) => match block.parse() {
            Ok(block) => (format!("blocks.*.{rest}"), Some(block)),
            Err(_) => (name.to_owned(), None),
        },
        None => (name.to_owned(), None),
    }
}

/// The axes of a parameter in our order; none for a name that no parameter has.
pub fn axes(name: &str, transformer: bool) -> Option<&'static str> {
    let (general, _) = pattern(name);
    let table = if transformer { TRANSFORMER } else { MLP };
    let find = |name: &str| table.iter().find(|(known, _)| *known == name).map(|&(_, axes)| axes);
    find(name).or_else(|| find(&general))
}

/// Whether a parameter has this name, in which the block may be `*`.
///
/// # Errors
/// That none has, and the nearest name.
pub fn check_name(name: &str) -> Result<(), String> {
    let starred = name.strip_prefix("blocks.*.").map(|rest| format!("blocks.0.{rest}"));
    let concrete = starred.as_deref().unwrap_or(name);
    if [true, false].iter().any(|&transformer| axes(concrete, transformer).is_some()) {
        return Ok(());
    }
    let (general, block) = pattern(concrete);
    let known = TRANSFORMER.iter().chain(MLP).map(|(known, _)| *known);
    let near = nearest(&general, known).map(|near| match (block, starred.is_some()) {
        (Some(block), false) => near.replace('*', &block.to_string()),
        _ => near.to_owned(),
    });
    Err(match near {
        Some(near) => format!("no parameter here has this name; did you mean `{near}`?"),
        None => "no parameter here has this name; TransformerLens's names are on the left".to_owned(),
    })
}

/// How many blocks the names tell of: one more than the largest.
pub fn n_blocks<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.filter_map(|name| pattern(name).1).max().map_or(0, |block| block.saturating_add(1))
}

/// The size of every axis if all arrays have the layout; else the first contradiction.
///
/// # Errors
/// A sentence with the name, its shape and what was expected.
pub fn sizes(arrays: &BTreeMap<String, View>, layout: Layout, known: &Sizes) -> Result<Sizes, String> {
    let transformer = is_transformer(arrays.keys());
    if layout == Layout::Nanda && !transformer {
        return Err("it is of transformers, and there is no attention here".into());
    }
    let mut sizes = known.clone();
    // A product of axes is checked when its factors are known.
    let mut products = vec![];
    for (name, view) in arrays {
        let Some(ours) = axes(name, transformer) else { return Err(format!("{name} is no parameter")) };
        let theirs = layout.axes(name.rsplit('.').next().unwrap_or_default(), ours);
        let axes: Vec<&str> = theirs.split(' ').collect();
        let wrong = |expected: &str| format!("{name} has shape {:?}, expected {expected}", view.shape);
        if axes.len() != view.shape.len() {
            return Err(wrong(&format!("the axes {}", describe(&axes))));
        }
        for (axis, &size) in axes.iter().zip(&view.shape) {
            let letter = axis.chars().next().unwrap_or_default();
            // Hidden layers of an MLP are as wide as the first.
            let letter = if letter == 'n' { 'm' } else { letter };
            if letter == '(' {
                products.push((name, (*axis).to_owned(), size));
                continue;
            }
            match sizes.insert(letter, size) {
                Some(before) if before != size => {
                    return Err(wrong(&format!("{} = {before}", describe(&[axis]))));
                }
                _ => {}
            }
        }
    }
    for (name, axis, size) in products {
        let axis = axis.as_str();
        let factors = axis.trim_matches(['(', ')']).chars();
        let product = factors.map(|axis| sizes.get(&axis).copied().unwrap_or(0)).fold(1usize, usize::saturating_mul);
        if product != size {
            return Err(format!("{name} has {size} columns, expected {} = {product}", describe(&[axis])));
        }
    }
    Ok(sizes)
}

/// An array of `layout` in our order of axes.
///
/// # Errors
/// A name that no parameter has, or another number of axes.
pub fn to_ours(name: &str, view: &View, layout: Layout, (sizes, transformer): (&Sizes, bool)) -> Result<View, String> {
    let ours = axes(name, transformer).ok_or_else(|| format!("{name} is no parameter"))?;
    let theirs = layout.axes(name.rsplit('.').next().unwrap_or_default(), ours);
    let mut view = view.clone();
    let mut letters = vec![];
    for axis in theirs.split(' ') {
        match axis.strip_prefix('(') {
            None => letters.extend(axis.chars()),
            Some(product) => {
                let inner = product.chars().nth(1).and_then(|axis| sizes.get(&axis)).copied().unwrap_or(0);
                let split = (letters.len() < view.shape.len()).then(|| view.split(letters.len(), inner)).flatten();
                view = split.ok_or_else(|| format!("{name} has shape {:?}", view.shape))?;
                letters.extend(product.trim_end_matches(')').chars());
            }
        }
    }
    let place = |axis: &str| letters.iter().position(|&letter| axis.starts_with(letter));
    let order: Option<Vec<usize>> = ours.split(' ').map(place).collect();
    match order {
        Some(order) if order.len() == view.shape.len() => Ok(view.permute(&order)),
        _ => Err(format!("{name} has shape {:?}", view.shape)),
    }
}

/// An array in our order of axes as `layout` has it: shape, and for each number of it the index of ours.
///
/// # Errors
/// A name that no parameter has.
pub fn from_ours(
    name: &str,
    shape: &[usize],
    layout: Layout,
    transformer: bool,
) -> Result<(Vec<usize>, Vec<usize>), String> {
    let ours = axes(name, transformer).ok_or_else(|| format!("{name} is no parameter"))?;
    let theirs = layout.axes(name.rsplit('.').next().unwrap_or_default(), ours);
    let ours: Vec<char> = ours.chars().filter(|c| c.is_alphabetic()).collect();
    let place = |letter: char| ours.iter().position(|&own| own == letter).expect("invariant: layouts share their axes");
    let flat: Vec<usize> = theirs.chars().filter(|c| c.is_alphabetic()).map(place).collect();
    let sizes_of = |axis: &str| axis.chars().filter(|c| c.is_alphabetic()).map(|c| shape[place(c)]).product();
    let new_shape = theirs.split(' ').map(sizes_of).collect();
    let strides = super::value::row_major(shape).ok_or("the sizes are too large")?;
    let mut indices = vec![0usize];
    for &axis in &flat {
        indices = indices
            .iter()
            .flat_map(|&at| (0..shape[axis]).map(move |i| (at, i)))
            .map(|(at, i)| at + i * strides[axis])
            .collect();
    }
    Ok((new_shape, indices))
}

/// The layouts that the arrays fit, or why each does not.
pub fn fitting(arrays: &BTreeMap<String, View>, known: &Sizes) -> (Vec<(Layout, Sizes)>, Vec<String>) {
    let (mut fit, mut why) = (vec![], vec![]);
    for layout in Layout::ALL {
        match sizes(arrays, layout, known) {
            Ok(sizes) => fit.push((layout, sizes)),
            Err(cause) => why.push(format!("layout {}: {cause}", layout.name())),
        }
    }
    (fit, why)
}

fn describe(axes: &[&str]) -> String {
    let word = |letter: char| match letter {
        'v' => "d_vocab",
        'd' => "d_model",
        't' => "n_ctx",
        'h' => "n_heads",
        'k' => "d_head",
        'm' | 'n' => "d_mlp",
        'j' => "d_in",
        _ => "d_vocab_out",
    };
    let axis = |axis: &&str| axis.chars().filter(|c| c.is_alphabetic()).map(word).collect::<Vec<_>>().join(" · ");
    let words: Vec<String> = axes.iter().map(axis).collect();
    if words.len() == 1 { words[0].clone() } else { format!("[{}]", words.join(", ")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::value::Element;
    use super::*;

    /// Arrays of these shapes, each number its own index.
    fn arrays(shapes: &[(&str, &[usize])]) -> BTreeMap<String, View> {
        let view = |shape: &[usize]| {
            let bytes = (0..shape.iter().product::<usize>()).flat_map(|x| (x as f32).to_le_bytes()).collect();
            View::row_major(Element::F32, shape.to_vec(), &Arc::new(bytes), 0).unwrap()
        };
        shapes.iter().map(|(name, shape)| ((*name).to_owned(), view(shape))).collect()
    }

    /// d_vocab 7, d_model 6, n_ctx 3, heads 2 of 4, d_mlp 5, 8 outputs.
    const NANDA: &[(&str, &[usize])] = &[
        ("embed.W_E", &[6, 7]),
        ("pos_embed.W_pos", &[3, 6]),
        ("blocks.0.attn.W_Q", &[2, 4, 6]),
        ("blocks.0.attn.W_K", &[2, 4, 6]),
        ("blocks.0.attn.W_V", &[2, 4, 6]),
        ("blocks.0.attn.W_O", &[6, 8]),
        ("blocks.0.mlp.W_in", &[5, 6]),
        ("blocks.0.mlp.b_in", &[5]),
        ("blocks.0.mlp.W_out", &[6, 5]),
        ("blocks.0.mlp.b_out", &[6]),
        ("unembed.W_U", &[6, 8]),
    ];

    #[test]
    fn each_layout_is_known_by_its_shapes_and_goes_there_and_back() {
        let (fit, _) = fitting(&arrays(NANDA), &Sizes::new());
        let [(Layout::Nanda, sizes)] = &fit[..] else { panic!("{fit:?}") };
        let expected = [('d', 6), ('h', 2), ('k', 4), ('m', 5), ('o', 8), ('t', 3), ('v', 7)];
        assert_eq!(sizes.iter().map(|(&axis, &size)| (axis, size)).collect::<Vec<_>>(), expected);

        let ours: BTreeMap<String, View> = (arrays(NANDA).iter())
            .map(|(name, view)| (name.clone(), to_ours(name, view, Layout::Nanda, (sizes, true)).unwrap()))
            .collect();
        assert_eq!(ours["blocks.0.attn.W_O"].shape, [2, 4, 6]);
        // W_O[d, h · 4 + k] of theirs is [h, k, d] of ours.
        assert_eq!(ours["blocks.0.attn.W_O"].to_f64()[(4 + 3) * 6 + 5], (5 * 8 + 4 + 3) as f64);
        assert_eq!(ours["embed.W_E"].to_f64()[3 * 6 + 2], (2 * 7 + 3) as f64);
        let (fit, why) = fitting(&ours, &Sizes::new());
        assert!(matches!(fit[..], [(Layout::TransformerLens, _)]), "{fit:?} {why:?}");

        for layout in Layout::ALL {
            let mut theirs = BTreeMap::new();
            for (name, view) in &ours {
                let (shape, indices) = from_ours(name, &view.shape, layout, true).unwrap();
                let numbers = view.to_f64();
                let bytes: Vec<u8> = indices.iter().flat_map(|&i| (numbers[i] as f32).to_le_bytes()).collect();
                theirs.insert(name.clone(), View::row_major(Element::F32, shape, &Arc::new(bytes), 0).unwrap());
            }
            let (fit, why) = fitting(&theirs, &Sizes::new());
            assert!(matches!(&fit[..], [(found, _)] if *found == layout), "{layout:?}: {fit:?} {why:?}");
            for (name, view) in &theirs {
                let back = to_ours(name, view, layout, (&fit[0].1, true)).unwrap();
                assert_eq!(back.shape, ours[name].shape, "{name}");
                assert_eq!(back.to_f64(), ours[name].to_f64(), "{name}");
            }
        }
    }

    #[test]
    fn square_shapes_fit_two_layouts_and_a_known_size_decides() {
        let square: &[(&str, &[usize])] =
            &[("embed.W_E", &[6, 4]), ("blocks.0.mlp.W_in", &[4, 4]), ("unembed.W_U", &[4, 4])];
        let (fit, _) = fitting(&arrays(square), &Sizes::new());
        let layouts: Vec<Layout> = fit.into_iter().map(|(layout, _)| layout).collect();
        assert!(layouts.contains(&Layout::TransformerLens) && layouts.contains(&Layout::Transposed));
        let (fit, _) = fitting(&arrays(square), &Sizes::from([('v', 6)]));
        assert!(matches!(fit[..], [(Layout::TransformerLens, _)]), "{fit:?}");
    }

    #[test]
    fn contradictions_are_told_with_name_and_shape() {
        let mut shapes = NANDA.to_vec();
        shapes[9].1 = &[7];
        let (fit, why) = fitting(&arrays(&shapes), &Sizes::new());
        assert!(fit.is_empty());
        assert!(why[1].contains("blocks.0.mlp.") && why[1].contains("d_model"), "{why:?}");
        shapes = NANDA.to_vec();
        shapes[5].1 = &[6, 9];
        let (_, why) = fitting(&arrays(&shapes), &Sizes::new());
        assert_eq!(why[1], "layout nanda: blocks.0.attn.W_O has 9 columns, expected n_heads · d_head = 8");
        assert_eq!(n_blocks(["blocks.0.x".to_owned(), "blocks.11.y".to_owned()].iter()), 12);
        assert_eq!(n_blocks(["embed.W_E".to_owned()].iter()), 0);
    }
}
