//! What a step or a chunk needs, known without running it.

use super::{Options, Session, decode_step, prompt::launch_chunk};
use crate::{
    config::Config,
    device::{Device, Launched},
    error::{Error, Result},
    kernels::max_step_tokens,
    loader,
    model::{Forward, Model},
    plan::Plan,
};
use half::bf16;

impl Session {
    /// What the launches of a step need, with its token at `position`, or those of a chunk of `n_prompt` tokens from there
    /// on and of the choice after it.
    ///
    /// Nothing runs: launches are captured, of a model with one layer, which has nothing in its weights. All layers are alike.
    ///
    /// # Errors
    /// Options that the model cannot follow, a chunk that would go through as a step, too little device memory.
    pub fn costs(
        device: &Device,
        config: &Config,
        options: &Options,
        position: u64,
        n_prompt: Option<u32>,
    ) -> Result<Vec<Launched>> {
        let least = max_step_tokens(config.n_heads, config.n_kv_heads) + 1;
        if let Some(n_tokens) = n_prompt.filter(|it| *it < least) {
            let expected = format!("a chunk of at least {least} tokens, as fewer go through as a step");
            return Err(Error::Option { option: "-p", expected, found: n_tokens.to_string() });
        }
        let n_layers = config.n_layers as usize;
        let config = Config { n_layers: 1, ..config.clone() };
        let (_, sizes) = options.sizes(&config)?;
        let plan = Plan::new(&config, config.weight_type, sizes);
        let weights = loader::allocate::<bf16>(device, &plan)?;
        let model: &mut dyn Forward = &mut Model::new(device, config, &plan, weights)?;

        let captured = || match n_prompt {
            None => decode_step(model),
            Some(n_tokens) => launch_chunk(model, n_tokens, true),
        };
        let launches = device.trace(position, || device.capture(captured).map(drop))?;
        let n_last = if n_prompt.is_some() { 3 } else { 2 }; // advance; lm_head and sample
        let (embed, rest) = launches.split_at(1);
        let (layer, last) = rest.split_at(rest.len() - n_last);
        let layers = std::iter::repeat_n(layer, n_layers).flatten();
        Ok(embed.iter().chain(layers).chain(last).cloned().collect())
    }
}
