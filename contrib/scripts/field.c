#include "field.h"

#include "modinv.h"
#include "secp256k1_params.h"

static const uint64_t P[4] = {0xfffffffefffffc2fULL, ~0ULL, ~0ULL, ~0ULL};

#define UNLIKELY(x) __builtin_expect((x) != 0, 0)

/* Fold a 512-bit product: high * 2^256 = high * FE_C. */
static inline __attribute__((always_inline)) void reduce(uint64_t r[4], const uint64_t t[8]) {
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

void fe_mul(fe *r, const fe *a, const fe *b) {
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
  reduce(r->n, t);
}

void fe_sqr_n(fe *r, const fe *a, unsigned count) {
  uint64_t x[4] = {a->n[0], a->n[1], a->n[2], a->n[3]};
  uint64_t t[8], high, low, carry;

  do {
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
    reduce(x, t);
  } while (--count);
  for (int i = 0; i < 4; i++) r->n[i] = x[i];
}

void fe_add(fe *r, const fe *a, const fe *b) {
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

void fe_sub(fe *r, const fe *a, const fe *b) {
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

void fe_half(fe *r, const fe *a) {
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

void fe_normalize(fe *a) {
  /* a >= p exactly when a + FE_C passes 2^256, and then a - p is what stays below. */
  uint64_t r0 = a->n[0], r1 = a->n[1], r2 = a->n[2], r3 = a->n[3];
  if (add_word(&r0, FE_C) && add_word(&r1, 1) && add_word(&r2, 1) && add_word(&r3, 1)) {
    a->n[0] = r0;
    a->n[1] = r1;
    a->n[2] = r2;
    a->n[3] = r3;
  }
}

int fe_is_zero(const fe *a) {
  uint64_t zero = a->n[0] | a->n[1] | a->n[2] | a->n[3];
  if (zero == 0) return 1;
  return a->n[0] == P[0] && (a->n[1] & a->n[2] & a->n[3]) == ~0ULL;
}

void fe_inv(fe *r, const fe *a) {
  static const modinv_modulus MODULUS = FIELD_MODULUS;
  fe t = *a;
  fe_normalize(&t);
  modinv(r->n, t.n, &MODULUS);
}

/* r = a^(2^count) * b */
static void sqr_n_mul(fe *r, const fe *a, unsigned count, const fe *b) {
  fe t;
  fe_sqr_n(&t, a, count);
  fe_mul(r, &t, b);
}

/*
 * p = 3 (mod 4), so a root of a square a is a^((p+1)/4). The exponent is, in
 * binary, 223 ones, 0, 22 ones, 0000, 11, 00. xk below is a^(2^k - 1): k ones.
 */
int fe_sqrt(fe *r, const fe *a) {
  fe x2, x3, x6, x11, x22, x44, x88, t;

  sqr_n_mul(&x2, a, 1, a);
  sqr_n_mul(&x3, &x2, 1, a);
  sqr_n_mul(&x6, &x3, 3, &x3);
  sqr_n_mul(&t, &x6, 3, &x3);      /* 9 */
  sqr_n_mul(&x11, &t, 2, &x2);
  sqr_n_mul(&x22, &x11, 11, &x11);
  sqr_n_mul(&x44, &x22, 22, &x22);
  sqr_n_mul(&x88, &x44, 44, &x44);
  sqr_n_mul(&t, &x88, 88, &x88);   /* 176 */
  sqr_n_mul(&t, &t, 44, &x44);     /* 220 */
  sqr_n_mul(&t, &t, 3, &x3);       /* 223 */
  sqr_n_mul(&t, &t, 23, &x22);     /* 0, then 22 ones */
  sqr_n_mul(&t, &t, 6, &x2);       /* 0000, then 11 */
  fe_sqr_n(&t, &t, 2);             /* 00 */

  fe check;
  fe_sqr(&check, &t);
  fe_sub(&check, &check, a);
  *r = t;
  return fe_is_zero(&check);
}

void fe_from_bytes(fe *r, const uint8_t bytes[32]) {
  for (int i = 0; i < 4; i++) r->n[i] = load_be64(bytes + 24 - 8 * i);
}

void fe_to_bytes(uint8_t bytes[32], const fe *a) {
  for (int i = 0; i < 4; i++) store_be64(bytes + 24 - 8 * i, a->n[i]);
}
