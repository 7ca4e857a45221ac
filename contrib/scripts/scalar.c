#include "scalar.h"

#include "modinv.h"
#include "secp256k1_params.h"

static const scalar ORDER = {{ORDER_WORDS}};
/* 2^256 - n, 129 bits */
static const uint64_t COMPLEMENT[3] = {COMPLEMENT_WORDS};

/* r += a * b over r_size words; the sum must fit */
static void mul_accumulate(uint64_t *r, int r_size, const uint64_t *a, int a_size, const uint64_t *b, int b_size) {
  for (int i = 0; i < a_size; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < b_size; j++) carry = mul_add_carry(&r[i + j], a[i], b[j], carry);
    for (int j = i + b_size; carry != 0 && j < r_size; j++) carry = add_word(&r[j], carry);
  }
}

/* a -= n when a >= n, for a five-word a below 2n */
static int subtract_order(uint64_t a[5]) {
  uint64_t t[4], borrow = 0;
  for (int i = 0; i < 4; i++) {
    t[i] = a[i];
    borrow = sub_borrow(&t[i], ORDER.n[i], borrow);
  }
  if (a[4] < borrow) return 0;
  for (int i = 0; i < 4; i++) a[i] = t[i];
  a[4] -= borrow;
  return 1;
}

int scalar_from_bytes(scalar *r, const uint8_t bytes[32]) {
  uint64_t t[5] = {load_be64(bytes + 24), load_be64(bytes + 16), load_be64(bytes + 8), load_be64(bytes), 0};
  int overflow = subtract_order(t);
  for (int i = 0; i < 4; i++) r->n[i] = t[i];
  return overflow;
}

int scalar_is_zero(const scalar *a) { return (a->n[0] | a->n[1] | a->n[2] | a->n[3]) == 0; }

int scalar_is_high(const scalar *a) {
  static const uint64_t HALF[4] = {HALF_ORDER_WORDS};
  for (int i = 3; i > 0; i--) {
    if (a->n[i] != HALF[i]) return a->n[i] > HALF[i];
  }
  return a->n[0] > HALF[0];
}

void scalar_negate(scalar *r, const scalar *a) {
  uint64_t borrow = 0;
  if (scalar_is_zero(a)) {
    *r = *a;
    return;
  }
  scalar t = ORDER;
  for (int i = 0; i < 4; i++) borrow = sub_borrow(&t.n[i], a->n[i], borrow);
  *r = t;
}

void scalar_mul(scalar *r, const scalar *a, const scalar *b) {
  uint64_t t[8] = {0}, u[7], v[7], w[5];

  mul_accumulate(t, 8, a->n, 4, b->n, 4);
  /* 2^256 = COMPLEMENT (mod n): 512 bits fold to 386, to 260, to at most one n too many */
  for (int i = 0; i < 7; i++) u[i] = i < 4 ? t[i] : 0;
  mul_accumulate(u, 7, t + 4, 4, COMPLEMENT, 3);
  for (int i = 0; i < 7; i++) v[i] = i < 4 ? u[i] : 0;
  mul_accumulate(v, 7, u + 4, 3, COMPLEMENT, 3);
  for (int i = 0; i < 5; i++) w[i] = i < 4 ? v[i] : 0;
  mul_accumulate(w, 5, v + 4, 1, COMPLEMENT, 3);
  subtract_order(w);
  for (int i = 0; i < 4; i++) r->n[i] = w[i];
}

void scalar_inv(scalar *r, const scalar *a) {
  static const modinv_modulus MODULUS = ORDER_MODULUS;
  modinv(r->n, a->n, &MODULUS);
}

static void scalar_add(scalar *r, const scalar *a, const scalar *b) {
  uint64_t t[5], carry = 0;
  for (int i = 0; i < 4; i++) {
    t[i] = a->n[i];
    carry = add_carry(&t[i], b->n[i], carry);
  }
  t[4] = carry;
  subtract_order(t);
  for (int i = 0; i < 4; i++) r->n[i] = t[i];
}

/* r = a * b / 2^384, rounded to nearest */
static void mul_shift_384(scalar *r, const scalar *a, const uint64_t b[4]) {
  uint64_t t[8] = {0};
  mul_accumulate(t, 8, a->n, 4, b, 4);
  uint64_t carry = t[5] >> 63;
  r->n[0] = t[6];
  r->n[1] = t[7];
  r->n[2] = add_word(&r->n[0], carry) ? add_word(&r->n[1], 1) : 0;
  r->n[3] = 0;
}

void scalar_split(scalar *k1, scalar *k2, const scalar *k) {
  /* the parameter script derives these from a short basis of {(x, y): x + y lambda = 0} */
  static const uint64_t G1[4] = {SPLIT_G1_WORDS};
  static const uint64_t G2[4] = {SPLIT_G2_WORDS};
  static const scalar MINUS_B1 = {{SPLIT_MINUS_B1_WORDS}};
  static const scalar MINUS_B2 = {{SPLIT_MINUS_B2_WORDS}};
  static const scalar MINUS_LAMBDA = {{SPLIT_MINUS_LAMBDA_WORDS}};
  scalar c1, c2;

  mul_shift_384(&c1, k, G1);
  mul_shift_384(&c2, k, G2);
  scalar_mul(&c1, &c1, &MINUS_B1);
  scalar_mul(&c2, &c2, &MINUS_B2);
  scalar_add(&c2, &c1, &c2);
  scalar_mul(&c1, &c2, &MINUS_LAMBDA);
  scalar_add(k1, k, &c1);
  *k2 = c2;
}
