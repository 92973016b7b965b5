//! Weights that nobody trained, made where they are used: see [`crate::noise`].

use super::{LoadTimes, Loaded, Moved, allocate};
use crate::{config::Config, device::Device, error::Result, kernels::Noise, noise, plan::Plan, weights::names};
use half::bf16;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Allocates the weights of the plan and fills them with noise. In the end every kernel is loaded, too.
///
/// # Errors
/// Too little memory, kernels that the driver cannot load.
pub fn noise_weights(device: &Device, config: &Config, plan: &Plan) -> Result<Loaded<bf16>> {
    let started = Instant::now();
    let mut buffers = allocate::<bf16>(device, plan)?;
    let pair_distances: BTreeMap<_, _> =
        names::tensors(config).into_iter().map(|it| (it.buffer, it.pair_distance)).collect();
    for planned in plan.weights() {
        let buffer = buffers.get_mut(&planned.name).expect("all weights are allocated");
        let seed = noise::seed(&planned.name);
        match planned.shape[..] {
            [n_out, n_in] => {
                let [n_out, n_in, pair_distance] = [n_out, n_in, pair_distances[&planned.name]].map(|it| it as u32);
                Noise { tiles: buffer, n_out, n_in, pair_distance, seed }.launch(device)?;
            }
            _ => {
                let mut norm = vec![bf16::ZERO; planned.n_elements()];
                noise::fill_norm(seed, &mut norm);
                buffer.copy_from(&norm)?;
            }
        }
    }
    device.synchronize()?;
    let jit = device.load_kernels()?;
    let times = LoadTimes {
        open: device.opened_in(),
        read: Moved::default(),
        upload: Moved::default(),
        jit,
        load: started.elapsed(),
        warm_up_and_capture: Duration::ZERO,
    };
    Ok(Loaded { buffers, times })
}
