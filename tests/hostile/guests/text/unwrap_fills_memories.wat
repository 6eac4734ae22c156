;; Takes all that it can get in four memories, where each has a limit of its own.
(module
  (memory (export "memory") 4)
  (memory $a 0)
  (memory $b 0)
  (memory $c 0)
  (global $free (mut i32) (i32.const 65536))
  (global $pages (mut i32) (i32.const 0))

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
    (local $old i32)
    ;; 16 MiB at a time, each of them written to.
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow $a (i32.const 256))) (i32.const -1)))
      (memory.fill $a (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      (br $more)))
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow $b (i32.const 256))) (i32.const -1)))
      (memory.fill $b (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      (br $more)))
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow $c (i32.const 256))) (i32.const -1)))
      (memory.fill $c (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      (br $more)))
    ;; A failure without hints, with one message or the other.
    (i32.store8 (i32.const 16) (i32.const 1))
    (if (i32.gt_u (global.get $pages) (i32.const 4096))
      (then (i32.store (i32.const 20) (i32.const 2048)) (i32.store (i32.const 24) (i32.const 33)))
      (else (i32.store (i32.const 20) (i32.const 1024)) (i32.store (i32.const 24) (i32.const 17))))
    (i32.const 16))

  (func (export "keycell:decoder/decrypting@0.4.0#decrypt")
    (param i32 i32) (result i32)
    unreachable))
