;; Answers with a key whose bytes lie outside of its memory.
(module
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 65536))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free
      (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -16)))
    (local.get $at))

  (func (export "keycell:decoder/unwrapping@0.4.0#unwrap")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    ;; ok, a list of one; the cipher's name is empty, the key is 32 bytes at the end of the address
    ;; space
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (i32.const 64))
    (i32.store (i32.const 24) (i32.const 1))
    (i32.store (i32.const 72) (i32.const 0xfffffff0))
    (i32.store (i32.const 76) (i32.const 32))
    (i32.const 16))

  (func (export "keycell:decoder/decrypting@0.4.0#decrypt")
    (param i32 i32 i32) (result i32)
    unreachable))
