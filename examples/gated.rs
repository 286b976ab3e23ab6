//! phaselab with a model of its own: a gated MLP over two tokens, written with candle and without a gradient by hand.
//!
//! `cargo run --release --features candle --example gated -- run examples/gated.toml` trains, measures and draws it;
//! `… -- train examples/gated.toml --resume`, `measure`, `figure`, `show`: every command is there.

use std::process::ExitCode;

use candle_core::{Result, Tensor};
use phaselab::door::{self, Model, Param, Scope};
use phaselab::model::TaskShape;

/// `logits = (a W_gate ⊙ b W_in) W_U`, for the embeddings a and b of the two operands.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Gated {
    d_model: usize,
    d_mlp: usize,
}

impl Default for Gated {
    fn default() -> Gated {
        Gated { d_model: 64, d_mlp: 128 }
    }
}

impl Model for Gated {
    fn params(&self, task: &TaskShape) -> Vec<Param> {
        vec![
            Param::new("embed.W_E", [task.d_vocab, self.d_model]),
            Param::new("blocks.0.mlp.W_gate", [self.d_model, self.d_mlp]),
            Param::new("blocks.0.mlp.W_in", [self.d_model, self.d_mlp]),
            Param::new("unembed.W_U", [self.d_mlp, task.d_vocab_out]),
        ]
    }

    fn forward(&self, tokens: &Tensor, s: &Scope<'_>) -> Result<Tensor> {
        let operand = |t| s.embed("embed.W_E", &tokens.narrow(1, t, 1)?.squeeze(1)?);
        let gate = operand(0)?.matmul(s.param("blocks.0.mlp.W_gate")?)?;
        let hidden = (gate * operand(1)?.matmul(s.param("blocks.0.mlp.W_in")?)?)?;
        s.keep("blocks.0.mlp.hook_post", &hidden);
        hidden.matmul(s.param("unembed.W_U")?)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let sizes = [("d_model", self.d_model), ("d_mlp", self.d_mlp)];
        sizes.into_iter().filter(|(_, n)| *n == 0).map(|(key, _)| (key, "must be at least 1".into())).collect()
    }
}

fn main() -> ExitCode {
    phaselab::cli::main_with(&[door::model::<Gated>("gated", "gated MLP over two tokens")])
}
