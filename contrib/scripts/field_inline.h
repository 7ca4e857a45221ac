/*
 * The field operations of the inner loops, to be expanded where they are used:
 * what calls and memory traffic would cost is a fifth of the whole run.
 * field.h has them as functions, for all other code.
 */
#ifndef FIELD_INLINE_H
#define FIELD_INLINE_H

#include "field.h"

#define INLINE static inline __attribute__((always_inline))
#define UNLIKELY(x) __builtin_expect((x) != 0, 0)

/* Fold a 512-bit product: high * 2^256 = high * FE_C. */
INLINE void fe_reduce(uint64_t r[4], const uint64_t t[8]) {
  uint64_t r0 = t[0], r1 = t[1], r2 = t[2], r3 = t[3], high, low, carry;

  carry = mul_add(&r0, t[4], FE_C);
  carry = mul_add_carry(&r1, t[5], FE_C, carry);
  carry = mul_add_carry(&r2, t[6], FE_C, carry);
  carry = mul_add_carry(&r3, t[7], FE_C, carry);

  /* carry <= FE_C, so the second fold adds less than 2^67. */
  mul_wide(&high, &low, carry, FE_C);
  high += add_word(&r0, low);
  if (UNLIKELY(add_word(&r1, high))) {
    if (add_word(&r2, 1) && add_word(&r3, 1)) {
      /* Wrapped past 2^256: what is left is below 2^67, so this cannot wrap again. */
      r1 += add_word(&r0, FE_C);
    }
  }
  r[0] = r0;
  r[1] = r1;
  r[2] = r2;
  r[3] = r3;
}

INLINE void fe_mul_inline(fe *r, const fe *a, const fe *b) {
  uint64_t a0 = a->n[0], a1 = a->n[1], a2 = a->n[2], a3 = a->n[3];
  uint64_t t[8], bi, carry;

  bi = b->n[0];
  mul_wide(&carry, &t[0], a0, bi);
  t[1] = carry;
  carry = mul_add(&t[1], a1, bi);
  t[2] = carry;
  carry = mul_add(&t[2], a2, bi);
  t[3] = carry;
  t[4] = mul_add(&t[3], a3, bi);
#pragma GCC unroll 3
  for (int i = 1; i < 4; i++) {
    bi = b->n[i];
    carry = mul_add(&t[i], a0, bi);
    carry = mul_add_carry(&t[i + 1], a1, bi, carry);
    carry = mul_add_carry(&t[i + 2], a2, bi, carry);
    t[i + 4] = mul_add_carry(&t[i + 3], a3, bi, carry);
  }
  fe_reduce(r->n, t);
}

/* r = x^2; r may be x */
INLINE void square_words(uint64_t r[4], const uint64_t x[4]) {
  uint64_t t[8], high, low, carry;

  /* products of different words, once */
  mul_wide(&carry, &t[1], x[0], x[1]);
  t[2] = carry;
  carry = mul_add(&t[2], x[0], x[2]);
  t[3] = carry;
  t[4] = mul_add(&t[3], x[0], x[3]);
  carry = mul_add(&t[3], x[1], x[2]);
  t[5] = mul_add_carry(&t[4], x[1], x[3], carry);
  t[6] = mul_add(&t[5], x[2], x[3]);
  /* doubled */
  t[7] = t[6] >> 63;
  t[6] = t[6] << 1 | t[5] >> 63;
  t[5] = t[5] << 1 | t[4] >> 63;
  t[4] = t[4] << 1 | t[3] >> 63;
  t[3] = t[3] << 1 | t[2] >> 63;
  t[2] = t[2] << 1 | t[1] >> 63;
  t[1] = t[1] << 1;
  /* and the squares */
  mul_wide(&high, &t[0], x[0], x[0]);
  carry = add_word(&t[1], high);
  mul_wide(&high, &low, x[1], x[1]);
  carry = add_carry(&t[2], low, carry);
  carry = add_carry(&t[3], high, carry);
  mul_wide(&high, &low, x[2], x[2]);
  carry = add_carry(&t[4], low, carry);
  carry = add_carry(&t[5], high, carry);
  mul_wide(&high, &low, x[3], x[3]);
  carry = add_carry(&t[6], low, carry);
  t[7] += high + carry;
  fe_reduce(r, t);
}

INLINE void fe_sqr_inline(fe *r, const fe *a) {
  uint64_t x[4] = {a->n[0], a->n[1], a->n[2], a->n[3]};
  square_words(r->n, x);
}

INLINE void fe_add_inline(fe *r, const fe *a, const fe *b) {
  uint64_t r0 = a->n[0], r1 = a->n[1], r2 = a->n[2], r3 = a->n[3], carry;

  carry = add_word(&r0, b->n[0]);
  carry = add_carry(&r1, b->n[1], carry);
  carry = add_carry(&r2, b->n[2], carry);
  carry = add_carry(&r3, b->n[3], carry);
  /* carry * 2^256 = carry * FE_C; only inputs above p can wrap a second time */
  if (UNLIKELY(add_word(&r0, -carry & FE_C))) {
    if (add_word(&r1, 1) && add_word(&r2, 1) && add_word(&r3, 1)) r0 += FE_C;
  }
  r->n[0] = r0;
  r->n[1] = r1;
  r->n[2] = r2;
  r->n[3] = r3;
}

INLINE void fe_sub_inline(fe *r, const fe *a, const fe *b) {
  uint64_t r0 = a->n[0], r1 = a->n[1], r2 = a->n[2], r3 = a->n[3], borrow;

  borrow = sub_word(&r0, b->n[0]);
  borrow = sub_borrow(&r1, b->n[1], borrow);
  borrow = sub_borrow(&r2, b->n[2], borrow);
  borrow = sub_borrow(&r3, b->n[3], borrow);
  if (UNLIKELY(sub_word(&r0, -borrow & FE_C))) {
    if (sub_word(&r1, 1) && sub_word(&r2, 1) && sub_word(&r3, 1)) r0 -= FE_C;
  }
  r->n[0] = r0;
  r->n[1] = r1;
  r->n[2] = r2;
  r->n[3] = r3;
}

INLINE void fe_half_inline(fe *r, const fe *a) {
  uint64_t r0 = a->n[0], r1 = a->n[1], r2 = a->n[2], r3 = a->n[3];
  uint64_t odd = r0 & 1;

  /* Make it even: a + p = a - FE_C + 2^256. A borrow cancels the 2^256. */
  uint64_t top = odd;
  if (UNLIKELY(sub_word(&r0, -odd & FE_C))) {
    if (sub_word(&r1, 1) && sub_word(&r2, 1) && sub_word(&r3, 1)) top = 0;
  }
  r->n[0] = r0 >> 1 | r1 << 63;
  r->n[1] = r1 >> 1 | r2 << 63;
  r->n[2] = r2 >> 1 | r3 << 63;
  r->n[3] = r3 >> 1 | top << 63;
}

#endif
