/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch between two stacks: callee-saved registers and the two control words that the ABI
 * says a callee keeps (mxcsr, x87 cw). Everything else is dead across a call.
 *
 * Both sides have the same frame, so one CFI description holds before and after rsp changes, and
 * a debugger or libunwind walks a switched-out fiber from its saved rsp (struct switch_frame in
 * sched_priv.h is this layout).
 */

    .text

/* void fiber_switch(void **save_sp, void *load_sp) */
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, @function
    .p2align 4
fiber_switch:
    .cfi_startproc
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq   %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq   %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq   %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq   %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw  4(%rsp)

    movq    %rsp, (%rdi)
    movq    %rsi, %rsp

    ldmxcsr (%rsp)
    fldcw   4(%rsp)
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq    %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq    %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq    %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq    %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq    %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size fiber_switch, . - fiber_switch

/* Where a new fiber begins: r12 holds it (fiber_new wrote the frame). The outermost frame. */
    .globl fiber_boot
    .hidden fiber_boot
    .type fiber_boot, @function
    .p2align 4
fiber_boot:
    .cfi_startproc
    .cfi_undefined rip
    xorl    %ebp, %ebp
    movq    %r12, %rdi
    call    fiber_main
    ud2
    .cfi_endproc
    .size fiber_boot, . - fiber_boot

    .section .note.GNU-stack, "", @progbits
