/*
 * Multi-word arithmetic primitives on 64-bit words.
 *
 * On RISC-V each primitive is written as the exact instruction sequence that
 * CKB-VM fuses into one operation (RFC 33, RFC 49), so that the compiler can
 * neither reorder nor split it. Elsewhere plain C computes the same values;
 * that is what the native tests run.
 */
#ifndef WIDE_H
#define WIDE_H

#include <stdint.h>

typedef unsigned __int128 u128;
typedef __int128 i128;

#if defined(__riscv)

/* `add d, a, d` must not become the compressed `add d, a`, which is `add d, d, a`: that order is not fused. */
#define ADD_SWAPPED(d, a) ".option push\n\t.option norvc\n\tadd " d ", " a ", " d "\n\t.option pop\n\t"

/* *hi:*lo = a * b */
static inline void mul_wide(uint64_t *hi, uint64_t *lo, uint64_t a, uint64_t b) {
  uint64_t h, l;
  __asm__("mulhu %0, %2, %3\n\t"
          "mul %1, %2, %3"
          : "=&r"(h), "=r"(l)
          : "r"(a), "r"(b));
  *hi = h;
  *lo = l;
}

/* *acc = low word of *acc + a * b; the high word is returned */
static inline uint64_t mul_add(uint64_t *acc, uint64_t a, uint64_t b) {
  uint64_t h, l, s = *acc;
  __asm__("mulhu %1, %3, %4\n\t"
          "mul %2, %3, %4\n\t"
          ADD_SWAPPED("%0", "%2")
          "sltu %2, %0, %2\n\t"
          "add %2, %2, %1"
          : "+r"(s), "=&r"(h), "=r"(l)
          : "r"(a), "r"(b));
  *acc = s;
  return l;
}

/* *acc = low word of *acc + a * b + carry; the high word is returned (it always fits) */
static inline uint64_t mul_add_carry(uint64_t *acc, uint64_t a, uint64_t b, uint64_t carry) {
  uint64_t h, l, s = *acc;
  __asm__("mulhu %2, %4, %5\n\t"
          "mul %3, %4, %5\n\t"
          ADD_SWAPPED("%0", "%3")
          "sltu %3, %0, %3\n\t"
          "add %3, %3, %2\n\t"
          ADD_SWAPPED("%0", "%1")
          "sltu %1, %0, %1\n\t"
          "add %1, %1, %3"
          : "+r"(s), "+r"(carry), "=&r"(h), "=r"(l)
          : "r"(a), "r"(b));
  *acc = s;
  return carry;
}

/* acc + a * b, signed; the sum must fit */
static inline i128 mul_add_signed(i128 acc, int64_t a, int64_t b) {
  uint64_t h, l, low = (uint64_t)acc, high = (uint64_t)(acc >> 64);
  __asm__("mulh %2, %4, %5\n\t"
          "mul %3, %4, %5\n\t"
          ADD_SWAPPED("%0", "%3")
          "sltu %3, %0, %3\n\t"
          "add %3, %3, %2\n\t"
          "add %1, %1, %3"
          : "+r"(low), "+r"(high), "=&r"(h), "=r"(l)
          : "r"(a), "r"(b));
  return (i128)((u128)high << 64 | low);
}

/* *acc += b; the carry is returned */
static inline uint64_t add_word(uint64_t *acc, uint64_t b) {
  uint64_t s, c;
  __asm__("add %0, %2, %3\n\t"
          "sltu %1, %0, %2"
          : "=&r"(s), "=r"(c)
          : "r"(b), "r"(*acc));
  *acc = s;
  return c;
}

/* *acc += b + carry, carry being 0 or 1; the carry is returned */
static inline uint64_t add_carry(uint64_t *acc, uint64_t b, uint64_t carry) {
  uint64_t s = *acc;
  __asm__("add %0, %0, %1\n\t"
          "sltu %1, %0, %1\n\t"
          "add %0, %0, %2\n\t"
          "sltu %2, %0, %2\n\t"
          "or %1, %1, %2"
          : "+r"(s), "+r"(b), "+r"(carry));
  *acc = s;
  return b;
}

/* *acc -= b; the borrow is returned */
static inline uint64_t sub_word(uint64_t *acc, uint64_t b) {
  uint64_t s, c;
  __asm__("sub %0, %2, %3\n\t"
          "sltu %1, %2, %3"
          : "=&r"(s), "=r"(c)
          : "r"(*acc), "r"(b));
  *acc = s;
  return c;
}

/* *acc -= b + borrow, borrow being 0 or 1; the borrow is returned */
static inline uint64_t sub_borrow(uint64_t *acc, uint64_t b, uint64_t borrow) {
  uint64_t s = *acc, t;
  __asm__("sub %1, %0, %1\n\t"
          "sltu %3, %0, %1\n\t"
          "sub %0, %1, %2\n\t"
          "sltu %2, %1, %0\n\t"
          "or %1, %2, %3"
          : "+r"(s), "+r"(b), "+r"(borrow), "=&r"(t));
  *acc = s;
  return b;
}

#else

static inline void mul_wide(uint64_t *hi, uint64_t *lo, uint64_t a, uint64_t b) {
  u128 t = (u128)a * b;
  *hi = (uint64_t)(t >> 64);
  *lo = (uint64_t)t;
}

static inline uint64_t mul_add(uint64_t *acc, uint64_t a, uint64_t b) {
  u128 t = (u128)a * b + *acc;
  *acc = (uint64_t)t;
  return (uint64_t)(t >> 64);
}

static inline uint64_t mul_add_carry(uint64_t *acc, uint64_t a, uint64_t b, uint64_t carry) {
  u128 t = (u128)a * b + *acc + carry;
  *acc = (uint64_t)t;
  return (uint64_t)(t >> 64);
}

static inline i128 mul_add_signed(i128 acc, int64_t a, int64_t b) { return acc + (i128)a * b; }

static inline uint64_t add_carry(uint64_t *acc, uint64_t b, uint64_t carry) {
  u128 t = (u128)*acc + b + carry;
  *acc = (uint64_t)t;
  return (uint64_t)(t >> 64);
}

static inline uint64_t add_word(uint64_t *acc, uint64_t b) { return add_carry(acc, b, 0); }

static inline uint64_t sub_borrow(uint64_t *acc, uint64_t b, uint64_t borrow) {
  u128 t = (u128)*acc - b - borrow;
  *acc = (uint64_t)t;
  return (uint64_t)(t >> 64) & 1;
}

static inline uint64_t sub_word(uint64_t *acc, uint64_t b) { return sub_borrow(acc, b, 0); }

#endif

static inline uint64_t load_be64(const uint8_t *p) {
  uint64_t v = 0;
  for (int i = 0; i < 8; i++) v = v << 8 | p[i];
  return v;
}

static inline void store_be64(uint8_t *p, uint64_t v) {
  for (int i = 7; i >= 0; i--, v >>= 8) p[i] = (uint8_t)v;
}

#endif
