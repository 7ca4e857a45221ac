/*
 * The field of secp256k1: integers modulo p = 2^256 - 0x1000003d1.
 *
 * An element is four little-endian words and may hold any representative
 * below 2^256; fe_normalize gives the one below p. Outputs may be inputs.
 */
#ifndef FIELD_H
#define FIELD_H

#include "wide.h"

/* 2^256 - p, hence 2^256 = FE_C (mod p) */
#define FE_C 0x1000003d1ULL

typedef struct {
  uint64_t n[4];
} fe;

void fe_mul(fe *r, const fe *a, const fe *b);
void fe_sqr(fe *r, const fe *a);
/* r = a^(2^count), count >= 1 */
void fe_sqr_n(fe *r, const fe *a, unsigned count);
void fe_add(fe *r, const fe *a, const fe *b);
void fe_sub(fe *r, const fe *a, const fe *b);
void fe_normalize(fe *a);
/* 1 when a = 0 (mod p) */
int fe_is_zero(const fe *a);
/* r = 1 / a; a must not be 0 (mod p) */
void fe_inv(fe *r, const fe *a);
/* r = a square root of a when there is one (returns 1), else garbage (returns 0) */
int fe_sqrt(fe *r, const fe *a);
/* big-endian bytes; the value is not checked against p */
void fe_from_bytes(fe *r, const uint8_t bytes[32]);
/* a must be normalized */
void fe_to_bytes(uint8_t bytes[32], const fe *a);

#endif
