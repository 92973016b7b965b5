//! Starting a kernel.

use super::{Buffer, Device, DeviceError, Element, Memory, Pass, Prototype, Result};
use cudarc::driver::result;
use std::ffi::c_void;
use std::sync::Arc;

/// How many blocks, and how much dynamic shared memory each gets. The block's size is the kernel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub x: u32,
    pub y: u32,
    pub z: u32,
    pub shared_bytes: u32,
}

impl Grid {
    /// A row of blocks.
    pub fn x(x: u32) -> Grid {
        Grid::xyz(x, 1, 1)
    }

    /// A plane of blocks.
    pub fn xy(x: u32, y: u32) -> Grid {
        Grid::xyz(x, y, 1)
    }

    /// Blocks in three dimensions.
    pub fn xyz(x: u32, y: u32, z: u32) -> Grid {
        Grid { x, y, z, shared_bytes: 0 }
    }

    /// The same blocks with this much dynamic shared memory each.
    pub fn shared(self, shared_bytes: u32) -> Grid {
        Grid { shared_bytes, ..self }
    }
}

/// What a kernel can be given, and how its `.cu` file must declare it.
pub trait KernelArg {
    const PASS: Pass;
    const C_TYPE: &'static str;

    /// The parameter as the driver takes it.
    fn arg(&self) -> Arg<'_>;
}

/// One parameter of a launch.
pub struct Arg<'a> {
    /// A parameter of 4 bytes is the lower half: hosts of NVIDIA GPUs are little-endian.
    bits: u64,
    memory: Option<&'a Arc<Memory>>,
}

impl<T: Element> KernelArg for &Buffer<T> {
    const PASS: Pass = Pass::In;
    const C_TYPE: &'static str = T::C_TYPE;

    fn arg(&self) -> Arg<'_> {
        Arg { bits: self.address(), memory: Some(&self.memory) }
    }
}

impl<T: Element> KernelArg for &mut Buffer<T> {
    const PASS: Pass = Pass::Out;
    const C_TYPE: &'static str = T::C_TYPE;

    fn arg(&self) -> Arg<'_> {
        Arg { bits: self.address(), memory: Some(&self.memory) }
    }
}

/// `KernelArg` for the numbers that are passed by value.
macro_rules! by_value {
    ($($number:ty: $bits:expr;)*) => {$(
        impl KernelArg for $number {
            const PASS: Pass = Pass::Value;
            const C_TYPE: &'static str = <$number as Element>::C_TYPE;

            fn arg(&self) -> Arg<'_> {
                Arg { bits: $bits(*self), memory: None }
            }
        }
    )*};
}

by_value! {
    u32: u64::from;
    u64: u64::from;
    i32: |it: i32| u64::from(it.cast_unsigned());
    f32: |it: f32| u64::from(it.to_bits());
}

impl Device {
    /// Starts `kernel` on the device's stream. Launchers made by [`kernel!`](crate::kernel!) call this.
    pub fn launch(&self, kernel: &Prototype, grid: Grid, args: &[Arg]) -> Result<()> {
        let Prototype { name, block, params, .. } = *kernel;
        assert_eq!(args.len(), params.len(), "{name} takes {} parameters", params.len());
        assert!(![grid.x, grid.y, grid.z].contains(&0), "{name} is launched on an empty grid, {grid:?}");
        for memory in args.iter().filter_map(|it| it.memory) {
            assert!(memory.device == *self, "{name} is given a buffer of another device");
            self.keep(memory);
        }
        self.bind()?;
        let function = self.function(kernel)?;
        let mut params: Vec<*mut c_void> = args.iter().map(|it| (&raw const it.bits).cast_mut().cast()).collect();
        // SAFETY: the function belongs to a module that is never unloaded. Each pointer leads to the bits of one
        // parameter, which the driver copies before it returns; their types and order are those of the .cu file
        // (checked by `kernel!` when gale is compiled), their lengths match (asserted by the launcher), and in
        // bounds for those lengths is what tests/kernels shows on the emulator, which faults on any other access.
        // The memory outlives the launch: freeing it waits for the stream, and a graph keeps it.
        self.traced(name, || unsafe {
            result::launch_kernel(
                function,
                (grid.x, grid.y, grid.z),
                (block, 1, 1),
                grid.shared_bytes,
                self.stream(),
                &mut params,
            )
            .map_err(|error| DeviceError::call(format!("launching {name} on {grid:?}"))(error))
        })
    }
}
