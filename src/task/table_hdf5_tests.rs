//! Rows written to HDF5 files come back as the arrays that they were written from, and as the same rows of JSON.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rust_hdf5::types::HBool;
use rust_hdf5::{H5File, H5Type};

use super::*;
use crate::task::rule::check::drawing;
use crate::task::table::tests::Beside;
use crate::task::table_numbers::tests::Arrays;
use crate::task::{Example, Rule};

/// A dataset: whole, or in compressed chunks of so many rows.
fn put<T: H5Type>(file: &H5File, name: &str, shape: &[usize], chunk_rows: Option<usize>, numbers: &[T]) {
    let builder = file.new_dataset::<T>().shape(shape);
    let builder = match chunk_rows {
        Some(rows) => builder.chunk(&[&[rows], &shape[1..]].concat()).deflate(4),
        None => builder,
    };
    builder.create(name).unwrap().write_raw(numbers).unwrap();
}

/// A folder with the file d.h5, which `fill` fills.
fn beside(fill: impl FnOnce(&H5File)) -> Beside {
    let beside = Beside::file("d.h5", "");
    let file = H5File::create(beside.0.path().join("d.h5")).unwrap();
    fill(&file);
    file.close().unwrap();
    beside
}

/// `[n, t]` tokens below 7.
fn tokens(n: usize, t: usize) -> Vec<i64> {
    (0..n * t).map(|at| ((at * at / 3 + at / t) % 7) as i64).collect()
}

fn example(rule: &dyn Rule, row: usize) -> Example {
    let mut example = Example::default();
    assert!(rule.write(&[row as u32], &mut example), "{row}");
    example
}

#[test]
fn ten_thousand_rows_of_tokens_are_the_array_that_was_written() {
    let (n, t) = (10_000, 9);
    let all = tokens(n, t);
    let as_i64 = beside(|file| put(file, "tokens", &[n, t], None, &all));
    let as_u8 = beside(|file| {
        put(file, "tokens", &[n, t], Some(64), &all.iter().map(|&token| token as u8).collect::<Vec<_>>())
    });
    let as_i32 = beside(|file| {
        put(file, "tokens", &[n, t], Some(3000), &all.iter().map(|&token| token as i32).collect::<Vec<_>>())
    });
    for beside in [as_i64, as_u8, as_i32] {
        for (ask, from) in [("next", 0), ("last", t - 2)] {
            let rule = beside.rule(&format!("file = \"d.h5\", ask = \"{ask}\""));
            assert_eq!((rule.n_ctx(), rule.words().len(), rule.all().unwrap().len()), (t - 1, 7, n));
            assert_eq!(rule.loss_positions(), (from..t - 1).collect::<Vec<_>>());
            // In another order than that of the file.
            for row in (0..n).map(|row| row * 7919 % n) {
                let (row_t, found) = (&all[row * t..][..t], example(&*rule, row));
                assert!(found.tokens.iter().zip(&row_t[..t - 1]).all(|(&found, &token)| i64::from(found) == token));
                assert!(found.targets.iter().zip(&row_t[from + 1..]).all(|(&found, &token)| i64::from(found) == token));
            }
            for wrong in [&[n as u32][..], &[u32::MAX], &[0, 1], &[]] {
                assert!(!rule.write(wrong, &mut Example::default()), "{wrong:?}");
            }
        }
    }
}

#[test]
fn targets_masks_and_words_mean_what_they_do_in_json() {
    let (n, t) = (200, 5);
    let (all, targets) = (tokens(n, t), tokens(n, t).into_iter().rev().collect::<Vec<_>>());
    let mask: Vec<u8> = (0..n * t).map(|at| u8::from(at % t == at / t % t || at % 3 == 0)).collect();
    let hdf5 = beside(|file| {
        put(file, "tokens", &[n, t], Some(7), &all);
        put(file, "targets", &[n, t], None, &targets);
        put(file, "mask", &[n, t], None, &mask.iter().map(|&entry| HBool(entry)).collect::<Vec<_>>());
    });
    let line = |row: usize| {
        let list = |numbers: &[i64]| format!("{:?}", &numbers[row * t..][..t]);
        let mask: Vec<i64> = mask.iter().map(|&entry| entry.into()).collect();
        format!("{{\"tokens\": {}, \"targets\": {}, \"mask\": {}}}\n", list(&all), list(&targets), list(&mask))
    };
    let json = Beside::file("d.jsonl", (0..n).map(line).collect::<String>());
    for vocab in ["", ", vocab = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\"]"] {
        let hdf5 = hdf5.rule(&format!("file = \"d.h5\"{vocab}"));
        let json = json.rule(&format!("file = \"d.jsonl\"{vocab}"));
        assert_eq!((hdf5.words(), hdf5.loss_positions()), (json.words(), json.loss_positions()));
        for row in 0..n as u32 {
            let (hdf5, json) = (drawing(&*hdf5, &[row]), drawing(&*json, &[row]));
            assert_eq!((hdf5.words, hdf5.answers), (json.words, json.answers), "{row}");
        }
    }
}

#[test]
fn ten_thousand_rows_of_numbers_are_the_arrays_that_were_written() {
    for (sizes, x_shape, y_shape) in [
        ((1, 3, 1), vec![10_000, 3], vec![10_000]),
        ((1, 1, 4), vec![10_000, 1], vec![10_000, 4]),
        ((4, 2, 3), vec![10_000, 4, 2], vec![10_000, 4, 3]),
    ] {
        let arrays = Arrays::new(10_000, sizes);
        for chunk in [None, Some(77)] {
            let beside = beside(|file| {
                put(file, "x", &x_shape, chunk, &arrays.x);
                put(file, "y", &y_shape, chunk, &arrays.y);
            });
            arrays.compare(&*beside.rule("file = \"d.h5\""));
        }
    }
}

#[test]
fn numbers_of_every_type_are_read() {
    let mut arrays = Arrays::new(100, (2, 3, 1));
    arrays.x = (0..600).map(|at| f64::from(at % 200)).collect();
    arrays.y = (0..200).map(|at| f64::from(at) / 4.0).collect();
    let x_u8: Vec<u8> = arrays.x.iter().map(|&x| x as u8).collect();
    let x_i64: Vec<i64> = arrays.x.iter().map(|&x| x as i64).collect();
    let y_f32: Vec<f32> = arrays.y.iter().map(|&y| y as f32).collect();
    let narrow = beside(|file| {
        put(file, "x", &[100, 2, 3], Some(10), &x_u8);
        put(file, "y", &[100, 2, 1], None, &y_f32);
    });
    let wide = beside(|file| {
        put(file, "x", &[100, 2, 3], None, &x_i64);
        put(file, "y", &[100, 2, 1], Some(9), &arrays.y);
    });
    arrays.compare(&*narrow.rule("file = \"d.h5\""));
    arrays.compare(&*wide.rule("file = \"d.h5\""));
    // A mask leaves the same gaps as NaN.
    let masked = beside(|file| {
        put(file, "x", &[100, 2, 3], None, &x_i64);
        put(file, "y", &[100, 2, 1], None, &arrays.y);
        put(file, "mask", &[100, 2], None, &[1i32, 0, 0, 1].repeat(50));
    });
    (0..200).filter(|at| [1, 2].contains(&(at % 4))).for_each(|at| arrays.y[at] = f64::NAN);
    arrays.compare(&*masked.rule("file = \"d.h5\""));
}

#[test]
fn rows_larger_than_a_block_and_blocks_of_whole_chunks_are_read() {
    let arrays = Arrays::new(5, (2, 140_000, 3));
    let put_all = |chunk: Option<usize>| {
        beside(|file| {
            put(file, "x", &[5, 2, 140_000], chunk, &arrays.x);
            put(file, "y", &[5, 2, 3], None, &arrays.y);
        })
    };
    for chunk in [None, Some(1), Some(2)] {
        let beside = put_all(chunk);
        let mut file = Hdf5::open(&beside.0.path().join("d.h5"), Path::new("d.h5")).unwrap();
        file.select(<crate::task::table_numbers::Numbers as crate::task::table_source::Kind>::DATASETS, &|_| None)
            .unwrap();
        assert_eq!(file.block_rows(), chunk.unwrap_or(1));
        // A stream would read many such rows for its tests.
        arrays.compare(&*beside.build("file = \"d.h5\"", "train_frac = 0.5").unwrap().rule.unwrap());
    }
}

#[test]
fn faults_name_the_dataset() {
    let ones = |n: usize| vec![1i64; n];
    let message = |fill: &dyn Fn(&H5File)| {
        let found = beside(fill).faults("file = \"d.h5\"");
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].strip_prefix("line 3: params.file: ").unwrap().to_owned()
    };
    let ends = |fill: &dyn Fn(&H5File), expected: &str| assert_eq!(message(fill), format!("d.h5: {expected}"));
    ends(
        &|file| put(file, "data", &[2, 3], None, &ones(6)),
        "there is no dataset `tokens`, [N, T]; datasets there are: data",
    );
    ends(&|_| {}, "there is no dataset `tokens`, [N, T]; datasets there are: none");
    ends(
        &|file| put(file, "x", &[2, 3], None, &ones(6)),
        "there is no dataset `y`, [N], [N, k] or [N, T, k]; datasets there are: x",
    );
    ends(
        &|file| {
            put(file, "tokens", &[2, 3], None, &ones(6));
            put(file, "target", &[2, 3], None, &ones(6));
        },
        "unknown dataset `target`; did you mean `targets`?",
    );
    ends(
        &|file| put(file, "tokens", &[6], None, &ones(6)),
        "tokens has shape [6]; it must be [N, T], without an axis of length 0",
    );
    ends(
        &|file| put(file, "tokens", &[2, 1], None, &ones(2)),
        "tokens has shape [2, 1]; to ask anything, two tokens are needed, or targets",
    );
    ends(
        &|file| put(file, "tokens", &[1, 4097], None, &ones(4097)),
        "tokens has shape [1, 4097]; a row may have 4096 tokens",
    );
    ends(&|file| put(file, "tokens", &[2, 3], None, &[1.0f32; 6]), "tokens is of type f32; it must have integers");
    ends(
        &|file| {
            put(file, "tokens", &[2, 3], None, &ones(6));
            put(file, "targets", &[2, 2], None, &ones(4));
        },
        "targets has shape [2, 2] and tokens [2, 3]; give one entry for each token",
    );
    ends(
        &|file| {
            put(file, "tokens", &[2, 3], None, &ones(6));
            put(file, "mask", &[3, 3], None, &ones(9));
        },
        "mask has shape [3, 3] and tokens [2, 3]; they must have as many rows",
    );
    ends(
        &|file| {
            put(file, "x", &[2, 3, 1], None, &ones(6));
            put(file, "y", &[2, 3], None, &ones(6));
        },
        "y has shape [2, 3] and x [2, 3, 1]; with 3 positions y must be [N, 3, k]",
    );
    ends(
        &|file| {
            put(file, "x", &[2, 3], None, &ones(6));
            put(file, "y", &[2], None, &ones(2));
            put(file, "mask", &[2, 3], None, &ones(6));
        },
        "mask has shape [2, 3] and x [2, 3]; with 1 positions mask must be [N, 1]",
    );
    ends(
        &|file| {
            put(file, "x", &[1, 2, 600_000], Some(1), &vec![0u8; 1_200_000]);
            put(file, "y", &[1, 2, 1], None, &ones(2));
        },
        "x has shape [1, 2, 600000]; a row may have 1048576 numbers",
    );
    ends(
        &|file| {
            put(file, "x", &[1, 4097, 1], None, &ones(4097));
            put(file, "y", &[1, 4097, 1], None, &ones(4097));
        },
        "x has shape [1, 4097, 1]; a row may have 4096 positions",
    );
    let texts = message(&|file| {
        file.write_vlen_strings("tokens", &["a", "b"]).unwrap();
    });
    assert!(texts.starts_with("d.h5: tokens is of type ") && texts.ends_with("; it must have integers"), "{texts}");
}

#[test]
fn faults_name_the_row() {
    let x = |change: &dyn Fn(&mut [f64])| {
        let mut x = [0.5; 12];
        change(&mut x);
        x
    };
    let numbers = |fill: &dyn Fn(&H5File)| beside(fill).faults("file = \"d.h5\"");
    let put_xy = |file: &H5File, x: &[f64], y: &[f64]| {
        put(file, "x", &[3, 2, 2], None, x);
        put(file, "y", &[3, 2, 2], None, y);
    };
    for (tokens, message) in [
        ([0, 1, 1, 0, 0, -1], "row 2, token 2: -1 is out of range; integers are 0 to 65535"),
        ([0, 1, 1, 65_536, 0, 1], "row 1, token 2: 65536 is out of range; integers are 0 to 65535"),
    ] {
        let found = numbers(&|file| put(file, "tokens", &[3, 2], None, &tokens));
        assert_eq!(found, [format!("line 3: params.file: d.h5, {message}")]);
    }
    let found = numbers(&|file| put(file, "tokens", &[3, 2], None, &[0u64, 1, 2, u64::MAX, 0, 1]));
    assert!(found[0].contains("d.h5, row 1: cannot read tokens: ") && found.len() == 1, "{found:?}");
    let found = beside(|file| put(file, "tokens", &[3, 2], None, &[0, 1, 2, 1, 0, 1]))
        .faults("file = \"d.h5\", vocab = [\"a\", \"b\"]");
    assert!(found[0].ends_with("d.h5, row 1, token 1: 2 is no place in vocab, whose words are 0 to 1"), "{found:?}");
    for (name, entries, message) in [
        ("targets", [0, 1, 1, 1, 1, -100], "row 2, target 2: -100 is out of range; integers are 0 to 65535"),
        ("mask", [1, 1, 1, 1, -1, 1], "row 2: mask has the entry -1; it must be 0 (not asked) or 1"),
        ("mask", [1, 1, 0, 1, 1, 1], "row 1: mask leaves nothing to ask of the row"),
    ] {
        let found = numbers(&|file| {
            put(file, "tokens", &[3, 2], None, &[0, 1, 1, 0, 0, 1]);
            put(file, name, &[3, 2], None, &entries);
        });
        assert_eq!(found, [format!("line 3: params.file: d.h5, {message}")]);
    }
    for (x, y, message) in [
        (x(&|x| x[7] = f64::NAN), x(&|_| {}), "row 1: x has NaN at position 2; every number must be finite"),
        (x(&|_| {}), x(&|y| y[9] = f64::INFINITY), "row 2: y has inf at position 1; every number must be finite"),
        (
            x(&|_| {}),
            x(&|y| y[0] = f64::NAN),
            "row 0: y has numbers and gaps at position 1; a position is asked for all or for none",
        ),
        (
            x(&|_| {}),
            x(&|y| y[4..8].fill(f64::NAN)),
            "row 1: nothing is asked of the row; give it numbers in y, or remove it",
        ),
    ] {
        assert_eq!(numbers(&|file| put_xy(file, &x, &y)), [format!("line 3: params.file: d.h5, {message}")]);
    }
    // All faults at once, but not a million of them.
    assert_eq!(numbers(&|file| put(file, "tokens", &[1000, 2], None, &[-1i64; 2000])).len(), 10);
    let found = numbers(&|file| {
        file.new_dataset::<i32>().shape([0, 2]).chunk(&[4, 2]).resizable().create("tokens").unwrap();
    });
    assert_eq!(found, ["line 3: params.file: there are no rows; write at least one"]);
}

#[test]
fn files_that_are_damaged_or_none_are_faults_and_later_damage_is_no_row() {
    let faults = |bytes: &[u8]| {
        let found = Beside::file("d.h5", bytes).faults("file = \"d.h5\"");
        assert!(!found.is_empty() && found.iter().all(|fault| fault.contains("params.file: ")), "{found:?}");
        found
    };
    assert!(faults(b"1, 2\n")[0].contains("d.h5 cannot be read as HDF5: "));
    assert!(faults(b"")[0].contains("d.h5 cannot be read as HDF5: "));
    let found = Beside::file("e.h5", "").faults("file = \"d.h5\"");
    assert!(
        found[0].contains("there is no file ") && found[0].ends_with("d.h5; name one beside the card"),
        "{found:?}"
    );
    let found = Beside::file("e.h5", "").faults("file = \"../.h5\"");
    assert!(found[0].contains("is no .jsonl, .csv, .h5 or .hdf5 file"), "{found:?}");
    let (n, t) = (4000, 8);
    let beside = beside(|file| put(file, "tokens", &[n, t], None, &tokens(n, t)));
    let rule = beside.rule("file = \"d.h5\"");
    let path = beside.0.path().join("d.h5");
    let bytes = std::fs::read(&path).unwrap();
    // Wherever it ends, and whatever byte of the header is wrong: a fault, or tokens, and no panic.
    for cut in [bytes.len() - 1, bytes.len() / 2, 200, 96, 9] {
        let found = Beside::file("d.h5", &bytes[..cut]).build("file = \"d.h5\"", "stream = true");
        assert!(found.is_err(), "{cut}");
    }
    for at in 0..400 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x15;
        let _ = Beside::file("d.h5", &bytes).build("file = \"d.h5\"", "stream = true");
    }
    std::fs::File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
    assert!(!rule.write(&[n as u32 - 1], &mut Example::default()));
}

#[test]
fn threads_read_the_same_rows() {
    let arrays = Arrays::new(500, (3, 2, 1));
    let beside = beside(|file| {
        put(file, "x", &[500, 3, 2], Some(16), &arrays.x);
        put(file, "y", &[500, 3, 1], Some(16), &arrays.y);
    });
    let rule = beside.rule("file = \"d.h5\"");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| arrays.compare(&*rule));
        }
    });
}
