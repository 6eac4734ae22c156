//! Guests that LLVM has miscompiled.
//!
//! With `wide-arithmetic`, LLVM before the mend of June 2026 (llvm/llvm-project#200429; Rust 1.95 has
//! LLVM 22.1) can read a product's upper half before it is computed: `hi + (lo >> 63)` becomes
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
//! What is right never looks like this: LLVM gives two values one local only if the older one is not
//! needed any more, and the value that waits on the stack is. So a guest that has none of these places
//! is not miscompiled in this way, and one that has some is refused.

use wasmparser::{
    FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, OperatorsReader, Parser,
    Result, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// How many results of `i64.mul_wide_u` and its like are read before they are there.
///
/// # Errors
/// What is no valid WebAssembly.
pub fn count(wasm: &[u8]) -> Result<usize> {
    let features = WasmFeatures::default() | WasmFeatures::WIDE_ARITHMETIC;
    let mut validator = Validator::new_with_features(features);
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

/// # Errors
/// A guest that has such places.
pub(crate) fn refuse(wasm: &[u8]) -> wasmtime::Result<()> {
    // What is not valid is for the compiler to say.
    match count(wasm).unwrap_or(0) {
        0 => Ok(()),
        places => Err(wasmtime::format_err!(
            "it was miscompiled: it reads a product before it is computed, {places} times, which \
             LLVM before version 23 does with `wide-arithmetic` (llvm/llvm-project#199910): build it \
             without that, or with a newer compiler"
        )),
    }
}

fn in_function(
    function: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
) -> Result<usize> {
    let mut reader = body.get_binary_reader();
    function.read_locals(&mut reader)?;
    let mut operators = OperatorsReader::new(reader);
    // What waits on the stack: the local that it was read from, if it comes straight from one.
    let mut stack: Vec<Option<u32>> = Vec::new();
    let (mut count, mut is_wide) = (0, false);
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let (taken, given) = operator.operator_arity(&function.visitor(at)).unwrap_or_default();
        function.op(at, &operator)?;
        stack.truncate(stack.len().saturating_sub(taken as usize));
        match operator {
            Operator::LocalGet { local_index } => stack.push(Some(local_index)),
            _ => stack.resize(stack.len() + given as usize, None),
        }
        if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } = operator {
            count += usize::from(is_wide && stack.contains(&Some(local_index)));
        }
        // In code that is not reached, the stack is as high as it has to be.
        stack.resize(function.operand_stack_height() as usize, None);
        is_wide = matches!(
            operator,
            Operator::I64MulWideS
                | Operator::I64MulWideU
                | Operator::I64Add128
                | Operator::I64Sub128
        );
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with one function of two numbers, with these instructions.
    fn module(instructions: &[u8]) -> Vec<u8> {
        let body = [&[0], instructions, &[0x0b]].concat();
        let length = u8::try_from(body.len()).expect("a short function");
        let code = [&[0x0a, length + 2, 1, length][..], &body].concat();
        let types = [1, 7, 1, 0x60, 2, 0x7e, 0x7e, 1, 0x7e, 3, 2, 1, 0];
        [&b"\0asm\x01\0\0\0"[..], &types, &code].concat()
    }

    const GET: u8 = 0x20;
    const SET: u8 = 0x21;
    const MUL_WIDE_U: [u8; 2] = [0xfc, 0x16];
    const TOP_BIT: [u8; 3] = [0x42, 63, 0x88];
    const ADD: u8 = 0x7c;

    /// What Rust 1.95 makes of `(w >> 64) as u64 + (w as u64 >> 63)`, where `w` is a product.
    #[test]
    fn a_product_that_is_read_too_early_is_found() {
        let made = [&[GET, 0, GET, 1, GET, 0][..], &MUL_WIDE_U, &[SET, 0], &TOP_BIT, &[ADD]];
        let made = module(&made.concat());
        assert!(matches!(count(&made), Ok(1)));
        let refused = refuse(&made).expect_err("a miscompiled module").to_string();
        assert!(refused.contains("before it is computed, 1 times"), "{refused}");
    }

    #[test]
    fn the_same_in_the_right_order_is_not() {
        let meant =
            [&[GET, 0, GET, 1][..], &MUL_WIDE_U, &[SET, 0], &TOP_BIT, &[GET, 0, ADD]].concat();
        assert!(matches!(count(&module(&meant)), Ok(0)));
        // Another local waits.
        let other = [&[GET, 1, GET, 0, GET, 1][..], &MUL_WIDE_U, &[SET, 0], &TOP_BIT, &[ADD]];
        assert!(matches!(count(&module(&other.concat())), Ok(0)));
        assert!(count(b"\0asm").is_err());
    }
}
