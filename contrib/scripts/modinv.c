#include "modinv.h"

#include "wide.h"

#define BITS 62
#define MASK ((1ULL << BITS) - 1)
#define WORDS 5

/* Signed: words 0..3 are in [0, 2^62), word 4 carries the sign. */
typedef struct {
  int64_t w[WORDS];
} num;

/* 2^62 times the effect of 62 divsteps: f' = (u f + v g) / 2^62, g' = (q f + r g) / 2^62 */
typedef struct {
  int64_t u, v, q, r;
} matrix;

/*
 * One divstep on (delta, f, g), f odd:
 *   delta > 0 and g odd:  (1 - delta, g, (g - f) / 2)
 *   else:                 (1 + delta, f, (g + (g mod 2) f) / 2)
 * 62 of them depend only on the low 62 bits of f and g. Instead of halving g
 * together with q and r, f's row (u, v) is doubled, which keeps whole numbers.
 */
static int64_t divsteps(int64_t delta, uint64_t f, uint64_t g, matrix *out) {
  uint64_t u = 1, v = 0, q = 0, r = 1, t;
  /* delta grows with each step, except where it changes its sign: sum = delta + left stays */
  int64_t sum = delta + BITS;
  for (int64_t left = BITS; left > 0; left--) {
    if (g & 1) {
      if (sum > left) {
        sum = 2 * left - sum;
        t = f, f = g, g -= t;
        t = u, u = q, q -= t;
        t = v, v = r, r -= t;
      } else {
        g += f;
        q += u;
        r += v;
      }
    }
    g >>= 1;
    u <<= 1;
    v <<= 1;
  }
  out->u = (int64_t)u;
  out->v = (int64_t)v;
  out->q = (int64_t)q;
  out->r = (int64_t)r;
  return sum;
}

/* (f, g) = s (f, g) / 2^62, which is exact */
static void apply(const matrix *s, num *f, num *g) {
  i128 tf = 0, tg = 0;
  for (int i = 0; i < WORDS; i++) {
    int64_t fi = f->w[i], gi = g->w[i];
    tf = mul_add_signed(mul_add_signed(tf, s->u, fi), s->v, gi);
    tg = mul_add_signed(mul_add_signed(tg, s->q, fi), s->r, gi);
    if (i > 0) {
      f->w[i - 1] = (int64_t)((uint64_t)tf & MASK);
      g->w[i - 1] = (int64_t)((uint64_t)tg & MASK);
    }
    tf >>= BITS;
    tg >>= BITS;
  }
  f->w[WORDS - 1] = (int64_t)tf;
  g->w[WORDS - 1] = (int64_t)tg;
}

/* -t / m modulo 2^62, between -2^61 and 2^61 */
static int64_t cofactor(i128 t, const modinv_modulus *modulus) {
  return (int64_t)(-(uint64_t)t * modulus->inverse << (64 - BITS)) >> (64 - BITS);
}

/*
 * (d, e) = s (d, e) / 2^62 modulo m: the multiples of m that make it exact are
 * added first. |u| + |v| <= 2^62 and |q| + |r| <= 2^62, so one batch adds at most
 * m / 2 to the largest absolute value: after the at most 12 batches that 256-bit
 * inputs need, still far inside five words.
 */
static void apply_mod(const matrix *s, num *d, num *e, const modinv_modulus *modulus) {
  i128 td = 0, te = 0;
  int64_t kd = 0, ke = 0;
  for (int i = 0; i < WORDS; i++) {
    int64_t di = d->w[i], ei = e->w[i], mi = modulus->m[i];
    td = mul_add_signed(mul_add_signed(td, s->u, di), s->v, ei);
    te = mul_add_signed(mul_add_signed(te, s->q, di), s->r, ei);
    if (i == 0) {
      kd = cofactor(td, modulus);
      ke = cofactor(te, modulus);
    }
    td = mul_add_signed(td, kd, mi);
    te = mul_add_signed(te, ke, mi);
    if (i > 0) {
      d->w[i - 1] = (int64_t)((uint64_t)td & MASK);
      e->w[i - 1] = (int64_t)((uint64_t)te & MASK);
    }
    td >>= BITS;
    te >>= BITS;
  }
  d->w[WORDS - 1] = (int64_t)td;
  e->w[WORDS - 1] = (int64_t)te;
}

/* a = factor * a + sign * m, factor being 1 or -1 */
static void adjust(num *a, int64_t factor, int64_t sign, const modinv_modulus *modulus) {
  int64_t carry = 0;
  for (int i = 0; i < WORDS - 1; i++) {
    carry += factor * a->w[i] + sign * modulus->m[i];
    a->w[i] = carry & (int64_t)MASK;
    carry >>= BITS;
  }
  a->w[WORDS - 1] = carry + factor * a->w[WORDS - 1] + sign * modulus->m[WORDS - 1];
}

static int is_zero(const num *a) { return (a->w[0] | a->w[1] | a->w[2] | a->w[3] | a->w[4]) == 0; }

void modinv(uint64_t result[4], const uint64_t x[4], const modinv_modulus *modulus) {
  num f, g, d = {{0}}, e = {{1}};
  matrix s;
  int64_t delta = 1;

  for (int i = 0; i < WORDS; i++) f.w[i] = modulus->m[i];
  g.w[0] = (int64_t)(x[0] & MASK);
  g.w[1] = (int64_t)((x[0] >> 62 | x[1] << 2) & MASK);
  g.w[2] = (int64_t)((x[1] >> 60 | x[2] << 4) & MASK);
  g.w[3] = (int64_t)((x[2] >> 58 | x[3] << 6) & MASK);
  g.w[4] = (int64_t)(x[3] >> 56);

  /* d x = f and e x = g (mod m) hold throughout */
  do {
    delta = divsteps(delta, (uint64_t)f.w[0] | (uint64_t)f.w[1] << 62, (uint64_t)g.w[0] | (uint64_t)g.w[1] << 62, &s);
    apply(&s, &f, &g);
    apply_mod(&s, &d, &e, modulus);
  } while (!is_zero(&g));

  /* f is 1 or -1 now */
  if (f.w[WORDS - 1] < 0) adjust(&d, -1, 0, modulus);
  while (d.w[WORDS - 1] < 0) adjust(&d, 1, 1, modulus);
  do {
    e = d;
    adjust(&d, 1, -1, modulus);
  } while (d.w[WORDS - 1] >= 0);
  result[0] = (uint64_t)e.w[0] | (uint64_t)e.w[1] << 62;
  result[1] = (uint64_t)e.w[1] >> 2 | (uint64_t)e.w[2] << 60;
  result[2] = (uint64_t)e.w[2] >> 4 | (uint64_t)e.w[3] << 58;
  result[3] = (uint64_t)e.w[3] >> 6 | (uint64_t)e.w[4] << 56;
}
