//! A glance at tensors of floats, for whoever needs to know that a body fits and not what it says, as the gateway does.
//!
//! It says "yes" or nothing: whatever is unusual is left to those who read elements, and so are all reasons.

use kea_core::Datatype;

use super::{
    nest,
    plan::{Input, Tensors},
    scan::{Scanner, Unsure},
};

/// Most dimensions that are looked at.
const DEEPEST: usize = 8;

/// Most inputs that are looked at.
const MOST: usize = 64;

/// Digits before the point with which a number surely is a float of 32 bits.
const SAFE_DIGITS: usize = 38;

/// Whether the body surely has all tensors of the plan, each with its shape, and nothing else.
pub(crate) fn fits(plan: &Tensors, body: &[u8]) -> bool {
    plan.inputs.len() <= MOST && plan.inputs.iter().all(is_simple) && glance(plan, body).is_ok()
}

/// Whether any number will do, so that there is no need to know which one it is.
fn is_simple(input: &Input) -> bool {
    let is_float = matches!(input.rules.datatype, Datatype::Fp32 | Datatype::Fp64);
    is_float && input.rules.takes_any_number() && input.shape.len() <= DEEPEST
}

fn glance(plan: &Tensors, body: &[u8]) -> Result<(), Unsure> {
    let mut text = Scanner::new(body);
    text.take(b'{')?;
    if key(&mut text)? != "inputs" {
        return Err(Unsure);
    }
    text.take(b'{')?;
    let (mut seen, mut next, mut rows) = (0u64, 0, None);
    for nth in 0..plan.inputs.len() {
        if nth > 0 {
            text.take(b',')?;
        }
        let at = plan.names.find(key(&mut text)?, next).ok_or(Unsure)?;
        if seen & (1 << at) != 0 {
            return Err(Unsure);
        }
        seen |= 1 << at;
        next = at + 1;
        let input = &plan.inputs[at];
        let shape = shape(&mut text, input)?;
        if input.is_batched() && *rows.get_or_insert(shape[0]) != shape[0] {
            return Err(Unsure);
        }
    }
    text.take(b'}')?;
    text.take(b'}')?;
    text.end()
}

fn key<'t>(text: &mut Scanner<'t>) -> Result<&'t str, Unsure> {
    if text.peek() != Some(b'"') {
        return Err(Unsure);
    }
    let key = text.text()?;
    text.take(b':')?;
    Ok(key)
}

/// The shape of nested arrays that are a tensor of this input.
fn shape(text: &mut Scanner<'_>, input: &Input) -> Result<Vec<usize>, Unsure> {
    let mut levels = Levels { lengths: [0; DEEPEST], rank: None };
    levels.read(text, 0)?;
    let rank = levels.rank.ok_or(Unsure)?;
    nest::shape_of(&levels.lengths[..rank], &input.shape).ok_or(Unsure)
}

/// Lengths of the arrays of each level; 0 where none has ended yet.
struct Levels {
    lengths: [usize; DEEPEST],
    /// How deep numbers lie.
    rank: Option<usize>,
}

impl Levels {
    fn read(&mut self, text: &mut Scanner<'_>, level: usize) -> Result<(), Unsure> {
        text.take(b'[')?;
        let length =
            if text.peek() == Some(b'[') { self.arrays(text, level + 1)? } else { self.numbers(text, level + 1)? };
        let known = self.lengths.get_mut(level).ok_or(Unsure)?;
        if *known != 0 && *known != length {
            return Err(Unsure);
        }
        *known = length;
        Ok(())
    }

    fn arrays(&mut self, text: &mut Scanner<'_>, level: usize) -> Result<usize, Unsure> {
        if level == DEEPEST {
            return Err(Unsure);
        }
        let mut length = 0;
        loop {
            self.read(text, level)?;
            length += 1;
            if text.take(b',').is_err() {
                return text.take(b']').map(|()| length);
            }
        }
    }

    fn numbers(&mut self, text: &mut Scanner<'_>, rank: usize) -> Result<usize, Unsure> {
        if *self.rank.get_or_insert(rank) != rank {
            return Err(Unsure);
        }
        let rest = text.rest();
        let (read, length) = numbers(rest).ok_or(Unsure)?;
        text.skip(read);
        Ok(length)
    }
}

/// Passes over decimal numbers, to behind the bracket that ends them: the bytes passed, and how many numbers there are.
fn numbers(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut rest, mut length) = (bytes, 0);
    loop {
        rest = after_space(rest);
        if let [b'-', tail @ ..] = rest {
            rest = tail;
        }
        let after = after_digits(rest);
        let digits = rest.len() - after.len();
        if digits == 0 || digits > SAFE_DIGITS || (digits > 1 && rest[0] == b'0') {
            return None;
        }
        rest = after;
        if let [b'.', fraction @ ..] = rest {
            rest = after_digits(fraction);
            if rest.len() == fraction.len() {
                return None;
            }
        }
        length += 1;
        match after_space(rest) {
            [b',', tail @ ..] => rest = tail,
            [b']', tail @ ..] => return Some((bytes.len() - tail.len(), length)),
            _ => return None,
        }
    }
}

#[inline]
fn after_digits(mut rest: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

#[inline]
fn after_space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kea_core::{Contract, Field, Function, Layout, ValueType};
    use proptest::prelude::*;

    use super::*;
    use crate::validate::{
        decode,
        plan::{Kind, Plan},
    };

    fn plan(inputs: &[(&str, Datatype, &[i64])]) -> Plan {
        let field = |(name, datatype, shape): &(&str, Datatype, &[i64])| {
            Field::new(*name, ValueType::Tensor { datatype: *datatype, shape: shape.to_vec() })
        };
        let function = Function {
            name: "predict".into(),
            description: String::new(),
            layout: Layout::Tensors,
            inputs: inputs.iter().map(field).collect(),
            outputs: vec![],
            idempotent: true,
            deterministic: true,
        };
        Plan::of(&Arc::new(Contract { functions: vec![function], ..Contract::default() }), 0).unwrap()
    }

    fn two() -> Plan {
        plan(&[("a", Datatype::Fp32, &[-1, 2]), ("b", Datatype::Fp64, &[-1, 1, 2])])
    }

    fn both(plan: &Plan, body: &str) -> (bool, bool) {
        let Kind::Tensors(tensors) = &plan.kind else { panic!("a plan of tensors") };
        (fits(tensors, body.as_bytes()), decode::tensors(tensors, body.as_bytes()).is_some())
    }

    #[test]
    fn usual_bodies_are_seen_to_fit() {
        for body in [
            r#"{"inputs":{"a":[[5.1,-3.5],[0,12]],"b":[[[1,2]],[[3,4.25]]]}}"#,
            " { \"inputs\" : { \"b\" : [ [ [ 0.5 , 2 ] ] ] ,\n\"a\" :[ [ 1 , 2 ] ] } } ",
            r#"{"inputs":{"a":[1,2],"b":[[1,2]]}}"#,
        ] {
            assert_eq!(both(&two(), body), (true, true), "{body}");
        }
    }

    #[test]
    fn all_else_is_left_to_others() {
        let whole = plan(&[("a", Datatype::Int64, &[-1, 2])]);
        assert_eq!(both(&whole, r#"{"inputs":{"a":[[1,2]]}}"#), (false, true));
        for (body, right) in [
            (r#"{"inputs":{"a":[[1e1,2]],"b":[[[1,2]]]}}"#, true),
            (r#"{"inputs":{"a":[[1,2]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"a":[[1,2]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2],[3,4]],"b":[[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2],[3]],"b":[[[1,2]],[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,[2]]]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,2]]],"c":1}}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,2]]]},"x":1}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,2]]]}}x"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,null]]]}}"#, false),
            (r#"{"inputs":{"a":[],"b":[[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[01,2]],"b":[[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[1.,2]],"b":[[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2,]],"b":[[[1,2]]]}}"#, false),
            (r#"{"inputs":{"a":[[1,2]],"b":[[[1,2]]]"#, false),
            ("", false),
        ] {
            assert_eq!(both(&two(), body), (false, right), "{body}");
        }
    }

    #[test]
    fn what_is_too_large_for_a_float_is_left_to_others() {
        for (digits, right) in [("3".repeat(39), true), ("4".repeat(39), false)] {
            let body = format!(r#"{{"inputs":{{"a":[[{digits},2]],"b":[[[1,2]]]}}}}"#);
            assert_eq!(both(&two(), &body), (false, right));
        }
    }

    proptest! {
        #[test]
        fn what_is_seen_to_fit_is_what_can_be_decoded(
            at in any::<prop::sample::Index>(),
            replaced in 0usize..3,
            by in "[\\[\\]{},:\"0-9.eE+ -]{0,2}",
        ) {
            let body = r#"{"inputs":{"a":[[5.1,-3.5],[0,12]],"b":[[[1,20]],[[3,4.25]]]}}"#;
            let at = at.index(body.len());
            let mut broken = body.to_owned();
            broken.replace_range(at..(at + replaced).min(body.len()), &by);
            let (seen, decoded) = both(&two(), &broken);
            prop_assert!(!seen || decoded, "{}", broken);
        }
    }
}
