//! Schedules, seeds and resolved specs at known points.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

fn due(schedule: &Snapshots, last: u64) -> Vec<u64> {
    (0..=last).filter(|&step| schedule.due(step)).collect()
}

#[test]
fn snapshot_rules_alone_and_together() {
    let none = Snapshots::default();
    assert_eq!(due(&none, 100), [0]);
    assert_eq!(due(&Snapshots { every: Some(40), ..none.clone() }, 100), [0, 40, 80]);
    assert_eq!(due(&Snapshots { powers_of_two: true, ..none.clone() }, 20), [0, 1, 2, 4, 8, 16]);
    let powers_then = Snapshots { powers_then_every: Some(1000), ..none.clone() };
    assert_eq!(due(&powers_then, 2100), [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000]);
    let together = Snapshots { every: Some(50), windows: vec![[10, 14, 2]], list: vec![13], ..none };
    assert_eq!(due(&together, 60), [0, 10, 12, 13, 14, 50]);
}

#[test]
fn seeds_are_written_as_they_are_read() {
    for (text, seeds) in [("0..3", vec![0, 1, 2]), ("7", vec![7]), ("5..6", vec![5])] {
        assert_eq!(text.parse::<Seeds>().unwrap().0, seeds);
    }
    for bad in ["3..3", "a..b", "-1..2", "0..100000", "9223372036854775808"] {
        assert!(bad.parse::<Seeds>().is_err(), "{bad}");
    }
    assert!(Seeds::try_from(SeedsText::List(vec![1, 2, 1])).is_err());
}

#[test]
fn entries_of_a_list_are_set_by_their_index_and_their_faults_have_lines() {
    let text = "[[loss.terms]]\nexpr = \"w\"\nover = \"embed.W_E\"\n\n[[loss.terms]]\nmeasure = \"gini_w_e\"\nweigth = 2\nfreqs = 7\n";
    let read = |text: &str, sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        from_toml::<Spec>(Source { path: Path::new("e.toml"), text, sets: &sets }, Spec::faults).map_err(|e| e.cause())
    };
    let causes = read(text, &[]).unwrap_err();
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes[0].starts_with("line 7: loss.terms[1].weigth: unknown key; did you mean `weight`?"), "{causes:?}");
    assert!(causes[1].starts_with("line 8: loss.terms[1].freqs: "), "{causes:?}");
    let right = text.replace("weigth = 2\nfreqs = 7\n", "");
    let spec = read(&right, &["loss.terms[1].weight=-0.5", "loss.terms[0].over=\"*\""]).unwrap();
    assert_eq!((spec.loss.terms[0].weight, spec.loss.terms[1].weight), (1.0, -0.5));
    assert_eq!(spec.loss.terms[0].over.as_deref(), Some("*"));
    assert_eq!(read(&right, &["loss.terms=[]"]).unwrap().loss, LossSpec::default());
    for (set, want) in [
        ("loss.terms[2].weight=1", "`terms` has 2 entries, counted from 0"),
        ("loss.kinds[0]=1", "`kinds` is no list"),
        ("loss.terms[0].weight=nan", "NaN is not a finite number"),
    ] {
        let causes = read(&right, &[set]).unwrap_err();
        assert!(causes.len() == 1 && causes[0].contains(want), "{set}: {causes:?}");
    }
}

#[test]
fn a_resolved_spec_reads_back_equal() {
    let mut spec = Spec { title: "a \"title\"".into(), ..Spec::default() };
    spec.optim.clip_norm = Some(0.5);
    spec.optim.grokfast = Some(Grokfast { lamb: 5.0, ..Grokfast::default() });
    spec.model.act = Act::try_from("x^2 - 1".to_owned()).unwrap();
    spec.train.seeds = Seeds(vec![4, 9]);
    spec.train.snapshots = Snapshots { windows: vec![[1, 9, 2]], list: vec![3], ..Snapshots::default() };
    spec.train.stop = Some(Stop { metric: StopMetric::TestLossNats, threshold: 1e-2, evals: 3, extra_steps: 100 });
    let freqs = Some(vec![2, 7]);
    spec.loss.terms = vec![
        TermSpec { measure: Some("restricted_train_loss".into()), freqs, to_step: Some(9), ..TermSpec::default() },
        TermSpec { expr: Some("w^2".into()), over: Some("*".into()), reduce: Reduce::Mean, ..TermSpec::default() },
    ];
    let text = spec.to_toml();
    let source = Source { path: Path::new("run.toml"), text: &text, sets: &[] };
    assert_eq!(from_toml(source, Spec::faults).unwrap(), spec);
}

#[test]
fn seeds_that_torch_would_cut_short_are_refused() {
    let faults = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let found = from_toml(Source { path: Path::new("spec"), text: "", sets: &sets }, Spec::faults);
        found.map_or_else(|e| e.cause(), |_| vec![])
    };
    let large = "train.seeds=[1, 4294967296]";
    assert_eq!(
        faults(&[large, "data.seed=4294967297", "data.split=torch_randperm"]),
        [
            "train.seeds: 4294967296 does not fit 32 bits, all that PyTorch's generator reads (data.split = \"torch_randperm\")",
            "data.seed: does not fit 32 bits, all that PyTorch's generator reads (data.split = \"torch_randperm\")",
        ]
    );
    assert_eq!(
        faults(&[large, "model.init=torch"]),
        ["train.seeds: 4294967296 does not fit 32 bits, all that PyTorch's generator reads (model.init = \"torch\")"]
    );
    assert_eq!(faults(&[large, "data.split=python_shuffle"]), [""; 0]);
    assert_eq!(faults(&["train.seeds=[4294967295]", "model.init=torch", "data.split=torch_randperm"]), [""; 0]);
}

/// The faults of a text, each as `key: message`.
fn faults(text: &str) -> Vec<String> {
    match from_toml(Source { path: Path::new("spec.toml"), text, sets: &[] }, Spec::faults) {
        Ok(_) => vec![],
        Err(e) => e.cause(),
    }
}

#[test]
fn activations_are_names_or_expressions() {
    let act = |text: &str| Act::try_from(text.to_owned());
    for named in Act::NAMED {
        assert_eq!(act(named.text()).unwrap(), named);
    }
    let formula = act("x*sigmoid(1.7*x)").unwrap();
    assert_eq!(formula.text(), "x*sigmoid(1.7*x)");
    assert_eq!(act(&String::from(formula.clone())).unwrap(), formula);
    assert!(act("3").unwrap_err().contains("does not depend on x"));
    assert!(act("rleu").unwrap_err().contains("did you mean `relu`?"));
    let long = vec!["x"; 200].join("*");
    assert!(act(&long).unwrap_err().contains("steps"), "{:?}", act(&long));
    let found = faults("[model]\nact = \"x^2 + y\"\n");
    assert!(
        found.len() == 1 && found[0].starts_with("line 2: model.act: ") && found[0].contains("column 7"),
        "{found:?}"
    );
}

/// Each contradiction alone, with the key that it is found under; what is written next to it is no fault.
#[test]
fn contradictions_are_found_under_their_key() {
    let mlp = "[model]\nfamily = \"mlp\"\n";
    let gromov = "init = \"gromov\"\nact = \"square\"\ninput = \"onehot\"\n";
    let cases = [
        (format!("{mlp}normalization = \"RMS\"\n"), "model.normalization"),
        (format!("{mlp}positional = \"none\"\n"), "model.positional"),
        (format!("{mlp}tied_unembed = true\n"), "model.tied_unembed"),
        (format!("{mlp}n_layers = 13\n"), "model.n_layers"),
        (format!("{mlp}n_kv_heads = 2\n"), "model.n_kv_heads"),
        (format!("{mlp}parallel = true\n"), "model.parallel"),
        (format!("{mlp}gated_mlp = true\n"), "model.gated_mlp"),
        (format!("{mlp}act = \"solu_ln\"\n"), "model.act"),
        ("[data]\ntest_examples = 0\n".into(), "data.test_examples"),
        ("[model.mask]\nkeep_frac = 0.5\n".into(), "model.mask.run"),
        ("[model.mask]\nby = \"random\"\nkeep_frac = 0.0\n".into(), "model.mask.keep_frac"),
        ("[model.mask]\nby = \"random\"\nstep = 3\n".into(), "model.mask.step"),
        ("[model]\nnested_init = true\ninit = \"torch\"\n".into(), "model.nested_init"),
        ("[model]\nn_heads = 4\nn_kv_heads = 3\n".into(), "model.n_kv_heads"),
        ("[model]\nd_head = 5\npositional = \"rotary\"\n".into(), "model.positional"),
        ("[model]\npositional = \"rotary\"\nrotary_base = 1.0\n".into(), "model.rotary_base"),
        ("[model]\nd_mlp = 0\ngated_mlp = true\n".into(), "model.gated_mlp"),
        ("[model]\nd_mlp = 0\nparallel = true\n".into(), "model.parallel"),
        ("[model]\nn_kv_heads = 2\ninit = \"torch\"\n".into(), "model.init"),
        (format!("{mlp}{gromov}n_layers = 2\n"), "model.init"),
        (format!("{mlp}{}", gromov.replace("square", "relu")), "model.init"),
        (format!("{mlp}{}", gromov.replace("onehot", "embed")), "model.init"),
        ("[model]\ninput = \"onehot\"\n".into(), "model.input"),
        ("[model]\nparametrization = \"mean_field\"\n".into(), "model.parametrization"),
        ("[model]\nnormalization = \"ln\"\n".into(), "model.normalization"),
        ("[optim]\ngrokfast = { alpha = 1.0 }\n".into(), "optim.grokfast.alpha"),
        ("[optim.grokfast]\nlamb = -1.0\n".into(), "optim.grokfast.lamb"),
        ("[optim.grokfast]\nkind = \"median\"\n".into(), "optim.grokfast.kind"),
        ("[optim.grokfast]\nlambda = 2.0\n".into(), "optim.grokfast.lambda"),
    ];
    for (text, key) in cases {
        let found = faults(&text);
        assert!(found.len() == 1 && found[0].contains(&format!(": {key}: ")), "{text}: {found:?}");
    }
    for fine in [
        format!("{mlp}{gromov}"),
        format!("{mlp}{}", gromov.replace("square", "x ^ 2")),
        format!("{mlp}{}", gromov.replace("square", "x²")),
        format!("{mlp}{}", gromov.replace("square", "x * x")),
        format!("{mlp}n_layers = 4\nparametrization = \"mean_field\"\n"),
        "[model]\nnormalization = \"LNPre\"\npositional = \"none\"\ntied_unembed = true\n".into(),
        "[optim]\ngrokfast = { kind = \"ema\", alpha = 0.98, lamb = 2.0 }\n".into(),
        "[optim]\ngrokfast = {}\n".into(),
    ] {
        assert_eq!(faults(&fine), [] as [String; 0], "{fine}");
    }
    assert_eq!(Grokfast::default(), Grokfast { kind: GrokfastKind::Ema, alpha: 0.98, lamb: 2.0 });
}

#[test]
fn key_frequencies_are_a_rule_or_a_list_and_anything_else_is_explained() {
    let read = |set: &str| {
        let sets = [set.to_owned()];
        let source = Source { path: Path::new("spec"), text: "", sets: &sets };
        from_toml(source, Spec::faults).map_err(|e| e.cause().join("\n"))
    };
    let of = |set: &str| read(set).map(|spec| spec.measure.key_freqs);
    for rule in KeyRule::ALL {
        assert_eq!(of(&format!("measure.key_freqs={}", rule.name())), Ok(KeyFreqsBy::Rule(*rule)));
    }
    assert_eq!(of("measure.key_freqs=[14, 35]"), Ok(KeyFreqsBy::List(vec![14, 35])));
    for bad in ["[]", "[0]", "[3, 3]"] {
        let why = of(&format!("measure.key_freqs={bad}"));
        assert!(why.as_ref().is_err_and(|why| why.contains("is not a list of frequencies")), "{bad}: {why:?}");
    }
    let twice = read("measure.names=[\"loss\", \"gini\", \"loss\"]").map(|_| ());
    assert!(twice.as_ref().is_err_and(|why| why.contains("measure.names: `loss` stands twice")), "{twice:?}");
    assert!(of("measure.key_freqs=w_m").is_err_and(|why| why.contains("known: w_e, w_e_norm, w_l, neurons")));
    let two = Spec { model: ModelSpec { d_mlp: 0, ..ModelSpec::default() }, ..Spec::default() };
    let measure =
        MeasureSpec { key_freqs: KeyFreqsBy::Rule(KeyRule::Neurons), key_frac: 0.0, key_norm: -1.0, ..two.measure };
    let keys: Vec<String> = Spec { measure, ..two }.faults().into_iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["measure.key_freqs", "measure.key_frac", "measure.key_norm"]);
    // A spec that was written before the keys were there reads as the default.
    let old = Spec::default().to_toml();
    let old: String = old
        .lines()
        .filter(|line| !line.starts_with("key_") && !line.starts_with("basis_"))
        .map(|line| format!("{line}\n"))
        .collect();
    let source = Source { path: Path::new("spec"), text: &old, sets: &[] };
    assert_eq!(from_toml(source, Spec::faults).ok(), Some(Spec::default()));
}

/// A toy model's spec reads back equal, without the sections of a task.
#[test]
fn a_toy_spec_reads_back_equal_and_has_no_task() {
    let text = "[toy]\nn_features = 6\nd_hidden = [4, 3]\ntied = false\ntarget = \"max(x, y)\"\nact = \"solu\"\nvalues = { uniform = [0.5, 1.0] }\n\
                feature_prob = \"density\"\nimportance = [1, 0.5, 2]\npoints = \"count\"\n\
                [[toy.grid]]\nname = \"density\"\nfrom = 1\nto = 0.01\ncount = 3\nlog = true\n\
                [[toy.grid]]\nname = \"count\"\nvalues = [3, 30]\n[train]\nseeds = [4, 9]\n";
    let read = |text: &str| from_toml(Source { path: Path::new("toy.toml"), text, sets: &[] }, Spec::faults).unwrap();
    let spec = read(text);
    let written = spec.to_toml();
    assert!(!written.contains("[model]") && !written.contains("task"), "{written}");
    assert_eq!(read(&written), spec);
    let toy = spec.toy.as_ref().unwrap();
    assert_eq!((toy.values.clone(), toy.n_outputs(), toy.act.clone()), (Values::Uniform(0.5, 1.0), 3, ToyAct::Solu));
    let replicas = toy.replicas(&spec.train.seeds.0).unwrap();
    assert_eq!(spec.replica_seeds(), [4, 9, 14, 19, 24, 29, 34, 39, 44, 49, 54, 59]);
    let middle = &replicas[4..6];
    assert!(middle.iter().all(|replica| (replica.feature_prob[5] - 0.1).abs() < 1e-15 && replica.points == Some(3)));
    assert_eq!((replicas[11].point.clone(), replicas[11].points), (vec![0.01, 30.0], Some(30)));
    assert_eq!(replicas[0].importance, [1.0, 0.5, 2.0]);
    for (values, same) in [("\"binary\"", "1.0"), ("\"uniform\"", "{ uniform = [0, 1] }"), ("[1, 2]", "[1.0, 2.0]")] {
        let of = |values: &str| read(&format!("[toy]\nvalues = {values}\n")).toy.unwrap().values;
        assert_eq!(of(values), of(same));
    }
}

#[test]
fn bad_toy_settings_say_where_and_what_to_do() {
    let grid = "[[toy.grid]]\nname = \"density\"\nvalues = [0.5, 1.5]\n";
    for (text, messages) in [
        ("[toy]\nn_feature = 3\n", &["toy.n_feature: unknown key; did you mean `n_features`?"][..]),
        ("task = \"mod_add_53\"\n[toy]\n", &["task: stands beside [toy]"]),
        ("[toy]\n[model]\nd_mlp = 3\n", &["model: stands beside [toy]"]),
        ("[toy]\nfeature_prob = \"densty\"\n", &["toy.feature_prob: `densty`: column 1: found `densty`"]),
        ("[toy]\nfeature_prob = [0.1, 0.2]\n", &["toy.feature_prob: 2 numbers for 5 features"]),
        ("[toy]\nfeature_prob = 1.5\n", &["toy.feature_prob: 1.5 is no chance; it must be 0 to 1"]),
        ("[toy]\nimportance = -1\n", &["toy.importance: -1 must be a finite number of at least 0"]),
        (
            "[toy]\ntarget = \"max(x, y)\"\n",
            &["toy.n_features: 5 features are no pairs", "toy.tied: only one hidden layer"],
        ),
        ("[toy]\ntarget = \"2\"\n", &["toy.target: does not depend on x"]),
        (
            "[toy]\ntarget_sum = 2\n",
            &["toy.n_features: 5 features cannot be shared among outputs of 2", "toy.tied: only"],
        ),
        ("[toy]\ntarget_sum = 0\n", &["toy.target_sum: must be at least 1"]),
        ("[toy]\ntarget = \"random\"\n", &["toy.target: a random target needs values that come again"]),
        ("[toy]\nsets = \"ring\"\nset_size = 3\n", &["toy.set_size: a bump that reaches 3 inputs to both sides"]),
        (
            "[optim]\nkind = \"sgld\"\ninverse_temperature = 0\n",
            &["optim.inverse_temperature: 0 is not a finite number above 0"],
        ),
        ("[optim]\nkind = \"sgld\"\n[model.mask]\nby = \"random\"\n", &["model.mask: SGLD's noise would move"]),
        ("[measure.sgld]\nburn_in = 2000\n", &["measure.sgld.burn_in: 2000 must be less than measure.sgld.steps"]),
        ("[toy]\nsets = \"correlated\"\n", &["toy.set_size: 5 features are no sets of 2"]),
        ("[toy]\nvalues = \"unifrom\"\n", &["did you mean `uniform`?"]),
        ("[toy]\nact = \"rellu\"\n", &["did you mean `relu`?"]),
        ("[toy]\nd_hidden = 0\n", &["toy.d_hidden: must be 1 to 16,384"]),
        ("[toy]\npoints = 0\n", &["toy.points: 0 must be 1 to 10 million"]),
        (
            "[toy]\nfeature_prob = \"density\"\n[[toy.grid]]\nname = \"density\"\n",
            &["toy.grid[0].values: needs `values`, or"],
        ),
        (
            "[toy]\n[[toy.grid]]\nname = \"exp\"\nvalues = [1]\n",
            &["toy.grid[0].name: `exp` has another meaning already"],
        ),
        (
            "[toy]\n[[toy.grid]]\nname = \"a_b\"\nfrom = 0\nto = 1\ncount = 3\nlog = true\n",
            &["toy.grid[0].log: needs ends above 0"],
        ),
        ("[toy]\n[train]\nstop = { metric = \"test_loss_nats\", threshold = 1 }\n", &["take train_loss or test_loss"]),
        (
            "[toy]\n[train]\nseeds = \"0..20\"\n[[toy.grid]]\nname = \"many\"\nfrom = 0\nto = 1\ncount = 5000\n",
            &["100000 replicas are more"],
        ),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), messages.len(), "{text}: {found:?}");
        assert!(found.iter().zip(messages).all(|(found, message)| found.contains(message)), "{text}: {found:?}");
    }
    let found = faults(&format!("[toy]\nfeature_prob = \"density\"\n{grid}"));
    assert!(found[0].contains("1.5 is no chance (at density 1.5)"), "{found:?}");
}
