#include "field.h"

#include "field_inline.h"
#include "modinv.h"
#include "secp256k1_params.h"

static const uint64_t P[4] = {0xfffffffefffffc2fULL, ~0ULL, ~0ULL, ~0ULL};

void fe_mul(fe *r, const fe *a, const fe *b) { fe_mul_inline(r, a, b); }

void fe_sqr(fe *r, const fe *a) { fe_sqr_inline(r, a); }

void fe_sqr_n(fe *r, const fe *a, unsigned count) {
  uint64_t x[4] = {a->n[0], a->n[1], a->n[2], a->n[3]};
  do {
    square_words(x, x);
  } while (--count);
  for (int i = 0; i < 4; i++) r->n[i] = x[i];
}

void fe_add(fe *r, const fe *a, const fe *b) { fe_add_inline(r, a, b); }

void fe_sub(fe *r, const fe *a, const fe *b) { fe_sub_inline(r, a, b); }

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
