/*
 * The curve y^2 = x^3 + 7 and the one operation that recovery needs:
 * a R + b G for public scalars.
 */
#ifndef GROUP_H
#define GROUP_H

#include "field.h"
#include "scalar.h"
#include "secp256k1_params.h"

/* A point other than the one at infinity. */
typedef struct {
  fe x, y;
} affine;

/* The part of the data cell that is used: odd multiples 1, 3, 5, ... of G and of 2^128 G. */
typedef struct {
  affine low[G_TABLE_SIZE];
  affine high[G_TABLE_SIZE];
} generator_table;

/* The point with this x and y of the given parity (0 or 1); 0 when there is none. */
int affine_from_x(affine *r, const fe *x, unsigned odd);

/* q = a r + b G, coordinates normalized; 0 when that is the point at infinity. */
int multiply_add(affine *q, const scalar *a, const affine *r, const scalar *b, const generator_table *table);

#endif
