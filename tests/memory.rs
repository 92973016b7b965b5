//! Device memory: the plan is what is allocated, and generating moves nothing. One test, since the device counts for the
//! whole process.

use gale::{
    config::Config,
    device::{Device, DeviceChoice},
    session::{Options, Session},
    weights::Weights,
};
use std::{env, path::Path};

const MODELS: [&str; 4] = ["mis_w8_1layer", "mis_w16_gqa2_hd128", "mis_w16_f16", "mis_nowin_v5_gqa8"];

/// The plan is what the device gives, to the byte, and past ten windows neither its count nor the free memory has moved.
#[test]
fn the_plan_is_allocated_once_and_for_all() {
    let device =
        Device::open(env::var("GALE_TEST_DEVICE").map_or(DeviceChoice::Auto, |it| it.parse().unwrap())).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let golden = env::var_os("GALE_GOLDEN").map_or(golden, Into::into);
    for name in MODELS {
        let model = golden.join("synth").join(name);
        let config = Config::load(&model).unwrap();
        let weights = Weights::open(&model, &config).unwrap();
        let planned = Session::plan(&config, weights.weight_type(), &Options::default()).unwrap().total_bytes();
        let (allocated_before, free_before) = (device.allocated_bytes(), device.memory_info().unwrap().0);

        let mut session = Session::load(&device, config, &weights, Options::default(), &mut |_, _| {}).unwrap();
        let (allocated, free) = (device.allocated_bytes(), device.memory_info().unwrap().0);
        assert_eq!((allocated - allocated_before) as u64, planned, "{name}");
        if device.is_emulator() {
            assert_eq!((free_before - free) as u64, planned, "{name}");
        }

        let n_tokens = 12 * session.config().window.unwrap_or(8);
        let mut token = 1;
        for _ in 0..n_tokens {
            session.decode(token).unwrap();
            token = session.choice().unwrap();
            assert_eq!((device.allocated_bytes(), device.memory_info().unwrap().0), (allocated, free), "{name}");
        }
        assert_eq!(session.position().0, u64::from(n_tokens));
        drop(session);
        assert_eq!(
            (device.allocated_bytes(), device.memory_info().unwrap().0),
            (allocated_before, free_before),
            "{name}"
        );
    }
}
