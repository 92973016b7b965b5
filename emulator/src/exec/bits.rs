//! Bit operations of one lane that Rust has no word for.

/// #logic-and-shift-instructions-lop3: bit `4a + 2b + c` of `lut` is the result for bits a, b, c.
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, lut: u32) -> u32 {
    let when = |bit: u32| 0u32.wrapping_sub(lut >> bit & 1);
    (when(0) & !a & !b & !c)
        | (when(1) & !a & !b & c)
        | (when(2) & !a & b & !c)
        | (when(3) & !a & b & c)
        | (when(4) & a & !b & !c)
        | (when(5) & a & !b & c)
        | (when(6) & a & b & !c)
        | (when(7) & a & b & c)
}

/// #logic-and-shift-instructions-shf: the upper word of `b:a << n`, n <= 32.
#[inline(always)]
pub fn funnel_left(a: u32, b: u32, n: u32) -> u32 {
    ((u64::from(b) << 32 | u64::from(a)) << n >> 32) as u32
}

/// The lower word of `b:a >> n`, n <= 32.
#[inline(always)]
pub fn funnel_right(a: u32, b: u32, n: u32) -> u32 {
    ((u64::from(b) << 32 | u64::from(a)) >> n) as u32
}

/// For `bfind` on signed values: negative numbers are searched for their highest 0.
#[inline(always)]
pub fn sign_folded(a: i32) -> u32 {
    (a ^ (a >> 31)) as u32
}

/// #integer-arithmetic-instructions-bfe, unsigned; position and length are taken modulo 256.
#[inline(always)]
pub fn extract(a: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let shifted = if pos > 63 { 0 } else { a >> pos };
    if len > 63 { shifted } else { shifted & ((1 << len) - 1) }
}

/// #integer-arithmetic-instructions-bfe, signed: bits beyond the source's `width` repeat its sign, and so do bits beyond
/// the field's.
#[inline(always)]
pub fn extract_signed(a: i64, pos: u32, len: u32, width: u32) -> i64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let shifted = a >> pos.min(63);
    // A field that starts or ends past the top takes the source's sign bit.
    let sign_at = (pos + len - 1).min(width - 1);
    let sign = if a >> sign_at & 1 == 1 { -1i64 } else { 0 };
    if len > 63 {
        return shifted;
    }
    let field = (1i64 << len) - 1;
    (shifted & field) | (sign & !field)
}

/// #integer-arithmetic-instructions-bfi: the low `len` bits of `a` over `b` at `pos`.
#[inline(always)]
pub fn insert(a: u64, b: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if pos > 63 {
        return b;
    }
    let field = if len > 63 { !0 } else { (1u64 << len) - 1 } << pos;
    (a << pos & field) | (b & !field)
}

/// #data-movement-and-conversion-instructions-prmt, default mode: each nibble of `selector` picks one of the 8 bytes of
/// `b:a`, or with its high bit that byte's sign repeated.
#[inline(always)]
pub fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut result = 0;
    for i in 0..4 {
        let nibble = selector >> (4 * i) & 0xf;
        let byte = (bytes >> (8 * (nibble & 7))) as u8;
        let byte = if nibble & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        result |= u32::from(byte) << (8 * i);
    }
    result
}

/// #integer-arithmetic-instructions-dp4a: the dot product of four bytes.
#[inline(always)]
pub fn dot4(a: u32, b: u32, a_is_signed: bool, b_is_signed: bool) -> i32 {
    let byte = |word: u32, i: u32, is_signed: bool| {
        let byte = (word >> (8 * i)) as u8;
        if is_signed { i32::from(byte as i8) } else { i32::from(byte) }
    };
    (0..4).map(|i| byte(a, i, a_is_signed) * byte(b, i, b_is_signed)).sum()
}

/// #integer-arithmetic-instructions-dp2a: the dot product of two 16-bit numbers with the two lower bytes of `b`.
#[inline(always)]
pub fn dot2(a: u32, b: u32, a_is_signed: bool, b_is_signed: bool) -> i32 {
    let half = |i: u32| {
        let half = (a >> (16 * i)) as u16;
        if a_is_signed { i32::from(half as i16) } else { i32::from(half) }
    };
    let byte = |i: u32| {
        let byte = (b >> (8 * i)) as u8;
        if b_is_signed { i32::from(byte as i8) } else { i32::from(byte) }
    };
    half(0) * byte(0) + half(1) * byte(1)
}

/// #integer-arithmetic-instructions-mul24: the 48-bit product of the low 24 bits.
#[inline(always)]
pub fn product24_unsigned(a: u32, b: u32) -> u64 {
    u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)
}

/// [`product24_unsigned`] of signed numbers.
#[inline(always)]
pub fn product24_signed(a: i32, b: i32) -> i64 {
    i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)
}

/// #integer-arithmetic-instructions-fns: the place of the `n`-th set bit from `base` on, upwards or, where n is negative,
/// downwards; of the bit at `base` itself where n is 0. All ones where there is none.
pub fn find_nth_set(mask: u32, base: u32, n: i32) -> u32 {
    let is_set = |place: &u32| mask >> place & 1 == 1;
    let nth = n.unsigned_abs().saturating_sub(1) as usize;
    match n {
        0 => (base..32).take(1).find(is_set),
        1.. => (base..32).filter(is_set).nth(nth),
        _ => (0..=base.min(31)).rev().filter(is_set).nth(nth),
    }
    .unwrap_or(!0)
}

/// #data-movement-and-conversion-instructions-cvt-pack: the low `n` bits of `b`, above them those of `a`, above them `c`.
#[inline(always)]
pub fn pack(a: i32, b: i32, c: u32, n: u32) -> u32 {
    let field = |x: i32| x as u32 & ((1 << n) - 1);
    (u64::from(c) << (2 * n)) as u32 | field(a) << n | field(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lop3_follows_its_table() {
        let (a, b, c) = (0b1111_0000, 0b1100_1100, 0b1010_1010);
        for lut in 0..256 {
            assert_eq!(lop3(a, b, c, lut) & 0xff, lut);
        }
    }

    #[test]
    fn fields() {
        assert_eq!(extract(0xdead_beef, 8, 8), 0xbe);
        assert_eq!(extract(0xdead_beef, 0, 0), 0);
        assert_eq!(extract_signed(0xf0, 4, 4, 32), -1);
        assert_eq!(extract_signed(i64::from(i32::MIN), 40, 4, 32), -1);
        assert_eq!(extract_signed(0x70, 4, 4, 32), 7);
        assert_eq!(insert(0xab, 0x1234_5678, 8, 8), 0x1234_ab78);
        assert_eq!(insert(!0, 0, 60, 255), 0xf << 60);
    }

    #[test]
    fn bytes_are_picked() {
        assert_eq!(permute(0x3322_1100, 0x7766_5544, 0x7531), 0x7755_3311);
        assert_eq!(permute(0x80, 0, 0x9998), 0x0000_00ff);
        assert_eq!(dot4(0xff01_0203, 0x0101_0101, true, true), 5);
        assert_eq!(dot4(0xff01_0203, 0x0101_0101, false, true), 261);
    }

    #[test]
    fn short_products() {
        assert_eq!(dot2(0xffff_0002, 0x7f_03ff, true, true), -2 - 3);
        assert_eq!(dot2(0xffff_0002, 0x7f_03ff, false, false), 2 * 255 + 65535 * 3);
        assert_eq!(product24_unsigned(0xffff_ffff, 0x0100_0002), 0xff_ffff * 2);
        assert_eq!(product24_signed(-1, 0x0080_0000), 1 << 23);
    }

    /// The ISA's own loop.
    fn find_by_the_loop(mask: u32, base: i32, offset: i32) -> u32 {
        if offset == 0 {
            return if mask >> base & 1 == 1 { base as u32 } else { !0 };
        }
        let (mut place, mut count) = (base, offset.abs() - 1);
        while (0..32).contains(&place) {
            if mask >> place & 1 == 1 {
                if count == 0 {
                    return place as u32;
                }
                count -= 1;
            }
            place += offset.signum();
        }
        !0
    }

    #[test]
    fn the_nth_set_bit() {
        for mask in [0, 1, !0, 0x8000_0001, 0x5555_0f0f] {
            for base in 0..32 {
                for n in -34..=34 {
                    assert_eq!(
                        find_nth_set(mask, base as u32, n),
                        find_by_the_loop(mask, base, n),
                        "{mask:x} {base} {n}"
                    );
                }
            }
        }
    }

    #[test]
    fn fields_are_packed() {
        assert_eq!(pack(-1, 2, 0x1234, 8), 0x1234_ff02);
        assert_eq!(pack(-1, 2, 0, 16), 0xffff_0002);
        assert_eq!(pack(1, -2, 0xff, 2), 0xff << 4 | 1 << 2 | 2);
    }

    #[test]
    fn funnels() {
        assert_eq!(funnel_left(0x8000_0000, 1, 1), 3);
        assert_eq!(funnel_left(5, 6, 32), 5);
        assert_eq!(funnel_right(5, 6, 32), 6);
        assert_eq!(funnel_right(0, 1, 1), 0x8000_0000);
    }
}
