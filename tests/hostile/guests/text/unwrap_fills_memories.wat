;; A component with four memories, where each has a limit of its own. The modules in `beside/` have taken
;; all that they can get when `unwrap` is called: 16 MiB more must be refused.
(module
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 65536))

  (data (i32.const 1024) "memories: refused")
  (data (i32.const 2048) "memories: HARM, more than 256 MiB")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free
      (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -16)))
    (local.get $at))

  (func (export "keycell:decoder/unwrapping@0.4.0#unwrap")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    ;; A failure without hints, with one message or the other.
    (i32.store8 (i32.const 16) (i32.const 1))
    (if (i32.ne (memory.grow (i32.const 256)) (i32.const -1))
      (then (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 33)))
      (else (i32.store (i32.const 20) (i32.const 1024)) (i32.store (i32.const 24) (i32.const 17))))
    (i32.const 16))

  (func (export "keycell:decoder/decrypting@0.4.0#decrypt")
    (param i32 i32 i32) (result i32)
    unreachable))
