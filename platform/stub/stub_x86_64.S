/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code of the zygote, of the mapper thread of each stub process, and the first instructions of
 * guest threads. It is position-independent, lives in the sentry as bytes and is mapped at
 * STUB_TEXT, read-only and executable, in every stub.
 *
 * It shares its address space with a hostile guest, so it keeps everything in registers, never
 * uses the stack and reads memory only from pages that are read-only in the stub.
 *
 *     r15  STUB_CTL            r14d  the last seq answered
 *     r13  index of the order  rbx   the order        rbp  its number
 *     r12  0; the tracer sets it in a thread that it catches before stub_unborn
 */
#include "platform/shared.h"

#include <asm/unistd.h>

#define FUTEX_WAIT                  0
#define FUTEX_WAKE                  1
#define PROT_READ                   1
#define MAP_SHARED_FIXED_POPULATE   0x8011
#define PR_SET_PDEATHSIG            1
#define SIGKILL                     9
#define SECCOMP_SET_MODE_FILTER     1
#define CLOSE_RANGE_UNSHARE         2
#define PAGE                        4096

    .section .rodata.stub, "a", @progbits
    .balign PAGE
    .globl stub_blob_start, stub_blob_end, stub_entry, stub_unborn, stub_unborn_trap, stub_unborn_end
stub_blob_start:

/*
 * The zygote jumps here, in its copy of the sentry, once the stub region is set up. All of the
 * rest goes away.
 */
stub_entry:
    movabs  $STUB_CTL, %r15
    xor     %r14d, %r14d
    xor     %r12d, %r12d
    mov     $__NR_munmap, %eax
    xor     %edi, %edi
    movabs  $STUB_BASE, %rsi
    syscall
    test    %rax, %rax
    jnz     stub_fail
    /* Here, so that all stubs share one filter: making one costs more than the rest of a birth. */
    mov     $__NR_seccomp, %eax
    mov     $SECCOMP_SET_MODE_FILTER, %edi
    xor     %esi, %esi
    movabs  $(STUB_FILTERS + FILTERS_MAPPER), %rdx
    syscall
    test    %rax, %rax
    jnz     stub_fail

/* Wait for the next batch and carry it out. */
mapper_loop:
    mov     CTL_SEQ(%r15), %eax
    cmp     %eax, %r14d
    jne     1f
    mov     $__NR_futex, %eax
    lea     CTL_SEQ(%r15), %rdi
    xor     %esi, %esi                  /* FUTEX_WAIT, shared */
    mov     %r14d, %edx
    xor     %r10d, %r10d
    syscall
    jmp     mapper_loop
1:  mov     %eax, %r14d
    lea     CTL_ORDERS(%r15), %rbx
    xor     %r13d, %r13d

mapper_order:
    cmp     CTL_COUNT(%r15), %r13d
    jae     mapper_done
    mov     ORDER_NR(%rbx), %ebp
    mov     (ORDER_ARGS + 0)(%rbx), %rdi
    mov     (ORDER_ARGS + 8)(%rbx), %rsi
    mov     (ORDER_ARGS + 16)(%rbx), %rdx
    mov     (ORDER_ARGS + 24)(%rbx), %r10
    mov     (ORDER_ARGS + 32)(%rbx), %r8
    mov     (ORDER_ARGS + 40)(%rbx), %r9
    mov     %ebp, %eax
    syscall
    cmp     $__NR_clone, %ebp
    je      mapper_cloned
    cmp     $-4095, %rax
    jae     mapper_failed
mapper_next:
    inc     %r13d
    add     $ORDER_SIZE, %rbx
    jmp     mapper_order

/* The answer: done = done_next, then wake the sentry if it sleeps. */
mapper_done:
    mov     $__NR_pwrite64, %eax
    mov     CTL_FD(%r15), %edi
    lea     CTL_DONE_NEXT(%r15), %rsi
    mov     $8, %edx
    mov     CTL_DONE_OFF(%r15), %r10
    syscall
    cmpl    $0, CTL_WAITING(%r15)
    je      mapper_loop
    mov     $__NR_futex, %eax
    lea     CTL_DONE(%r15), %rdi
    mov     $FUTEX_WAKE, %esi
    mov     $1, %edx
    syscall
    jmp     mapper_loop

/* part[slot] = table[index]; index is clobbered (rsi). */
.macro put_part slot
    and     $(STUB_TABLE_ENTRIES - 1), %esi
    movabs  $STUB_TABLE, %rax
    lea     (%rax,%rsi,8), %rsi
    mov     $__NR_pwrite64, %eax
    mov     CTL_FD(%r15), %edi
    mov     $8, %edx
    mov     CTL_DONE_OFF(%r15), %r10
    add     $(8 + 8 * \slot), %r10
    syscall
.endm

mapper_failed:
    cmpl    $0, ORDER_LENIENT(%rbx)
    jne     mapper_next
    mov     %rax, %rsi
    neg     %rsi
    put_part 1
    lea     1(%r13), %esi
    put_part 0
    jmp     mapper_done

mapper_cloned:
    test    %rax, %rax
    jz      newborn
    js      mapper_failed
    mov     %rax, %rbp
    mov     %rbp, %rsi
    put_part 1
    mov     %rbp, %rsi
    shr     $STUB_TABLE_BITS, %rsi
    put_part 2
    mov     %rbp, %rsi
    shr     $(2 * STUB_TABLE_BITS), %rsi
    put_part 3
    jmp     mapper_next

/*
 * In the child of a clone: a thread, or (args[5], still in r9, is its control page) a stub process.
 * The parent may have answered by now and the sentry have written the next order, so nothing may
 * be read from the order any more.
 */
newborn:
    test    %r9, %r9
    jz      newborn_thread

    mov     $__NR_mmap, %eax
    mov     %r15, %rdi
    mov     $PAGE, %esi
    mov     $PROT_READ, %edx
    mov     $MAP_SHARED_FIXED_POPULATE, %r10d
    mov     CTL_FD(%r15), %r8d
    syscall
    cmp     %r15, %rax
    jne     stub_fail
    mov     $__NR_prctl, %eax
    mov     $PR_SET_PDEATHSIG, %edi
    mov     $SIGKILL, %esi
    xor     %edx, %edx
    xor     %r10d, %r10d
    xor     %r8d, %r8d
    syscall
    mov     $__NR_getppid, %eax
    syscall
    cmp     CTL_PPID(%r15), %eax
    jne     stub_fail
    xor     %r14d, %r14d
    jmp     mapper_loop

stub_fail:
    mov     $__NR_exit_group, %eax
    mov     $1, %edi
    syscall
    hlt

/*
 * A guest thread: drop the descriptors, lock the door, and sleep until the tracer comes. The tracer
 * interrupts it: in [stub_unborn, stub_unborn_end) it is ready; before, the tracer sets r12 and
 * waits for the trap.
 */
newborn_thread:
    mov     $__NR_close_range, %eax
    xor     %edi, %edi
    mov     $0xffffffff, %esi
    mov     $CLOSE_RANGE_UNSHARE, %edx
    syscall
    test    %rax, %rax
    jnz     stub_fail
    mov     $__NR_seccomp, %eax
    mov     $SECCOMP_SET_MODE_FILTER, %edi
    xor     %esi, %esi
    movabs  $(STUB_FILTERS + FILTERS_GUEST), %rdx
    syscall
    test    %rax, %rax
    jnz     stub_fail
stub_unborn:
    test    %r12, %r12
    jnz     1f
    mov     $__NR_futex, %eax
    lea     CTL_NEVER(%r15), %rdi
    xor     %esi, %esi
    xor     %edx, %edx
    xor     %r10d, %r10d
    syscall
    jmp     stub_unborn
stub_unborn_trap:
1:  int3
stub_unborn_end:
    hlt
stub_blob_end:

    .section .note.GNU-stack, "", @progbits
