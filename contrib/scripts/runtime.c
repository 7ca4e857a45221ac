/* What a freestanding program needs: an entry point and the functions gcc may call. */
#include <stddef.h>
#include <stdint.h>

int main(void);

/* The stack pointer is set by the VM, on version 0 without the alignment that the ABI wants. */
__attribute__((naked, noreturn, section(".text.start"))) void _start(void) {
  __asm__("andi sp, sp, -16\n\t"
          "jal ra, main\n\t"
          "li a7, 93\n\t"
          "ecall");
}

/* CKB-VM allows unaligned access, so words go first whatever the alignment. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  uint8_t *t = to;
  const uint8_t *f = from;
  for (; size >= 8; size -= 8, t += 8, f += 8) *(word *)t = *(const word *)f;
  for (; size > 0; size--) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, size_t size) {
  uint8_t *t = to;
  uint64_t pattern = (uint8_t)value * 0x0101010101010101ULL;
  for (; size >= 8; size -= 8, t += 8) *(word *)t = pattern;
  for (; size > 0; size--) *t++ = (uint8_t)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t size) {
  const uint8_t *x = a, *y = b;
  for (; size > 0; size--, x++, y++) {
    if (*x != *y) return *x < *y ? -1 : 1;
  }
  return 0;
}
