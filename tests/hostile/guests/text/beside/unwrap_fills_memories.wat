;; Takes 16 MiB at a time, writes to each of them, and counts the pages of all.
(core module $a
  (global $pages (export "pages") (mut i32) (i32.const 0))
  (memory 0)
  (func $fill (local $old i32)
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow (i32.const 256))) (i32.const -1)))
      (memory.fill (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      ;; More than 256 MiB in all: this must not be reached.
      (if (i32.gt_u (global.get $pages) (i32.const 4096)) (then unreachable))
      (br $more))))
  (start $fill))
(core instance $a (instantiate $a))
(core module $b
  (import "a" "pages" (global $pages (mut i32)))
  (memory 0)
  (func $fill (local $old i32)
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow (i32.const 256))) (i32.const -1)))
      (memory.fill (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      ;; More than 256 MiB in all: this must not be reached.
      (if (i32.gt_u (global.get $pages) (i32.const 4096)) (then unreachable))
      (br $more))))
  (start $fill))
(core instance $b (instantiate $b (with "a" (instance $a))))
(core module $c
  (import "a" "pages" (global $pages (mut i32)))
  (memory 0)
  (func $fill (local $old i32)
    (block $end (loop $more
      (br_if $end (i32.eq (local.tee $old (memory.grow (i32.const 256))) (i32.const -1)))
      (memory.fill (i32.shl (local.get $old) (i32.const 16)) (i32.const 165) (i32.const 0x1000000))
      (global.set $pages (i32.add (global.get $pages) (i32.const 256)))
      ;; More than 256 MiB in all: this must not be reached.
      (if (i32.gt_u (global.get $pages) (i32.const 4096)) (then unreachable))
      (br $more))))
  (start $fill))
(core instance $c (instantiate $c (with "a" (instance $a))))
