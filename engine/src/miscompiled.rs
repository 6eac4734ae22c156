//! Detects guests that LLVM has miscompiled.
//!
//! With `wide-arithmetic`, LLVM before the fix of June 2026 (llvm/llvm-project#200429; Rust 1.95 has
//! LLVM 22.1) can read a result of a wide instruction before it is computed: `hi + (lo >> 63)` becomes
//!
//! ```text
//! local.get 0          ;; meant as `hi`, but still the first factor
//! local.get 1
//! local.get 0
//! i64.mul_wide_u
//! local.set 0          ;; `hi`
//! i64.const 63
//! i64.shr_u
//! i64.add
//! ```
//!
//! Correct code never has this form: LLVM assigns two values to one local only if the older one is not
//! needed any more, but a value that waits on the stack is still needed. So a guest without such a
//! place is not miscompiled in this way, and a guest with one is refused. Both results are tracked
//! until they are taken from the stack, because either can be the one that was read too early.

use wasmparser::{
    FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, OperatorsReader, Parser,
    Result, ValidPayload, Validator, ValidatorResources,
};

use crate::FEATURES;

/// Counts the results of `i64.mul_wide_u` and similar instructions that are read before they are
/// computed.
///
/// # Errors
/// The code is not valid WebAssembly within [`FEATURES`].
pub fn count(wasm: &[u8]) -> Result<usize> {
    let mut validator = Validator::new_with_features(FEATURES);
    let (mut count, mut allocations) = (0, FuncValidatorAllocations::default());
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            let mut function = function.into_validator(allocations);
            count += in_function(&mut function, &body)?;
            allocations = function.into_allocations();
        }
    }
    Ok(count)
}

/// The origin of a value on the stack.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// The value was read directly from this local.
    Local(u32),
    /// The value is a result of a wide instruction.
    Wide,
    /// Anything else.
    Other,
}

fn in_function(
    function: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
) -> Result<usize> {
    let mut reader = body.get_binary_reader();
    function.read_locals(&mut reader)?;
    let mut operators = OperatorsReader::new(reader);
    let mut stack: Vec<Origin> = Vec::new();
    let mut count = 0;
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let (taken, given) = operator.operator_arity(&function.visitor(at)).unwrap_or_default();
        let top = stack.last().copied();
        function.op(at, &operator)?;
        stack.truncate(stack.len().saturating_sub(taken as usize));
        let origin = match operator {
            Operator::LocalGet { local_index } => Origin::Local(local_index),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                // A value that is below a result on the stack was read before the result was computed.
                let waits = stack.contains(&Origin::Local(local_index));
                count += usize::from(top == Some(Origin::Wide) && waits);
                top.unwrap_or(Origin::Other)
            }
            Operator::I64MulWideS
            | Operator::I64MulWideU
            | Operator::I64Add128
            | Operator::I64Sub128 => Origin::Wide,
            _ => Origin::Other,
        };
        stack.resize(stack.len() + given as usize, origin);
        // In unreachable code, the stack has whatever height the validator requires.
        stack.resize(function.operand_stack_height() as usize, Origin::Other);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The instructions with two results, and how many operands they take.
    const WIDE: [(&str, usize); 4] =
        [("i64.mul_wide_u", 2), ("i64.mul_wide_s", 2), ("i64.add128", 4), ("i64.sub128", 4)];

    /// The number of such places in a function with two parameters and two more locals, all of them
    /// integers.
    fn places(instructions: &str) -> usize {
        let text =
            format!("(module (func (param i64 i64) (result i64) (local i64 i64) {instructions}))");
        let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        count(&wasm).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Tests each wide instruction with operands from local 1.
    fn each(place: impl Fn(&str) -> String, expected: usize) {
        for (name, taken) in WIDE {
            let text = place(&format!("{} {name}", "local.get 1 ".repeat(taken)));
            assert_eq!(places(&text), expected, "{text}");
        }
    }

    /// The code that Rust 1.95 generates for `(w >> 64) as u64 + (w as u64 >> 63)`, where `w` is a
    /// product.
    #[test]
    fn a_product_that_is_read_too_early_is_found() {
        let made = "local.get 0 local.get 1 local.get 0 i64.mul_wide_u local.set 0 \
                    i64.const 63 i64.shr_u i64.add";
        assert_eq!(places(made), 1);
    }

    #[test]
    fn the_same_in_the_right_order_is_not() {
        let meant = "local.get 0 local.get 1 i64.mul_wide_u local.set 0 \
                     i64.const 63 i64.shr_u local.get 0 i64.add";
        assert_eq!(places(meant), 0);
        assert!(count(b"\0asm").is_err());
    }

    #[test]
    fn the_upper_half_is_followed() {
        each(|wide| format!("local.get 0 {wide} local.set 0 i64.add"), 1);
        each(|wide| format!("local.get 0 {wide} local.tee 0 drop i64.add"), 1);
    }

    #[test]
    fn the_lower_half_is_followed() {
        each(|wide| format!("local.get 0 {wide} local.set 2 local.set 0"), 1);
        each(|wide| format!("local.get 0 {wide} local.set 2 local.tee 0 i64.add"), 1);
        each(|wide| format!("local.get 0 {wide} drop local.set 0"), 1);
        each(|wide| format!("local.get 0 {wide} local.tee 2 i64.eqz drop local.set 0"), 1);
        // Other instructions are between the two.
        let between = "local.get 1 i64.const 1 i64.add local.set 3";
        each(|wide| format!("local.get 0 {wide} local.set 2 {between} local.set 0"), 1);
    }

    #[test]
    fn both_halves_are_found() {
        each(|wide| format!("local.get 0 local.get 2 {wide} local.set 0 local.set 2 i64.add"), 2);
    }

    /// The value is set twice: the second local is the one that was read too early.
    #[test]
    fn a_result_that_goes_to_several_locals_is_followed() {
        each(|wide| format!("local.get 0 {wide} local.tee 2 local.set 0 i64.add"), 1);
        each(|wide| format!("local.get 0 {wide} drop local.tee 2 local.set 0"), 1);
    }

    #[test]
    fn what_waits_may_lie_deep_and_outside_of_a_block() {
        each(|wide| format!("local.get 0 i64.const 1 {wide} local.set 2 local.set 0 drop"), 1);
        each(|wide| format!("local.get 0 block {wide} local.set 2 local.set 0 end"), 1);
    }

    #[test]
    fn other_locals_and_other_values_are_fine() {
        each(|wide| format!("local.get 0 {wide} local.set 2 local.set 3"), 0);
        each(|wide| format!("local.get 0 {wide} i64.add local.set 0"), 0);
        each(|wide| format!("local.get 0 {wide} local.set 2 i64.const 1 i64.add local.set 0"), 0);
        each(|wide| format!("{wide} local.set 0 local.set 2 local.get 0"), 0);
    }
}
