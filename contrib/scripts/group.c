#include "group.h"

#include "field_inline.h"

/* Jacobian coordinates: the point (x / z^2, y / z^3). */
typedef struct {
  fe x, y, z;
  int infinity;
} jacobian;

/* Window of the signed digits for R; its odd multiples 1, 3, ..., 15 are computed per run. */
#define R_WINDOW 5
#define R_TABLE_SIZE (1 << (R_WINDOW - 2))

/* Scalars come in halves below 2^128; signed digits may need one place more. */
#define DIGITS 129

static const fe ZERO = {{0}};
static const fe ONE = {{1, 0, 0, 0}};
static const fe BETA = {{BETA_WORDS}};

int affine_from_x(affine *r, const fe *x, unsigned odd) {
  static const fe SEVEN = {{7, 0, 0, 0}};
  fe t;
  r->x = *x;
  fe_sqr(&t, x);
  fe_mul(&t, &t, x);
  fe_add(&t, &t, &SEVEN);
  if (!fe_sqrt(&r->y, &t)) return 0;
  fe_normalize(&r->y);
  if ((r->y.n[0] & 1) != odd) {
    /* y = 0 is on no point of this curve, so p - y has the other parity */
    fe_sub(&r->y, &ZERO, &r->y);
    fe_normalize(&r->y);
  }
  return 1;
}

/*
 * a = 2 a. With L = 3/2 x^2 and T = x y^2:
 *   x' = L^2 - 2 T,  y' = L (T - x') - y^4,  z' = y z
 * (the textbook doubling with every coordinate scaled by z' / 2).
 * No point has order two, so z' is never 0.
 */
static void point_double(jacobian *a) {
  fe l, s, t, u;
  if (a->infinity) return;
  fe_sqr_inline(&l, &a->x);
  fe_half_inline(&s, &l);
  fe_add_inline(&l, &l, &s);
  fe_sqr_inline(&s, &a->y);
  fe_mul_inline(&a->z, &a->y, &a->z);
  fe_mul_inline(&t, &a->x, &s);
  fe_sqr_inline(&u, &l);
  fe_sub_inline(&u, &u, &t);
  fe_sub_inline(&a->x, &u, &t);
  fe_sub_inline(&t, &t, &a->x);
  fe_mul_inline(&l, &l, &t);
  fe_sqr_inline(&s, &s);
  fe_sub_inline(&a->y, &l, &s);
}

/*
 * a += b, or a -= b when negative, where b is affine once its coordinates are divided by (zb / a.z)^2 and
 * ^3: pass a.z itself for zb when a and b are on the same model of the curve.
 * ratio gets what z was multiplied by. a must not be infinity.
 */
static void point_add(jacobian *a, const affine *b, int negative, const fe *zb, fe *ratio) {
  fe u, s, h, hh, v, w;
  fe_sqr_inline(&u, zb);
  fe_mul_inline(&s, &u, zb);
  fe_mul_inline(&u, &u, &b->x);
  fe_mul_inline(&s, &s, &b->y);
  if (negative) fe_sub_inline(&s, &ZERO, &s);
  fe_sub_inline(&h, &u, &a->x);
  fe_sub_inline(&s, &s, &a->y);
  if (fe_is_zero(&h)) {
    if (fe_is_zero(&s)) {
      point_double(a);
    } else {
      a->infinity = 1;
    }
    return;
  }
  fe_sqr_inline(&hh, &h);
  fe_mul_inline(&v, &a->x, &hh);
  fe_mul_inline(&hh, &hh, &h);
  fe_mul_inline(&a->z, &a->z, &h);
  fe_sqr_inline(&u, &s);
  fe_sub_inline(&u, &u, &hh);
  fe_sub_inline(&u, &u, &v);
  fe_sub_inline(&a->x, &u, &v);
  fe_sub_inline(&v, &v, &a->x);
  fe_mul_inline(&v, &v, &s);
  fe_mul_inline(&w, &a->y, &hh);
  fe_sub_inline(&a->y, &v, &w);
  *ratio = h;
}

/* r = (x s^2, y s^3) */
static void rescale(affine *r, const affine *a, const fe *s) {
  fe t;
  fe_sqr(&t, s);
  fe_mul(&r->x, &a->x, &t);
  fe_mul(&t, &t, s);
  fe_mul(&r->y, &a->y, &t);
}

/*
 * Odd multiples of r, all in Jacobian form with one common z, which is returned.
 * Leaving out that z makes them affine points of the isomorphic curve
 * y^2 = x^3 + 7 z^6; doubling and addition do not use the constant.
 */
static void odd_multiples(affine table[R_TABLE_SIZE], fe *z, const affine *r) {
  jacobian point = {r->x, r->y, ONE, 0};
  fe ratio[R_TABLE_SIZE], scale;

  point_double(&point);
  affine twice = {point.x, point.y};
  fe first_z = point.z;

  /* from here on with first_z left out */
  rescale(&table[0], r, &first_z);
  point = (jacobian){table[0].x, table[0].y, ONE, 0};
  for (int i = 1; i < R_TABLE_SIZE; i++) {
    point_add(&point, &twice, 0, &point.z, &ratio[i]);
    table[i] = (affine){point.x, point.y};
  }
  fe_mul(z, &point.z, &first_z);

  /* bring each to the z of the last */
  scale = ratio[R_TABLE_SIZE - 1];
  for (int i = R_TABLE_SIZE - 2; i >= 0; i--) {
    rescale(&table[i], &table[i], &scale);
    if (i > 0) fe_mul(&scale, &scale, &ratio[i]);
  }
}

/*
 * Signed odd digits below 2^(window-1), at most one in `window` places, of the
 * number high:low, all negated when asked (wNAF). Returns the count of places used.
 */
static int signed_digits(int16_t digits[DIGITS], uint64_t low, uint64_t high, int window, int negative) {
  uint64_t carry = 0;
  int used = 0, i = 0;

  for (int j = 0; j < DIGITS; j++) digits[j] = 0;
  while (i < DIGITS) {
    if ((low & 1) == carry) {
      low = low >> 1 | high << 63;
      high >>= 1;
      i++;
      continue;
    }
    int64_t digit = (int64_t)((low & ((1ULL << window) - 1)) + carry);
    carry = (uint64_t)digit >> (window - 1) & 1;
    digit -= (int64_t)(carry << window);
    digits[i] = (int16_t)(negative ? -digit : digit);
    used = i + 1;
    low = low >> window | high << (64 - window);
    high >>= window;
    i += window;
  }
  return used;
}

/* The digits of a scalar that is below 2^128 or whose negative is. */
static int scalar_digits(int16_t digits[DIGITS], const scalar *k, int window) {
  scalar t = *k;
  int negative = scalar_is_high(k);
  if (negative) scalar_negate(&t, k);
  return signed_digits(digits, t.n[0], t.n[1], window, negative);
}

/* acc += digit * base for the table of base's odd multiples, on the model with z left out. */
static void add_digit(jacobian *acc, const affine *table, int digit, const fe *z) {
  const affine *point = &table[(digit < 0 ? -digit : digit) >> 1];
  fe zb, unused;
  if (acc->infinity) {
    affine first = *point;
    if (digit < 0) fe_sub(&first.y, &ZERO, &first.y);
    if (z) rescale(&first, &first, z);
    *acc = (jacobian){first.x, first.y, ONE, 0};
    return;
  }
  if (z) fe_mul(&zb, &acc->z, z);
  point_add(acc, point, digit < 0, z ? &zb : &acc->z, &unused);
}

int multiply_add(affine *q, const scalar *a, const affine *r, const scalar *b, const generator_table *table) {
  affine r_table[R_TABLE_SIZE], r_lambda_table[R_TABLE_SIZE];
  int16_t digits[4][DIGITS];
  int used[4], top = 0;
  scalar a1, a2;
  fe z;

  scalar_split(&a1, &a2, a);
  used[0] = scalar_digits(digits[0], &a1, R_WINDOW);
  used[1] = scalar_digits(digits[1], &a2, R_WINDOW);
  used[2] = signed_digits(digits[2], b->n[0], b->n[1], G_WINDOW, 0);
  used[3] = signed_digits(digits[3], b->n[2], b->n[3], G_WINDOW, 0);
  for (int i = 0; i < 4; i++) {
    if (used[i] > top) top = used[i];
  }

  odd_multiples(r_table, &z, r);
  for (int i = 0; i < R_TABLE_SIZE; i++) {
    /* lambda (x, y) = (beta x, y), on the isomorphic curves too */
    fe_mul(&r_lambda_table[i].x, &r_table[i].x, &BETA);
    r_lambda_table[i].y = r_table[i].y;
  }

  jacobian acc = {.infinity = 1};
  for (int i = top - 1; i >= 0; i--) {
    point_double(&acc);
    if (digits[0][i]) add_digit(&acc, r_table, digits[0][i], 0);
    if (digits[1][i]) add_digit(&acc, r_lambda_table, digits[1][i], 0);
    if (digits[2][i]) add_digit(&acc, table->low, digits[2][i], &z);
    if (digits[3][i]) add_digit(&acc, table->high, digits[3][i], &z);
  }
  if (acc.infinity) return 0;

  affine point = {acc.x, acc.y};
  fe_mul(&z, &z, &acc.z);
  fe_inv(&z, &z);
  rescale(q, &point, &z);
  fe_normalize(&q->x);
  fe_normalize(&q->y);
  return 1;
}
