//! `kernel!`: a launcher whose fields are checked, when gale is compiled, against the kernel's own prototype.
//!
//! ```
//! use gale::kernel;
//! use gale::kernel::{In, Out};
//!
//! kernel! {
//!     /// Copies bytes.
//!     pub struct Copy<'a> = copy {
//!         from: In<'a, u8>,  // [n]
//!         to: Out<'a, u8>,   // [n]
//!         n: u64,
//!     }
//! }
//! ```
//!
//! declares `struct Copy` with these public fields, and `launch_on(&self, &device, grid)` for its module's use. A
//! field that is renamed, moved, of another type or on the wrong side of `In` and `Out` stops `cargo check` with
//! "Copy differs from `copy` in kernels/":
//!
//! ```compile_fail,E0080
//! use gale::kernel;
//! use gale::kernel::{In, Out};
//!
//! kernel! {
//!     /// Copies bytes, or so it says.
//!     pub struct Copy<'a> = copy {
//!         to: Out<'a, u8>,
//!         from: In<'a, u8>,
//!         n: u64,
//!     }
//! }
//! ```
//!
//! A kernel that exists for both kinds of half precision is declared once:
//!
//! ```ignore
//! kernel! {
//!     /// y = w x.
//!     pub struct MatMul<'a, W: Half> = { bf16: matmul_bf16, f16: matmul_f16 } {
//!         w: In<'a, W>,     // [n_rows, n_columns]
//!         ...
//!     }
//! }
//! ```

use crate::device::{Buffer, Element, Prototype};
use half::{bf16, f16};

/// A buffer that a kernel reads: `const T*`.
pub type In<'a, T> = &'a Buffer<T>;

/// A buffer that a kernel writes, or reads and writes: `T*`.
pub type Out<'a, T> = &'a mut Buffer<T>;

/// The 16-bit types that weights come in.
pub trait Half: Element + sealed::Sealed {
    /// The prototype of the kernel that is written for this type.
    fn pick(bf16: &'static Prototype, f16: &'static Prototype) -> &'static Prototype;
}

impl Half for bf16 {
    fn pick(bf16: &'static Prototype, _: &'static Prototype) -> &'static Prototype {
        bf16
    }
}

impl Half for f16 {
    fn pick(_: &'static Prototype, f16: &'static Prototype) -> &'static Prototype {
        f16
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for half::bf16 {}
    impl Sealed for half::f16 {}
}

/// Declares a launcher, see the [module](mod@crate::kernel).
#[macro_export]
macro_rules! kernel {
    ($(#[$doc:meta])* pub struct $name:ident<$a:lifetime> = $entry:ident { $($fields:tt)* }) => {
        $crate::kernel!(@struct [$(#[$doc])*] $name [$a] [] { $($fields)* } $crate::device::prototypes::$entry);
        const _: () = assert!(
            $crate::device::prototypes::$entry.matches(<$name<'static>>::FIELDS),
            concat!(stringify!($name), " differs from `", stringify!($entry), "` in kernels/"),
        );
    };

    ($(#[$doc:meta])* pub struct $name:ident<$a:lifetime, $w:ident: Half>
        = { bf16: $bf16:ident, f16: $f16:ident } { $($fields:tt)* }) => {
        $crate::kernel!(@struct [$(#[$doc])*] $name [$a] [$w: $crate::kernel::Half] { $($fields)* }
            *$w::pick(&$crate::device::prototypes::$bf16, &$crate::device::prototypes::$f16));
        const _: () = assert!(
            $crate::device::prototypes::$bf16.matches(<$name<'static, half::bf16>>::FIELDS),
            concat!(stringify!($name), " differs from `", stringify!($bf16), "` in kernels/"),
        );
        const _: () = assert!(
            $crate::device::prototypes::$f16.matches(<$name<'static, half::f16>>::FIELDS),
            concat!(stringify!($name), " differs from `", stringify!($f16), "` in kernels/"),
        );
    };

    (@struct [$($doc:tt)*] $name:ident [$a:lifetime] [$($w:ident: $half:path)?]
        { $($(#[$note:meta])* $field:ident: $type:ty,)* } $prototype:expr) => {
        $($doc)*
        pub struct $name<$a $(, $w: $half)?> {
            $($(#[$note])* pub $field: $type,)*
        }

        impl<$a $(, $w: $half)?> $name<$a $(, $w)?> {
            const FIELDS: &'static [$crate::device::Param] = &[$($crate::device::Param {
                name: stringify!($field),
                pass: <$type as $crate::device::KernelArg>::PASS,
                c_type: <$type as $crate::device::KernelArg>::C_TYPE,
            }),*];

            /// Starts the kernel on the device's stream.
            fn launch_on(&self, device: &$crate::device::Device, grid: $crate::device::Grid)
                -> $crate::device::Result<()> {
                device.launch(&$prototype, grid, &[$($crate::device::KernelArg::arg(&self.$field)),*])
            }
        }
    };
}
