/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest code for ptrace_test.c: copied to CODE and entered at a label. r8 to r15 are the test's to
 * set; DATA (0x200000) is a writable page.
 */
#define DATA 0x200000

    .section .rodata.guest, "a", @progbits
    .globl guest_start, guest_end
guest_start:

.macro entry name
    .balign 16
    .globl \name
\name:
.endm

entry guest_getpid              /* getpid for ever */
1:  mov     $39, %eax
    syscall
    jmp     1b

entry guest_count               /* rbx = results added up */
    xor     %ebx, %ebx
1:  mov     $39, %eax
    syscall
    add     %rax, %rbx
    jmp     1b

entry guest_spin
1:  pause
    jmp     1b

entry guest_read                /* rax = *r8, then getpid */
    mov     (%r8), %rax
    mov     %rax, %rbx
    mov     $39, %eax
    syscall
    ud2

entry guest_write               /* *r8 = r9, then getpid */
    mov     %r9, (%r8)
    mov     $39, %eax
    syscall
    ud2

entry guest_jump
    jmp     *%r8

entry guest_call                /* with a stack in DATA */
    mov     $(DATA + 0x1000), %rsp
    call    *%r8
    mov     %rax, %rbx
    mov     $39, %eax
    syscall
    ud2

entry guest_div0
    xor     %edx, %edx
    xor     %ecx, %ecx
    mov     $1, %eax
    div     %ecx

entry guest_ud2
    ud2

entry guest_int3
    int3
    ud2

entry guest_gp
    movabs  $0x8000000000000000, %rax
    mov     (%rax), %rax

entry guest_int80
    mov     $20, %eax
    int     $0x80
    ud2

entry guest_step
    nop
    nop
    mov     $39, %eax
    syscall
    nop
    nop

entry guest_sse                 /* xmm0 = r8 in both halves; getpid; rbx = xmm0 low */
    movq    %r8, %xmm0
    punpcklqdq %xmm0, %xmm0
    mov     $39, %eax
    syscall
    movq    %xmm0, %rbx
    mov     $39, %eax
    syscall
    ud2

entry guest_avx512              /* the same with zmm31; rbx = its last quadword */
    vpbroadcastq %r8, %zmm31
    mov     $39, %eax
    syscall
    valignq $7, %zmm31, %zmm31, %zmm0
    vmovq   %xmm0, %rbx
    mov     $39, %eax
    syscall
    ud2

entry guest_read_sse            /* rbx = xmm0 as it is */
    movq    %xmm0, %rbx
    mov     $39, %eax
    syscall
    ud2

entry guest_turn                /* take turns through DATA: wait for r8, write r9, call */
1:  mov     DATA, %rax
    cmp     %r8, %rax
    je      2f
    pause
    jmp     1b
2:  mov     %r9, DATA
    mov     $39, %eax
    syscall
    ud2

guest_end:
    .section .note.GNU-stack, "", @progbits
