/*
 * Integers modulo the group order n of secp256k1, always fully reduced.
 * Outputs may be inputs.
 */
#ifndef SCALAR_H
#define SCALAR_H

#include "wide.h"

typedef struct {
  uint64_t n[4];
} scalar;

/* big-endian bytes, reduced modulo n; 1 when they were n or more */
int scalar_from_bytes(scalar *r, const uint8_t bytes[32]);
int scalar_is_zero(const scalar *a);
/* 1 when a > n / 2 */
int scalar_is_high(const scalar *a);
void scalar_negate(scalar *r, const scalar *a);
void scalar_mul(scalar *r, const scalar *a, const scalar *b);
/* r = 1 / a; a must not be 0 */
void scalar_inv(scalar *r, const scalar *a);
/*
 * k = k1 + k2 * lambda, where lambda is the scalar of the curve's cheap
 * endomorphism and k1, k2 or their negatives are below 2^128
 * (R. Gallant, R. Lambert, S. Vanstone, CRYPTO 2001).
 */
void scalar_split(scalar *k1, scalar *k2, const scalar *k);

#endif
