use super::*;
use crate::rng::Rng;
use crate::spec::Act;

fn formula(text: &str) -> ToyAct {
    ToyAct::try_from(text.to_owned()).expect("an activation")
}

fn numbers(n: usize, name: &str) -> Vec<f64> {
    let mut out = vec![0.0; n];
    Rng::stream(1, name).fill_normal(&mut out);
    out
}

/// 5 inputs, hidden layers 3 and 2, 4 outputs, all with biases; or a tied network of 5 inputs and 3 hidden numbers.
fn net(tied: bool, hidden: &ToyAct, out: &ToyAct, dropout: f64) -> (Net, usize) {
    let layer = |weight, strides, bias, (d_in, d_out), act: &ToyAct, dropout| Layer {
        weight,
        strides,
        bias: Some(bias),
        d_in,
        d_out,
        act: act.clone(),
        dropout,
    };
    let layers = match tied {
        true => {
            vec![layer(0, [5, 1], 15, (5, 3), hidden, dropout), layer(0, [1, 5], 18, (3, 5), out, 0.0)]
        }
        false => vec![
            layer(0, [5, 1], 15, (5, 3), hidden, dropout),
            layer(18, [3, 1], 24, (3, 2), hidden, 0.0),
            layer(26, [2, 1], 34, (2, 4), out, 0.0),
        ],
    };
    (Net { layers, loss: ToyLoss::SquaredError }, 48)
}

/// Examples and factors of dropout of a batch, tile by tile.
fn draw<'a>(net: &'a Net, x: &'a [f64], y: &'a [f64], examples: usize) -> impl Fn(Tile<'_, f64>) + 'a {
    move |tile: Tile<'_, f64>| {
        let place = |i: usize| (tile.first + i % tile.lanes, i / tile.lanes);
        let of = |from: &[f64], i: usize| {
            let (example, row) = place(i);
            // Beyond the batch stands what must not count.
            if example < examples { from[row * examples + example] } else { 7.0 }
        };
        (0..tile.x.len()).for_each(|i| tile.x[i] = of(x, i));
        (0..tile.y.len()).for_each(|i| tile.y[i] = of(y, i));
        for (layer, keep) in net.layers.iter().zip(tile.keep).filter(|(layer, _)| layer.dropout > 0.0) {
            let size = layer.d_out * tile.lanes;
            keep[..size].iter_mut().enumerate().for_each(|(i, keep)| *keep = if i % 3 == 0 { 0.0 } else { 1.25 });
        }
    }
}

/// Every entry of a gradient against differences of the loss.
fn assert_slopes(grads: &[f64], params: &[f64], loss: impl Fn(&[f64]) -> f64, what: &str) {
    for (i, grad) in grads.iter().enumerate() {
        let moved = |by: f64| {
            let mut params = params.to_vec();
            params[i] += by;
            loss(&params)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((grad - slope).abs() < 1e-8 * (1.0 + slope.abs()), "{what}: {i}: {grad} against {slope}");
    }
}

/// Every entry of the gradient against differences of the loss, over a batch that is not whole tiles.
#[test]
fn gradients_agree_with_finite_differences() {
    let each = |act: Act| ToyAct::Each(act);
    let identity = each(Act::Identity);
    let cases = [
        (true, identity.clone(), each(Act::Gelu), 0.0),
        (true, each(Act::Tanh), each(Act::Silu), 0.25),
        (true, identity.clone(), ToyAct::Softmax, 0.0),
        (true, ToyAct::Solu, identity.clone(), 0.25),
        (false, each(Act::Gelu), each(Act::Square), 0.0),
        (false, ToyAct::Softmax, ToyAct::Solu, 0.0),
        (false, formula("x*sigmoid(1.7*x)"), each(Act::Tanh), 0.2),
    ];
    let examples = TILE + 45;
    for (tied, hidden, out, dropout) in cases {
        let (net, len) = net(tied, &hidden, &out, dropout);
        let (x, y) = (numbers(5 * examples, "x"), numbers(net.d_out() * examples, "y"));
        let params: Vec<f64> = numbers(len, "params").iter().map(|x| 0.5 * x).collect();
        let importance: Vec<f64> = (0..net.d_out()).map(|i| 1.0 / (1.0 + i as f64)).collect();
        let loss = Loss { examples, importance: &importance, scale: 0.7 };
        let (mut scratch, mut grads) = (net.scratch(), vec![9.0; len]);
        let at = net.loss_and_grads(&params, &mut grads, loss, &mut scratch, draw(&net, &x, &y, examples));
        assert!(at.is_finite() && at > 0.0);
        let value = |params: &[f64]| {
            net.loss_and_grads(params, &mut vec![0.0; len], loss, &mut net.scratch(), draw(&net, &x, &y, examples))
        };
        assert_slopes(&grads, &params, value, &format!("{net:?}"));
        assert!(grads.iter().filter(|x| **x != 0.0).count() > len / 4);
    }
}

/// Cross-entropy of examples of which some have no class: against differences, and against the formula on what `activations` gives.
#[test]
fn cross_entropy_is_the_formula_and_its_gradient_agrees_with_finite_differences() {
    let examples = TILE + 45;
    for (tied, hidden) in [(true, ToyAct::Each(Act::Identity)), (false, ToyAct::Each(Act::Gelu))] {
        let (mut net, len) = net(tied, &hidden, &ToyAct::Softmax, 0.0);
        net.loss = ToyLoss::CrossEntropy;
        let classes = net.d_out();
        let x = numbers(5 * examples, "x");
        let class = |b: usize| Some(b * 7 % 11 % classes).filter(|_| !b.is_multiple_of(5));
        let y: Vec<f64> =
            (0..classes * examples).map(|ob| f64::from(class(ob % examples) == Some(ob / examples))).collect();
        let params: Vec<f64> = numbers(len, "params").iter().map(|x| 0.5 * x).collect();
        let importance: Vec<f64> = (0..classes).map(|i| 1.0 / (1.0 + i as f64)).collect();
        let loss = Loss { examples, importance: &importance, scale: 0.7 };
        let (mut scratch, mut grads) = (net.scratch(), vec![9.0; len]);
        let at = net.loss_and_grads(&params, &mut grads, loss, &mut scratch, draw(&net, &x, &y, examples));
        let x_bn: Vec<f64> = (0..5 * examples).map(|bi| x[bi % 5 * examples + bi / 5]).collect();
        let outputs = net.activations(&params, &x_bn);
        let of = |b: usize| class(b).map_or(0.0, |c| -importance[c] * outputs[outputs.len() - 1][b * classes + c].ln());
        let expected = 0.7 * (0..examples).map(of).sum::<f64>() / examples as f64;
        assert!((at / expected - 1.0).abs() < 1e-12, "{at} against {expected}");
        let value = |params: &[f64]| {
            net.loss_and_grads(params, &mut vec![0.0; len], loss, &mut net.scratch(), draw(&net, &x, &y, examples))
        };
        assert_slopes(&grads, &params, value, &format!("{net:?}"));
    }
}

/// A right class whose probability underflows costs much, not infinitely much, and pulls as it should.
#[test]
fn cross_entropy_of_a_hopeless_example_is_finite() {
    let layer = Layer { weight: 0, strides: [1, 1], bias: None, d_in: 1, d_out: 2, act: ToyAct::Softmax, dropout: 0.0 };
    let net = Net { layers: vec![layer], loss: ToyLoss::CrossEntropy };
    let loss = Loss { examples: 1, importance: &[1.0f32; 2], scale: 1.0 };
    let (mut scratch, mut grads) = (net.scratch(), [0.0f32; 2]);
    let at = net.loss_and_grads(&[-500.0, 500.0], &mut grads, loss, &mut scratch, |tile| {
        tile.x.fill(1.0);
        tile.y.fill(0.0);
        tile.y[0] = 1.0;
    });
    assert!((80.0..90.0).contains(&at), "{at}");
    assert_eq!(grads, [-1.0, 1.0]);
    let spoilt = net.loss_and_grads(&[f32::NAN, 1.0], &mut grads, loss, &mut scratch, |tile| {
        tile.x.fill(1.0);
        tile.y[0] = 1.0;
    });
    assert!(spoilt.is_nan());
}

/// The ReLU output model written out, one example at a time.
#[test]
fn the_loss_is_the_formula() {
    let (net, len) = net(true, &ToyAct::Each(Act::Identity), &ToyAct::Each(Act::Relu), 0.0);
    for examples in [1, 31, 32, 33, TILE, 3 * TILE + 1] {
        let (x, params) = (numbers(5 * examples, "x"), numbers(len, "params"));
        let importance = [1.0, 0.9, 0.81, 0.729, 0.6561];
        let mut expected = 0.0;
        for b in 0..examples {
            let h: Vec<f64> = (0..3)
                .map(|j| params[15 + j] + (0..5).map(|i| params[j * 5 + i] * x[i * examples + b]).sum::<f64>())
                .collect();
            for i in 0..5 {
                let z = params[18 + i] + (0..3).map(|j| params[j * 5 + i] * h[j]).sum::<f64>();
                expected += importance[i] * (z.max(0.0) - x[i * examples + b]).powi(2) / examples as f64;
            }
        }
        let loss = Loss { examples, importance: &importance, scale: 1.0 };
        let mut scratch = net.scratch();
        let found = net.loss_of(&params, loss, &mut scratch, draw(&net, &x, &x, examples));
        assert!((found / expected - 1.0).abs() < 1e-12, "{examples}: {found} against {expected}");
    }
}

#[test]
fn products_of_every_size_are_plain_sums() {
    for (d_in, d_out) in (1..10).flat_map(|d_in| (1..10).map(move |d_out| (d_in, d_out))) {
        let lanes = 64;
        let (w, x) = (numbers(d_in * d_out, "w"), numbers(d_in * lanes, "x"));
        let d = numbers(d_out * lanes, "d");
        let (mut out, mut g) = (vec![0.0; d_out * lanes], vec![0.0; d_in * d_out]);
        product::forward((&w, [1, d_out]), None, (&x, d_in), (&mut out, d_out), lanes);
        product::outer((&d, d_out), (&x, d_in), lanes, (&mut g, [1, d_out]));
        for o in 0..d_out {
            for b in 0..lanes {
                let plain: f64 = (0..d_in).map(|i| w[i * d_out + o] * x[i * lanes + b]).sum();
                assert!((out[o * lanes + b] - plain).abs() < 1e-12, "{d_in} to {d_out}");
            }
            for i in 0..d_in {
                let plain: f64 = (0..lanes).map(|b| d[o * lanes + b] * x[i * lanes + b]).sum();
                assert!((g[i * d_out + o] - plain).abs() < 1e-11, "{d_in} to {d_out}");
            }
        }
    }
}
