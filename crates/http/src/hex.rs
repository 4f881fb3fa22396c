//! Numbers as hexadecimal digits: ids are made for each request, and `format!` takes longer than all else about them.

/// Writes `value` as `digits.len()` lower-case digits; higher ones are left out.
pub(crate) fn write(digits: &mut [u8], mut value: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

/// `value` as text of `N` digits.
pub(crate) fn text<const N: usize, T: for<'a> From<&'a str>>(value: u128) -> T {
    let mut digits = [0; N];
    write(&mut digits, value);
    T::from(str::from_utf8(&digits).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_those_of_format() {
        for value in [0, 1, 0xabc, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(super::text::<32, String>(value), format!("{value:032x}"));
        }
        assert_eq!(super::text::<2, String>(0x1ff), "ff");
    }
}
